//! Secrets appear in no log at any level, in no list of processes and in no error.
//!
//! A log is searched for each of them as text, as bytes, and in the forms in which programs write
//! bytes down.

use std::{fs, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use conclave_server::OPERATOR_FILE;
use conclave_wire::v1::{
    GetSessionRequest, OpenSessionRequest, session_service_client::SessionServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tonic::{Request, body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

use crate::{
    command::{ANY_PORT, Home, Person, Ran, Served, run},
    forger::{self, ANY_NODE},
    support::{PATIENCE, until},
};

/// The cluster's secret: 32 bytes.
const SECRET: &[u8; 32] = b"canary-Zq81-secret-of-a-cluster!";
const PASSWORD: &str = "canary-Rv55-password";
const NEW_PASSWORD: &str = "canary-Jm02-another-password";
const WRONG_PASSWORD: &str = "canary-Kt93-wrong-password";
/// A string that looks like a join token and is none.
const WRONG_TOKEN: &str = "conclave-join-1.canary-Lx47-wrong-token";
/// The most verbose log filter; it includes the engine, which is silent otherwise.
const MOST: &str = "trace,openraft=trace";

/// Strings that must not be seen, each with its name.
type Secrets = Vec<(&'static str, String)>;

/// Returns the forms in which a program may have written the secret: as it is, decoded, in base64
/// and hexadecimal digits, and as a list of numbers.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let text = secret.as_bytes().to_vec();
    let mut meanings = vec![text.clone()];
    // A token is 32 bytes in letters, perhaps behind a prefix; a join token has two parts, of which
    // the first is public.
    let letters = secret.rsplit('.').next().unwrap_or(secret);
    if let Ok(bytes) = URL_SAFE_NO_PAD.decode(letters) {
        meanings.push(bytes[bytes.len().saturating_sub(32)..].to_vec());
    }
    let mut forms = Vec::new();
    for bytes in meanings {
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let digits = |digit: fn(u8) -> String| bytes.iter().map(|byte| digit(*byte)).collect();
        let hexadecimal: String = digits(|byte| format!("{byte:02x}"));
        let escaped: Vec<u8> = bytes.escape_ascii().collect();
        forms.extend([
            numbers.join(", ").into_bytes(),
            numbers.join(",").into_bytes(),
            hexadecimal.to_uppercase().into_bytes(),
            hexadecimal.into_bytes(),
            URL_SAFE_NO_PAD.encode(&bytes).into_bytes(),
            STANDARD_NO_PAD.encode(&bytes).into_bytes(),
            escaped,
            bytes,
        ]);
    }
    forms
}

/// Checks that `told` contains none of these secrets in any form.
#[track_caller]
fn hides(told: &[u8], secrets: &Secrets, place: &str) {
    let told = letters(told);
    for (what, secret) in secrets {
        assert!(secret.len() >= 8, "{what} is short: {secret}");
        for form in forms(secret).iter().map(|form| letters(form)) {
            let found = told.find(&form);
            let before =
                found.map(|at| &told[told.floor_char_boundary(at.saturating_sub(300))..at]);
            assert!(before.is_none(), "{place} shows {what} after: {before:?}");
        }
    }
}

/// Returns one letter for each byte, whatever it is: texts are searched quickly.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[test]
fn the_secret_check_finds_every_encoding_of_a_secret() {
    let secrets = vec![("a password", PASSWORD.to_owned())];
    hides(b"a password of 19 letters", &secrets, "nothing");
    let forms = forms(PASSWORD);
    assert!(forms.len() >= 8, "{forms:?}");
    for form in forms {
        let told = [b"password=", &form[..], b"\n"].concat();
        let shown = std::panic::catch_unwind(|| hides(&told, &secrets, "it"));
        assert!(shown.is_err(), "{}", String::from_utf8_lossy(&told));
    }
    let token = URL_SAFE_NO_PAD.encode([7; 32]);
    let told = format!("token: {:?}", [7; 32]);
    let secrets = vec![("a token", token)];
    let shown = std::panic::catch_unwind(|| hides(told.as_bytes(), &secrets, "it"));
    assert!(shown.is_err(), "{told}");
}

/// Starts a node that logs everything.
async fn serve(home: &Home, name: &str, more: &[&str]) -> Served {
    let data = home.path(name).display().to_string();
    let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
    let own = ["--data", &data, "--log", MOST, "--registration", "invite"];
    let args = [&own[..], &addresses, more].concat();
    let log = home.path(&format!("{name}.log"));
    Served::start_encrypted(&log, &args).await.unwrap()
}

/// The commands of one person, and all their output that may be shown to others.
struct Desk {
    person: Person,
    said: String,
}

impl Desk {
    fn new(node: &Served) -> Self {
        Self {
            person: Person::new(std::slice::from_ref(&node.client_address)),
            said: String::new(),
        }
    }

    async fn run_with(&mut self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = self.person.command(args);
        command.env("CONCLAVE_PASSWORD", PASSWORD);
        command.envs(environment.iter().copied());
        let ran = run(command, b"").await;
        self.said.push_str(&ran.stderr);
        ran
    }

    /// Runs a command and returns its stdout, which is where secrets appear that are shown once.
    async fn gives(&mut self, args: &[&str]) -> String {
        let ran = self.run_with(args, &[]).await;
        ran.succeeded().trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_trace_log_or_in_the_process_list() {
    let home = Home::new().await;
    let secret_file = home.path("given-secret");
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    fs::write(&secret_file, &secret).unwrap();
    let file = ["--secret-file", secret_file.to_str().unwrap()];
    let mut one = serve(&home, "one", &file).await;
    let fingerprint = one.says("fingerprint ").await;
    let setup = one.says("setup-token ").await;
    let mut secrets: Secrets = vec![
        ("the cluster's secret", secret),
        ("a setup token", setup.clone()),
        ("a password", PASSWORD.to_owned()),
        ("a new password", NEW_PASSWORD.to_owned()),
        ("a wrong password", WRONG_PASSWORD.to_owned()),
        ("a wrong token", WRONG_TOKEN.to_owned()),
    ];
    let mut root = Desk::new(&one);
    let create = ["account", "create", "root", "--fingerprint", &fingerprint];
    let by_setup = [("CONCLAVE_SETUP_TOKEN", setup.as_str())];
    root.run_with(&create, &by_setup).await.succeeded();
    secrets.extend(people(&mut root, &one, &fingerprint).await);
    let webhook = secrets.last().unwrap().1.clone();
    post_to(&one, &webhook).await;

    let file = home.path("one").join(OPERATOR_FILE);
    let operator = home.operator().await.to_text();
    root.gives(&["operator", "use", file.to_str().unwrap()])
        .await;
    secrets.push(("the credential of an operator", operator));

    // A machine joins: its token travels one way, and the cluster's secret the other.
    let command = root.gives(&["token", "create"]).await;
    let token = command.split_once("--token ").unwrap().1.to_owned();
    let join = ["--join", &one.peer_address, "--token", &token];
    let mut two = serve(&home, "two", &join).await;
    secrets.push(("a token to join", token.clone()));
    two.says("ready ").await;
    let known = two.says("fingerprint ").await;
    assert_eq!(known, fingerprint);
    until("it votes", async || {
        let status = root.run_with(&["cluster", "status"], &[]).await.succeeded();
        status
            .contains("node-2")
            .then_some(())
            .or_else(|| status.contains(&two.client_address).then_some(()))
    })
    .await;
    as_other_programs_do(&one, &secrets).await;
    let wrong = ["serve", "--join", &one.peer_address, "--token", WRONG_TOKEN];
    let nowhere = home.path("nowhere").display().to_string();
    let wrong = [&wrong[..], &["--data", &nowhere]].concat();
    let wrong = root.run_with(&wrong, &[]).await;
    wrong.failed(1, "this is not a join token");

    processes(&one, &two, &secrets, &token);
    hides(root.said.as_bytes(), &secrets, "what commands say");
    for node in [one, two] {
        node.stop().await;
    }
    for name in ["one", "two"] {
        let log = fs::read(home.path(&format!("{name}.log"))).unwrap();
        let text = String::from_utf8_lossy(&log);
        assert!(
            text.contains("TRACE") && text.contains("DEBUG"),
            "too little"
        );
        hides(&log, &secrets, &format!("the log of node {name}"));
    }
}

/// Does everything that people do with secrets; returns the secrets that were created, the
/// webhook's last.
async fn people(root: &mut Desk, node: &Served, fingerprint: &str) -> Secrets {
    root.gives(&["login", "root"]).await;
    let kept = fs::read_to_string(root.person.credentials()).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let session = kept["token"].as_str().unwrap().to_owned();
    let wrong = [("CONCLAVE_PASSWORD", WRONG_PASSWORD)];
    let wrong = root.run_with(&["login", "root"], &wrong).await;
    assert_ne!(wrong.code, Some(0));

    let invite = root.gives(&["invite", "create"]).await;
    let mut guest = Desk::new(node);
    let create = ["account", "create", "guest", "--fingerprint", fingerprint];
    let by_invite = [("CONCLAVE_INVITE", invite.as_str())];
    guest.run_with(&create, &by_invite).await.succeeded();
    guest.gives(&["login", "guest"]).await;
    let change = [("CONCLAVE_NEW_PASSWORD", NEW_PASSWORD)];
    guest.run_with(&["passwd"], &change).await.succeeded();
    let used_up = ["account", "create", "late", "--invite", &invite];
    let used_up = guest.run_with(&used_up, &[]).await;
    assert_ne!(used_up.code, Some(0));

    let bot = root.gives(&["bot", "create", "robot"]).await;
    root.gives(&["room", "create", "ops"]).await;
    let webhook = root.gives(&["webhook", "create", "ops", "ci"]).await;
    let webhook = webhook.rsplit_once("/hooks/").unwrap().1.to_owned();
    root.said.push_str(&guest.said);
    vec![
        ("a session's token", session),
        ("an invite's code", invite),
        ("a bot's token", bot),
        ("a webhook's secret", webhook),
    ]
}

fn channel(node: &Served) -> Channel {
    let secret = conclave_server::ClusterSecret::from_text(&URL_SAFE_NO_PAD.encode(SECRET));
    let config = forger::config(&secret.unwrap(), None);
    forger::channel(&config, &node.client_address, ANY_NODE)
}

/// Posts by HTTP/1.1 and by HTTP/2, where the secret is in the path; also wrongly.
async fn post_to(node: &Served, webhook: &str) {
    let secret = conclave_server::ClusterSecret::from_text(&URL_SAFE_NO_PAD.encode(SECRET));
    let config = forger::config(&secret.unwrap(), None);
    for (method, status) in [("POST", "200"), ("PUT", "405")] {
        let mut stream = forger::connect(&config, &node.client_address, ANY_NODE)
            .await
            .unwrap();
        let body = r#"{"text": "built"}"#;
        let request = format!(
            "{method} /hooks/{webhook} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut heard = String::new();
        let reading = timeout(PATIENCE, stream.read_to_string(&mut heard));
        // The node may close the connection without a goodbye.
        let _ = reading.await.expect("it answers");
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}")), "{heard}");
    }
    let mut channel = channel(node);
    let request = tonic::codegen::http::Request::post(format!("/hooks/{webhook}"));
    let request = request.body(Body::empty()).unwrap();
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    assert_ne!(answer.status().as_u16(), 200, "it was no JSON");
}

/// Makes calls without marking the secrets as secret, as other programs do.
async fn as_other_programs_do(node: &Served, secrets: &Secrets) {
    let mut sessions = SessionServiceClient::new(channel(node));
    let token = secrets
        .iter()
        .find(|(what, _)| *what == "a session's token");
    let mut request = Request::new(GetSessionRequest::default());
    let bearer = format!("Bearer {}", token.unwrap().1).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let cookie = format!("__Host-conclave_session={}", token.unwrap().1);
    request
        .metadata_mut()
        .insert("cookie", cookie.parse().unwrap());
    sessions.get_session(request).await.unwrap();
    for password in [PASSWORD, WRONG_PASSWORD] {
        let request = OpenSessionRequest {
            name: "root".to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let opened = sessions.open_session(request).await;
        assert_eq!(opened.is_ok(), password == PASSWORD, "{opened:?}");
    }
}

/// Checks what the system shows of the nodes' processes: to every user, and to their owner.
fn processes(one: &Served, two: &Served, secrets: &Secrets, token: &str) {
    let told = |node: &Served, of: &str| {
        let path = format!("/proc/{}/{of}", node.pid());
        fs::read(Path::new(&path)).unwrap()
    };
    for node in [one, two] {
        let told = told(node, "cmdline");
        assert!(!told.is_empty());
        hides(&told, secrets, "the list of processes");
    }
    hides(&told(one, "environ"), secrets, "an environment");
    // The token is still in the environment, as the documents say, for the process's owner alone.
    let of_two = told(two, "environ");
    let of_two = String::from_utf8_lossy(&of_two);
    assert!(of_two.contains(&format!("CONCLAVE_JOIN_TOKEN={token}")));
    let without = of_two.replace(token, "");
    hides(without.as_bytes(), secrets, "an environment");
}
