//! The operator's own certificate for the public name, and the clients that trust it.

use std::{fs, path::PathBuf, sync::Arc};

use conclave_client::Distrust;
use rustls::pki_types::CertificateDer;

use crate::{
    command::{ANY_PORT, Home, Person, Ran, Served, run},
    forger::{self, Forger, Pair, Use},
    support::until,
};

/// Exit codes of `conclave`: the caller is not allowed, the arguments are wrong, or the object does
/// not exist.
const NOT_ALLOWED: i32 = 4;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;

/// Files in which the operator keeps the certificate and its key.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(home: &Home) -> Self {
        Self {
            certificate: home.path("chain.pem"),
            key: home.path("key.pem"),
        }
    }

    fn hold(&self, pair: &Pair) {
        fs::write(&self.certificate, &pair.chain_pem).unwrap();
        fs::write(&self.key, pair.key.serialize_pem()).unwrap();
    }

    async fn serve(&self, home: &Home, more: &[&str]) -> Result<Served, Ran> {
        let data = home.path("data").display().to_string();
        let (certificate, key) = (self.certificate.to_str(), self.key.to_str());
        let args = [
            &["--data", &data, "--registration", "open"][..],
            &["--client-address", ANY_PORT, "--peer-address", ANY_PORT],
            &["--tls-certificate", certificate.unwrap()],
            &["--tls-key", key.unwrap()],
            more,
        ];
        Served::start_encrypted(&home.path("log"), &args.concat()).await
    }
}

/// Returns the certificate that the node shows to a client that asks for this name.
async fn shown(
    node: &Served,
    config: &Arc<rustls::ClientConfig>,
    name: &'static str,
) -> Option<CertificateDer<'static>> {
    let stream = forger::connect(config, &node.client_address, name).await;
    let stream = stream.ok()?;
    let certificates = stream.get_ref().1.peer_certificates()?;
    Some(certificates[0].clone().into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_certificate_serves_only_the_public_name() {
    let home = Home::new().await;
    let (files, authority) = (Files::new(&home), Forger::stranger("a web authority"));
    files.hold(&authority.issue(&["localhost"], Use::Answer));
    let mut node = files.serve(&home, &[]).await.unwrap();
    let fingerprint = node.says("fingerprint ").await;
    let roots = home.path("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let roots = roots.to_str().unwrap();
    let (_, port) = node.client_address.rsplit_once(':').unwrap();
    let public = format!("localhost:{port}");

    // Clients connect by the public name, as browsers do.
    let alice = Person::new(std::slice::from_ref(&public));
    let create = ["account", "create", "alice", "--ca-file", roots];
    alice.run(&create).await.succeeded();
    let mut login = alice.command(&["login", "alice"]);
    login.env("CONCLAVE_CA_FILE", roots);
    run(login, b"").await.succeeded();
    alice
        .run(&["send", "alice", "hello", "--ca-file", roots])
        .await
        .succeeded();
    let not_proven = Distrust::NotProven.to_string();
    // The certificate is not valid under another name, and not by other authorities.
    let elsewhere = ["whoami", "--endpoints", &node.client_address, "--ca-file"];
    let elsewhere = [&elsewhere[..], &[roots, "--timeout", "2"]].concat();
    alice.run(&elsewhere).await.failed(NOT_ALLOWED, &not_proven);
    let others = home.path("others.pem");
    fs::write(&others, Forger::stranger("mallory").pem()).unwrap();
    let by_others = ["whoami", "--timeout", "2", "--ca-file"];
    let by_others = [&by_others[..], &[others.to_str().unwrap()]].concat();
    alice.run(&by_others).await.failed(NOT_ALLOWED, &not_proven);
    let empty = ["whoami", "--ca-file", "/dev/null"];
    alice.run(&empty).await.failed(USAGE, "/dev/null");

    // A client that knows the cluster's own authority behaves as without such a certificate.
    let bob = Person::new(std::slice::from_ref(&node.client_address));
    let unknown = ["trust", "export", &node.client_address];
    bob.run(&unknown)
        .await
        .failed(NOT_FOUND, "no cluster is known");
    let create = ["account", "create", "bob", "--fingerprint", &fingerprint];
    bob.run(&create).await.succeeded();
    let exported = bob.run(&unknown).await.succeeded();
    let secret = node_secret(&home);
    assert_eq!(exported.trim(), forger_pem(&secret.authority()).trim());
    node.stop().await;
}

fn node_secret(home: &Home) -> conclave_server::ClusterSecret {
    let text = fs::read_to_string(home.path("data").join("secret")).unwrap();
    conclave_server::ClusterSecret::from_text(&text).unwrap()
}

fn forger_pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let letters = STANDARD.encode(der);
    let lines: Vec<&str> = letters
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----")
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_export_writes_an_authority_for_other_programs() {
    let home = Home::new().await;
    let data = home.path("data").display().to_string();
    let args = ["--data", &data, "--client-address", ANY_PORT];
    let args = [&args[..], &["--peer-address", ANY_PORT]].concat();
    let mut node = Served::start_encrypted(&home.path("log"), &args)
        .await
        .unwrap();
    let fingerprint = node.says("fingerprint ").await;
    let address = node.client_address.clone();
    let alice = Person::new(std::slice::from_ref(&address));
    let create = ["account", "create", "alice", "--fingerprint", &fingerprint];
    alice.run(&create).await.succeeded();
    let exported = alice.run(&["trust", "export", &address]).await.succeeded();
    let file = home.path("cluster.pem");
    fs::write(&file, exported).unwrap();
    // A client that knows nothing else, and that verifies the host that was named.
    let other = Person::new(std::slice::from_ref(&address));
    let status = ["cluster", "status", "--ca-file", file.to_str().unwrap()];
    other.run(&status).await.succeeded();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_reloaded_unless_its_pair_is_wrong() {
    let home = Home::new().await;
    let (files, authority) = (Files::new(&home), Forger::stranger("a web authority"));
    let (first, second) = (
        authority.issue(&["chat.example"], Use::Answer),
        authority.issue(&["chat.example"], Use::Answer),
    );
    files.hold(&first);
    let node = files.serve(&home, &[]).await.unwrap();
    let trusting = trusting(&authority);
    assert_eq!(
        shown(&node, &trusting, "chat.example").await.as_ref(),
        Some(&first.chain[0])
    );
    // The cluster's own names keep the cluster's certificate.
    let inside = forger::config(&node_secret(&home), None);
    assert!(shown(&node, &inside, forger::ANY_NODE).await.is_some());

    // The operator replaces first the one file, then the other, with time between them.
    fs::write(&files.certificate, &second.chain_pem).unwrap();
    let line = "failed to load the operator's own certificate";
    until("the log says so", async || {
        node.log().contains(line).then_some(())
    })
    .await;
    assert_eq!(
        shown(&node, &trusting, "chat.example").await.as_ref(),
        Some(&first.chain[0])
    );
    let connect = async || {
        let connecting = forger::connect(&trusting, &node.client_address, "chat.example");
        connecting.await.unwrap()
    };
    let mut open = connect().await;
    fs::write(&files.key, second.key.serialize_pem()).unwrap();
    until("the new one is shown", async || {
        let shown = shown(&node, &trusting, "chat.example").await?;
        if shown == second.chain[0] {
            return Some(());
        }
        // A node closes a connection that stays silent for as long as two looks at the files
        // are apart.
        open = connect().await;
        None
    })
    .await;
    // A connection from before still works.
    let heard = get(&mut open).await;
    assert!(heard.starts_with("HTTP/1.1 "), "{heard}");
    let log = node.log();
    assert_eq!(log.matches(line).count(), 1, "{log}");
    assert!(log.contains("is not the key of the certificate"), "{log}");
    node.stop().await;
}

/// Sends a request on an open connection and returns the answer.
async fn get(stream: &mut tokio_rustls::client::TlsStream<tokio::net::TcpStream>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut bytes = [0; 64];
    let heard = tokio::time::timeout(crate::support::PATIENCE, stream.read(&mut bytes)).await;
    let heard = heard.expect("it answers").unwrap();
    String::from_utf8_lossy(&bytes[..heard]).into_owned()
}

fn trusting(authority: &Forger) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
    roots.add(root.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test(flavor = "multi_thread")]
async fn mismatched_certificate_files_are_an_error_at_start() {
    let home = Home::new().await;
    let (files, authority) = (Files::new(&home), Forger::stranger("a web authority"));
    let missing = files.serve(&home, &[]).await.unwrap_err();
    missing.failed(1, "chain.pem cannot be read");
    let (one, other) = (
        authority.issue(&["one.example"], Use::Answer),
        authority.issue(&["other.example"], Use::Answer),
    );
    files.hold(&one);
    fs::write(&files.key, other.key.serialize_pem()).unwrap();
    let mixed = files.serve(&home, &[]).await.unwrap_err();
    mixed.failed(1, "is not the key of the certificate in");
    files.hold(&one);
    let plain = files.serve(&home, &["--plain"]).await.unwrap_err();
    plain.failed(1, "plain text shows no certificate");
    let half = ["--tls-key", files.key.to_str().unwrap()];
    let data = home.path("half").display().to_string();
    let half = [&half[..], &["--data", &data]].concat();
    let half = Served::start_encrypted(&home.path("log"), &half).await;
    half.unwrap_err().failed(1, "are given together");
}
