//! Tests of the server behind the panel, with the worst callers. The nodes are processes that wait.

use std::path::Path;

use conclave_local_cluster::{Bootstrap, CAN_CUT_OFF, LocalCluster, Options, Ports};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{super::stage::settings, *};

const SECRET: &str = "a secret of the demo";
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    desk: Arc<Desk>,
    address: SocketAddr,
    _control: Control,
    _directory: TempDir,
}

impl Scene {
    /// Starts three nodes, and the server behind their panel.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (listener, address) = listen().await.unwrap();
        let origin = format!("http://{address}");
        let cluster = LocalCluster::prepare(Options {
            program: here.join("../local-cluster/tests/fake_node.sh"),
            directory: directory.path().to_owned(),
            nodes: 3,
            initial_members: 3,
            bootstrap: Bootstrap::Numbered,
            ports: Ports::free(3).unwrap(),
            plain: true,
            relays: CAN_CUT_OFF,
            settings: Some(settings(&origin, Default::default())),
            environment: Default::default(),
        });
        let cluster = cluster.unwrap();
        cluster.start_all().await.unwrap();
        let pulse = Arc::new(Pulse::new(100));
        let desk = Arc::new(Desk {
            stage: Arc::new(Stage::new(cluster, pulse.clone(), Some(origin))),
            pulse,
            rolling: Arc::default(),
            account: ("you".to_owned(), "password".to_owned()),
            secret: SECRET.to_owned(),
            opened: AtomicBool::new(false),
            taken_over: AtomicBool::new(false),
        });
        Self {
            _control: serve(listener, address, desk.clone()),
            desk,
            address,
            _directory: directory,
        }
    }

    fn own_origin(&self) -> String {
        format!("http://{}", self.desk.stage.cluster.endpoint(2))
    }

    /// Sends a request with these headers, and returns the whole answer.
    async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses may close before everything was sent.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer));
        let _ = read.await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, line: &str, more: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        if more.iter().all(|(name, _)| *name != "host") {
            text += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in more {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let answer = self.raw(&text).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    /// Asks as the panel does.
    async fn panel(&self, line: &str, body: &str) -> (u16, Value) {
        let (bearer, origin) = (format!("Bearer {SECRET}"), self.own_origin());
        let headers = [("authorization", &*bearer), ("origin", &*origin)];
        let (status, answer) = self.ask(line, &headers, body).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    fn processes(&self) -> Vec<Option<u32>> {
        let cluster = &self.desk.stage.cluster;
        cluster
            .nodes()
            .into_iter()
            .map(|node| cluster.pid(node))
            .collect()
    }
}

#[tokio::test]
async fn a_caller_without_the_secret_or_from_elsewhere_is_refused() {
    let scene = Scene::new().await;
    let before = scene.processes();
    let (known, own) = (format!("Bearer {SECRET}"), scene.own_origin());
    let wrong = "Bearer a secret of the dem0";
    let port = scene.address.port();
    let by_name = format!("panel.evil.example:{port}");
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", wrong)], 401),
        (vec![("authorization", "Bearer ")], 401),
        (vec![("authorization", SECRET)], 401),
        (
            vec![("authorization", &*known), ("authorization", &*known)],
            401,
        ),
        (
            vec![
                ("authorization", &*known),
                ("origin", "http://evil.example"),
            ],
            403,
        ),
        (vec![("authorization", &*known), ("origin", "null")], 403),
        (
            vec![("authorization", &*known), ("origin", "http://127.0.0.1:1")],
            403,
        ),
        (
            vec![
                ("authorization", &*known),
                ("origin", &*own),
                ("origin", &*own),
            ],
            403,
        ),
        (vec![("authorization", &*known), ("host", &*by_name)], 403),
        (vec![("authorization", &*known), ("host", "")], 403),
    ] {
        for line in [
            "GET /state",
            "POST /nodes/1/kill",
            "POST /heal",
            "GET /account",
        ] {
            let (got, answer) = scene.ask(line, &headers, "").await;
            assert_eq!(got, status, "{line} {headers:?}: {answer}");
            assert!(!answer.contains("password"), "{answer}");
        }
        // A page of another site may read nothing of it, either.
        let (_, answer) = scene.ask("OPTIONS /state", &headers, "").await;
        if status == 403 {
            assert!(!answer.contains("access-control-allow-origin"), "{answer}");
        }
    }
    assert_eq!(scene.processes(), before);
    assert!(!scene.desk.opened.load(Ordering::Relaxed));
    assert!(!scene.desk.taken_over.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_page_of_the_cluster_may_ask_before_it_asks() {
    let scene = Scene::new().await;
    let own = scene.own_origin();
    for origin in [own.clone(), own.replace("127.0.0.1", "localhost")] {
        let (status, answer) = scene
            .ask("OPTIONS /heal", &[("origin", &*origin)], "")
            .await;
        assert_eq!(status, 204);
        assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")));
        assert!(answer.contains("access-control-allow-headers: authorization"));
        assert!(!answer.contains("allow-credentials"));
    }
    // What only asks does not open the panel.
    assert!(!scene.desk.opened.load(Ordering::Relaxed));
    let (status, account) = scene.panel("GET /account", "").await;
    assert_eq!((status, &account["name"]), (200, &"you".into()));
    assert!(scene.desk.opened.load(Ordering::Relaxed));
    assert!(!scene.desk.taken_over.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_is_done_twice_or_to_no_node_is_refused() {
    let scene = Scene::new().await;
    for (line, status) in [
        ("POST /nodes/9/kill", 404),
        ("POST /nodes/0/kill", 404),
        ("POST /nodes/-1/kill", 404),
        ("POST /nodes/18446744073709551616/kill", 404),
        ("POST /nodes/1/explode", 404),
        ("POST /nodes/1", 404),
        ("GET /nodes/1/kill", 404),
        ("DELETE /state", 404),
        ("GET /", 404),
        ("POST /nodes/1/kill", 200),
        ("POST /nodes/1/kill", 409),
        ("POST /nodes/1/pause", 409),
        ("POST /nodes/1/start", 200),
        ("POST /nodes/1/start", 409),
        ("POST /nodes/2/pause", 200),
        ("POST /nodes/2/pause", 409),
        ("POST /nodes/2/cut-off", 200),
        ("POST /nodes/2/cut-off", 409),
        ("POST /nodes/3/slow", 200),
        ("POST /nodes/3/skew", 200),
        ("POST /nodes/3/skew", 409),
        ("POST /nodes/3/kill", 200),
    ] {
        let (got, answer) = scene.panel(line, "").await;
        assert_eq!(got, status, "{line}: {answer}");
    }
    let (_, state) = scene.panel("GET /state", "").await;
    assert_eq!(
        (&state["down"], &state["majority"]),
        (&2.into(), &false.into())
    );
    let story = state["story"].as_array().unwrap();
    let last = story.last().unwrap();
    assert_eq!(last["text"], "2 of 3 down: no majority: sending waits");
    assert_eq!(scene.panel("POST /heal", "").await.0, 200);
    let after = last["number"].as_u64().unwrap();
    let (_, state) = scene.panel(&format!("GET /state?story={after}"), "").await;
    assert_eq!(state["down"], 0);
    for node in state["nodes"].as_array().unwrap() {
        assert_eq!(node["process"], "running", "{node}");
        for fault in ["cut_off", "slow", "skewed"] {
            assert_eq!(node[fault], false, "{node}");
        }
    }
    let texts = state["story"].to_string();
    assert!(texts.contains("a majority is up again") && texts.contains("everything is healed"));
    assert!(scene.processes().iter().all(Option::is_some));
}

#[tokio::test]
async fn the_load_is_bounded_and_bodies_are_too() {
    let scene = Scene::new().await;
    for (body, status) in [
        ("{\"on\":false,\"rate\":7}", 200),
        ("{\"on\":true,\"rate\":0}", 400),
        ("{\"on\":true,\"rate\":401}", 400),
        ("{\"on\":true,\"rate\":-1}", 400),
        ("{\"on\":true}", 400),
        ("{\"on\":true,\"rate\":7,\"more\":1}", 400),
        ("", 400),
        ("[[[[", 400),
    ] {
        assert_eq!(scene.panel("POST /load", body).await.0, status, "{body}");
    }
    assert_eq!(
        (scene.desk.pulse.is_on(), scene.desk.pulse.rate()),
        (false, 7)
    );
    let huge = format!("{{\"on\":true,\"rate\":7{}}}", " ".repeat(BODY_BYTES_MAX));
    assert_eq!(scene.panel("POST /load", &huge).await.0, 413);
    // A length that is never sent, a head without end, and what is no HTTP.
    let head = format!("POST /load HTTP/1.1\r\nhost: {}\r\n", scene.address);
    let endless = format!("{head}x: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    let never = format!("{head}content-length: 99999999999\r\n\r\n{{");
    for text in [&*endless, &*never, "\x16\x03\x01 hello\r\n\r\n"] {
        let answer = scene.raw(text).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let numbers = "GET /state?beats=99999999999999999999&story=x&beats&=&&";
    assert_eq!(scene.panel(numbers, "").await.0, 200);
    assert_eq!(
        (scene.desk.pulse.is_on(), scene.desk.pulse.rate()),
        (false, 7)
    );
}
