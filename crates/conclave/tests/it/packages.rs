//! What `ops/` holds for packages fits the program: the settings that files name exist, and their
//! numbers and ports are those of the defaults. Files that the tests cannot run are read.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Stdio,
};

use conclave_server::{NodeConfig, Overrides};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    command::{ANY_PORT, Home, program, run},
    readme::document,
    support::{PATIENCE, until},
};

/// Keys of the settings, as the program reads them from the environment.
const SOURCES: &str = include_str!("../../../server/src/config/sources.rs");
/// Time that the end of a process takes after its limit, in seconds.
const STOP_EXTRA_SECONDS: u64 = 2;

fn ops(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../ops")
        .join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(ops(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the documents of a file.
fn yaml(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents
        .map(|document| {
            let mut value = serde_yaml_ng::Value::deserialize(document).unwrap();
            value.apply_merge().unwrap();
            serde_json::to_value(value).unwrap()
        })
        .collect()
}

/// Returns the value of a line `key=value`.
fn value_of<'t>(text: &'t str, key: &str) -> &'t str {
    let start = format!("{key}=");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("there is no {key}"))
}

#[track_caller]
fn is_a_setting(name: &str) {
    let key = name.strip_prefix("CONCLAVE_").map(str::to_lowercase);
    let key = key.unwrap_or_else(|| panic!("{name} is no variable of Conclave"));
    assert!(SOURCES.contains(&format!("\"{key}\"")), "{name} is unknown");
}

fn port(address: &str) -> u64 {
    let (_, port) = address.rsplit_once(':').unwrap();
    port.parse().unwrap()
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

/// Returns the hosts of a list of peers, all of them at the port for peers.
fn hosts(join: &str) -> Vec<String> {
    let peers = port(&NodeConfig::default().peer_address);
    let host = |address: &str| {
        assert_eq!(port(address), peers, "{address}");
        address.rsplit_once(':').unwrap().0.to_owned()
    };
    join.split(',').map(host).collect()
}

#[test]
fn compose_files_start_clusters_whose_nodes_find_each_other() {
    let defaults = NodeConfig::default();
    for count in [1, 3, 5] {
        let file = &yaml(&format!("container/compose-{count}.yaml"))[0];
        let services = file["services"].as_object().unwrap();
        assert_eq!(services.len(), count);
        let mut published = BTreeSet::new();
        for (name, service) in services {
            let environment = service["environment"].as_object().unwrap();
            environment.keys().for_each(|name| is_a_setting(name));
            assert_eq!(service["hostname"], name.as_str());
            // `on-failure` leaves it down after a restart of the machine.
            assert_eq!(service["restart"], "unless-stopped");
            assert_eq!(environment["CONCLAVE_ADVERTISE"], name.as_str());
            if count > 1 {
                let join = environment["CONCLAVE_JOIN"].as_str().unwrap();
                let names: Vec<&String> = services.keys().collect();
                assert_eq!(hosts(join).iter().collect::<Vec<_>>(), names);
                let expect = environment["CONCLAVE_BOOTSTRAP_EXPECT"].as_str().unwrap();
                assert_eq!(expect, count.to_string());
                let secret = environment["CONCLAVE_SECRET_FILE"].as_str().unwrap();
                let given = service["secrets"][0].as_str().unwrap();
                assert_eq!(secret, format!("/run/secrets/{given}"));
                assert!(file["secrets"][given]["file"].is_string());
            }
            let ports = service["ports"][0].as_str().unwrap();
            let (outside, inside) = ports.rsplit_once(':').unwrap();
            assert_eq!(inside, port(&defaults.client_address).to_string());
            assert!(published.insert(outside.to_owned()), "{outside} twice");
            let grace = seconds(service["stop_grace_period"].as_str().unwrap());
            assert!(grace >= defaults.stop_seconds + STOP_EXTRA_SECONDS);
            let volume = service["volumes"][0].as_str().unwrap();
            let (volume, place) = volume.split_once(':').unwrap();
            assert!(file["volumes"].get(volume).is_some());
            assert!(text("container/Containerfile").contains(&format!("CONCLAVE_DATA={place} ")));
        }
    }
}

#[test]
fn the_container_runs_as_a_user_and_listens_where_it_says() {
    let file = text("container/Containerfile");
    let defaults = NodeConfig::default();
    let (clients, peers) = (port(&defaults.client_address), port(&defaults.peer_address));
    assert!(file.contains(&format!("EXPOSE {clients} {peers}\n")));
    assert!(file.contains(&format!("CONCLAVE_CLIENT_ADDRESS=0.0.0.0:{clients}")));
    assert!(file.contains(&format!("CONCLAVE_PEER_ADDRESS=0.0.0.0:{peers}")));
    let words = file.split_whitespace();
    let settings = words.filter_map(|word| word.split_once('=').map(|(name, _)| name));
    settings
        .filter(|name| name.starts_with("CONCLAVE_"))
        .for_each(is_a_setting);
    let user = file.lines().find_map(|line| line.strip_prefix("USER "));
    assert_eq!(user, Some("65532:65532"));
    // The page of the toolchain that builds it is the one that the workspace needs.
    let manifest = include_str!("../../../../Cargo.toml");
    let version = value_of_toml(manifest, "rust-version");
    assert!(file.contains(&format!("library/rust:{version}-")));
}

fn value_of_toml<'t>(text: &'t str, key: &str) -> &'t str {
    let start = format!("{key} = \"");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.expect("the key is there").trim_end_matches('"')
}

#[test]
fn the_manifests_of_kubernetes_fit_the_program() {
    let defaults = NodeConfig::default();
    let documents = yaml("kubernetes/conclave.yaml");
    let of_kind = |kind: &str| -> Vec<&Value> {
        let found = documents.iter().filter(|document| document["kind"] == kind);
        found.collect()
    };
    let set = of_kind("StatefulSet")[0];
    let name = set["metadata"]["name"].as_str().unwrap();
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let environment = container["env"].as_array().unwrap();
    let value = |name: &str| {
        let found = environment.iter().find(|one| one["name"] == name);
        found
            .and_then(|one| one["value"].as_str())
            .unwrap_or_default()
    };
    let names = environment.iter().map(|one| one["name"].as_str().unwrap());
    names
        .filter(|name| *name != "POD_NAME")
        .for_each(is_a_setting);

    let headless = set["spec"]["serviceName"].as_str().unwrap();
    let replicas = set["spec"]["replicas"].as_u64().unwrap();
    let pods = (0..replicas).map(|number| format!("{name}-{number}.{headless}"));
    assert_eq!(hosts(value("CONCLAVE_JOIN")), pods.collect::<Vec<_>>());
    assert_eq!(value("CONCLAVE_BOOTSTRAP_EXPECT"), replicas.to_string());
    assert_eq!(
        value("CONCLAVE_ADVERTISE"),
        format!("$(POD_NAME).{headless}")
    );
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");

    let (clients, peers) = (port(&defaults.client_address), port(&defaults.peer_address));
    assert_eq!(port(value("CONCLAVE_CLIENT_ADDRESS")), clients);
    assert_eq!(port(value("CONCLAVE_PEER_ADDRESS")), peers);
    let mut ports = BTreeSet::new();
    for one in container["ports"].as_array().unwrap() {
        ports.insert((
            one["name"].as_str().unwrap(),
            one["containerPort"].as_u64().unwrap(),
        ));
    }
    assert_eq!(
        ports,
        BTreeSet::from([("clients", clients), ("peers", peers)])
    );
    for service in of_kind("Service") {
        assert_eq!(&service["spec"]["selector"], labels);
        let is_headless = service["metadata"]["name"] == headless;
        let early = service["spec"]["publishNotReadyAddresses"] == true;
        assert_eq!(early, is_headless);
        for one in service["spec"]["ports"].as_array().unwrap() {
            let known = (one["name"].as_str().unwrap(), one["port"].as_u64().unwrap());
            assert!(ports.contains(&known), "{known:?}");
        }
    }
    let budget = of_kind("PodDisruptionBudget")[0];
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);

    let ready = &container["readinessProbe"];
    assert_eq!(ready["httpGet"]["path"], "/page/health");
    assert_eq!(ready["httpGet"]["scheme"], "HTTPS", "nodes speak TLS");
    let every = ready["periodSeconds"].as_u64().unwrap();
    let notices_ms = 1000 * every * ready["failureThreshold"].as_u64().unwrap();
    let drain_ms: u64 = value("CONCLAVE_DRAIN_MS").parse().unwrap();
    assert!(drain_ms > notices_ms, "{drain_ms} ms, {notices_ms} ms");
    let stop: u64 = value("CONCLAVE_STOP_SECONDS").parse().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace >= stop + STOP_EXTRA_SECONDS && 2 * drain_ms <= 1000 * stop);

    assert_eq!(container["args"], serde_json::json!(["serve"]));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounts: Vec<_> = mounts
        .iter()
        .map(|one| one["mountPath"].as_str().unwrap())
        .collect();
    for path in ["CONCLAVE_DATA", "CONCLAVE_SECRET_FILE"] {
        let mut below = mounts.iter().map(|mount| format!("{mount}/"));
        assert!(below.any(|mount| value(path).starts_with(&mount)), "{path}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
}

#[test]
fn the_unit_starts_the_program_and_gives_it_time_to_stop() {
    let unit = text("systemd/conclave.service");
    let defaults = NodeConfig::default();
    let start = "/usr/bin/conclave serve --config /etc/conclave/conclave.toml";
    assert_eq!(value_of(&unit, "ExecStart"), start);
    assert_eq!(value_of(&unit, "Type"), "notify");
    let limit = seconds(value_of(&unit, "TimeoutStopSec"));
    assert!(limit >= defaults.stop_seconds + STOP_EXTRA_SECONDS);
    let directory = value_of(&unit, "StateDirectory");
    let config = load("debian/conclave.toml");
    assert_eq!(config.data, Path::new("/var/lib").join(directory));
    assert_eq!(config.client_address, defaults.client_address);
    assert_eq!(config.peer_address, defaults.peer_address);
}

#[test]
fn the_unit_never_gives_up_a_node_whose_trouble_passes() {
    let unit = text("systemd/conclave.service");
    assert_eq!(value_of(&unit, "StartLimitIntervalSec"), "0");
    assert_eq!(value_of(&unit, "Restart"), "on-failure");
    assert!((1..=10).contains(&seconds(value_of(&unit, "RestartSec"))));
    // What does not pass by itself: a wrong setting, and damage that needs a person.
    assert_eq!(value_of(&unit, "RestartPreventExitStatus"), "2 65");
}

#[test]
fn the_unit_may_write_backups_where_the_manual_has_them() {
    let manual = document("docs/operations.md");
    let table = manual.split("```toml\n[backup]\n").nth(1).unwrap();
    let directory = value_of_toml(table, "directory");
    let unit = text("systemd/conclave.service");
    assert_eq!(value_of(&unit, "ProtectSystem"), "strict");
    // A missing directory is no reason not to start.
    assert_eq!(value_of(&unit, "ReadWritePaths"), format!("-{directory}"));
    let made = format!("install -d -m 0700 -o conclave -g conclave {directory}\n");
    assert!(text("debian/postinst").contains(&made));
    let sample = text("debian/conclave.toml");
    assert!(sample.contains(&format!("#directory = \"{directory}\"\n")));
}

fn load(path: &str) -> NodeConfig {
    NodeConfig::load(Some(&ops(path)), &Overrides::default()).unwrap()
}

#[test]
fn every_line_of_the_sample_configuration_may_be_used() {
    let sample = text("debian/conclave.toml");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.toml");
    let (mut keys, mut table) = (0, "");
    for line in sample.lines().filter_map(|line| line.strip_prefix('#')) {
        // A sentence has a space after its mark.
        if line.is_empty() || line.starts_with(' ') {
            continue;
        }
        keys += 1;
        fs::write(&file, format!("{table}\n{line}\n")).unwrap();
        let loaded = NodeConfig::load(Some(&file), &Overrides::default());
        assert!(loaded.is_ok(), "{line}: {loaded:?}");
        if line.starts_with('[') {
            table = line;
        }
    }
    assert!(keys >= 10, "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_a_page_of_the_manual() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let command = program(&["manual", pages.to_str().unwrap()]);
    assert_eq!(run(command, b"").await.succeeded(), "");
    for name in [
        "conclave",
        "conclave-serve",
        "conclave-cluster-restart-plan",
    ] {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
    }
    let count = fs::read_dir(&pages).unwrap().count();
    assert!(count > 60, "{count}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = run(program(&["manual", file.to_str().unwrap()]), b"").await;
    refused.failed(1, "failed to write");
}

/// Starts a node alone as a service manager does that waits this long for a sign of life.
fn managed(home: &Home, address: &Path, watchdog_usec: &str) -> Child {
    // The number of the process is known only once it runs.
    let script = "export WATCHDOG_PID=$$; exec \"$0\" serve --plain \"$@\"";
    let data = home.path("data");
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_conclave")])
        .args(["--data", data.to_str().unwrap()])
        .args(["--client-address", ANY_PORT, "--peer-address", ANY_PORT])
        .env("NOTIFY_SOCKET", address)
        .env("WATCHDOG_USEC", watchdog_usec)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}

/// Asks a node to stop, and checks that it does so without an error.
async fn stopped(mut node: Child) {
    let pid = Pid::from_raw(i32::try_from(node.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, node.wait()).await;
    let ended = ended.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_a_node_serves_lives_and_stops() {
    let home = Home::new().await;
    let address = home.path("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut heard = String::new();
    let mut listen = || {
        let mut datagram = [0; 1024];
        while let Ok(length) = socket.recv(&mut datagram) {
            heard.push_str(std::str::from_utf8(&datagram[..length]).unwrap());
        }
        heard.clone()
    };
    let node = managed(&home, &address, "600000");
    until("it says that it serves and lives", async || {
        let heard = listen();
        (heard.contains("READY=1\n") && heard.matches("WATCHDOG=1\n").count() >= 3).then_some(())
    })
    .await;
    assert!(!listen().contains("STOPPING=1"));
    stopped(node).await;
    assert!(listen().contains("STOPPING=1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_wait_for_a_service_manager_that_hangs() {
    let home = Home::new().await;
    let address = home.path("notify");
    let _socket = UnixDatagram::bind(&address).unwrap();
    let node = managed(&home, &address, "3000");
    let probe = UnixDatagram::unbound().unwrap();
    probe.set_nonblocking(true).unwrap();
    until("no further message finds room", async || {
        let sent = probe.send_to(b"probe", &address);
        sent.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            .then_some(())
    })
    .await;
    stopped(node).await;
}
