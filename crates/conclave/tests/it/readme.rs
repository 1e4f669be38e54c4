//! The commands that people copy from the documents are run as they stand there, by a shell.
//!
//! Only what this machine lacks is replaced: `cargo run` by the built program, ports and
//! directories by free ones, and the addresses of other machines by local ones. A block that is
//! none of the known kinds fails, so nothing is left out.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use conclave_local_cluster::Ports;

use crate::{
    desk::{CARGO, Desk},
    support::until,
    witness::stranger_at,
};

/// Prefix of the addresses of the machines in the documents.
const MACHINES: &str = "10.0.0.";
/// Path of the machines' secret in the documents.
const MACHINE_SECRET: &str = "/var/lib/conclave-secret";
/// Data directory of the machines in the documents.
const MACHINE_DATA: &str = "/var/lib/conclave";
/// Last line of `up`, according to the README.
const LAST_LINE: &str = "Ctrl-C stops all nodes.";
/// Picture of the demo in the README, and the script that draws it.
const PICTURE: &str = "docs/pictures/demo.svg";
const PICTURE_SCRIPT: &str = "scripts/demo-picture";
/// Maximum size of the picture, which each reader of the README loads.
const PICTURE_BYTES_MAX: usize = 60_000;
/// Default number of nodes of `up`.
const NODES: u16 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_work() {
    let desk = Desk::new().await;
    let (readme, operations) = (document("README.md"), document("docs/operations.md"));
    let (mut up, mut chat, mut machines) = (Vec::new(), Vec::new(), Vec::new());
    let (mut growing, mut meeting, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut at_desk, mut check) = (Vec::new(), Vec::new(), Vec::new());
    for block in [blocks(&readme, "sh"), blocks(&operations, "sh")].concat() {
        let kind = if block.trim() == format!("{CARGO} up") {
            &mut up
        } else if block.starts_with("conclave cluster add") {
            &mut growing
        } else if block.starts_with("conclave token secret") {
            &mut meeting
        } else if block.starts_with("conclave token create") {
            &mut tokens
        } else if block.starts_with("conclave serve --data") {
            &mut first
        } else if block.starts_with("export CONCLAVE_ENDPOINTS") {
            &mut at_desk
        } else if block.starts_with("conclave cluster check") {
            &mut check
        } else if block.starts_with("conclave cluster ack") {
            // `two_crashes.rs` runs it.
            continue;
        } else if block.starts_with("conclave cluster recover") {
            // `recover.rs` runs it.
            continue;
        } else if block.starts_with("conclave cluster restart-plan") {
            // `planned_work.rs` runs it, and what it prints.
            continue;
        } else if block.starts_with("conclave backup") {
            // `backup.rs` runs it.
            continue;
        } else if block.contains(MACHINES) {
            &mut machines
        } else if block.starts_with("conclave ") {
            &mut chat
        } else {
            panic!("no test runs this: {block}");
        };
        kind.push(block);
    }
    assert!(!up.is_empty() && chat.len() >= 2 && !machines.is_empty());
    on_one_machine(&desk, &up[0], &chat).await;
    for block in &machines {
        on_several_machines(&desk, block).await;
    }
    assert_eq!([growing.len(), meeting.len(), tokens.len()], [1, 1, 1]);
    assert_eq!([first.len(), at_desk.len(), check.len()], [1, 1, 1]);
    step_by_step(&desk, &first[0], &at_desk[0], &check[0]).await;
    on_one_machine_more(&desk, &growing[0]).await;
    on_machines_that_meet(&desk, &meeting[0], &tokens[0]).await;
    let files = blocks(&operations, "toml");
    assert!(!files.is_empty());
    // `backup.rs`, `goes_alone.rs` and `bad_start.rs` start nodes with those.
    let elsewhere = ["[backup]", "[recover]", "[trace]"];
    let is_here = |file: &&String| !elsewhere.iter().any(|table| file.starts_with(table));
    for file in files.iter().filter(is_here) {
        from_a_file(&desk, file).await;
    }
    for command in [inline(&readme), inline(&operations)].concat() {
        // A `help` command prints the help by itself; the others need the flag.
        let help = if command.ends_with(" help") {
            ""
        } else {
            "--help"
        };
        let helped = desk.run(&format!("{command} {help}")).await;
        assert!(helped.succeeded().contains("Usage: conclave"), "{command}");
    }
    assert!(
        readme.contains(LAST_LINE),
        "the README tells another last line of `up`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_of_the_readme_shows_what_the_demo_prints() {
    let picture = document(PICTURE);
    assert!(document("README.md").contains(&format!("]({PICTURE})")));
    assert!(
        picture.contains(&format!("by {PICTURE_SCRIPT} ")) && !document(PICTURE_SCRIPT).is_empty()
    );
    // A page shows it as an image: nothing in it runs or is loaded.
    let is_loaded = ["<script", "href=", "url(", "@import"];
    assert!(!is_loaded.iter().any(|part| picture.contains(part)));
    assert!(picture.len() < PICTURE_BYTES_MAX);
    let shown = |class: &str| -> Vec<String> {
        let begin = format!("<text class=\"{class}\"");
        let texts = picture.lines().filter(|line| line.starts_with(&begin));
        let text = |line: &str| line.split(['<', '>']).nth(2).map(without_figures);
        texts.map(|line| text(line).unwrap()).collect()
    };
    assert_eq!(shown("prompt"), [format!("$ {CARGO} demo")]);
    let desk = Desk::new().await;
    let ran = desk.run(&format!("{CARGO} demo --seconds 5")).await;
    let said = format!("{}{}", ran.stderr, ran.stdout);
    let said: Vec<String> = said.lines().map(without_figures).collect();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(shown("line"), said, "draw it again with {PICTURE_SCRIPT}");
}

/// Returns a line with `#` in the place of each number, and without the secret of the panel.
fn without_figures(line: &str) -> String {
    let mut words = String::new();
    let line = line.split_inclusive("#demo=").next().unwrap_or(line);
    for character in line.chars() {
        match character.is_ascii_digit() {
            true if words.ends_with('#') => {}
            true => words.push('#'),
            false => words.push(character),
        }
    }
    words
}

/// Runs `up` and a conversation, kills two nodes, and presses Ctrl-C.
async fn on_one_machine(desk: &Desk, up: &str, chat: &[String]) {
    let base = free_base_port();
    let up = format!("exec {} --base-port {base}", up.trim());
    let mut up = desk.start(&up).await;
    let mut pids = Vec::new();
    for _ in 0..NODES {
        let line = up.line().await;
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, client, _, pid, data, admin] = columns[..] else {
            panic!("it is no line of a node: {line}");
        };
        for address in [client, admin] {
            assert!(address.starts_with("127.0.0.1:"), "{line}");
        }
        assert!(data.starts_with("./conclave-data/"), "{line}");
        pids.push(pid.parse::<i32>().unwrap());
    }
    until("it says that it is ready", async || {
        let said = up.stderr();
        said.lines().any(|line| line == LAST_LINE).then_some(())
    })
    .await;
    let ports = (0..NODES).map(|node| format!("127.0.0.1:{}", base + 10 * node));
    let ports: Vec<String> = ports.collect();
    let at = format!("export CONCLAVE_ENDPOINTS={}\n", ports.join(","));
    let mut said = Vec::new();
    for block in chat {
        said.push(desk.run(&format!("{at}{block}")).await.succeeded());
    }
    assert!(said[0].contains("sent 1.1\n"), "{said:?}");
    assert!(said[0].contains("are you there?"), "{said:?}");
    // "Take any two process ids that `up` has printed, `kill -9` them, and go on chatting."
    let two = format!("kill -9 {} {}", pids[0], pids[1]);
    desk.run(&two).await.succeeded();
    let sent = desk.run(&format!("{at}conclave send alice yes")).await;
    assert_eq!(sent.succeeded(), "sent 1.2\n");
    up.ends_by_ctrl_c().await;
    for pid in &pids[2..] {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "{pid} is left"
        );
    }
    assert!(desk.home.path("desk/conclave-data/node-5").exists());
}

/// Runs the block of a cluster of several machines, with each of them here.
async fn on_several_machines(desk: &Desk, block: &str) {
    let members = block.matches(&format!("={MACHINES}")).count();
    let members = u64::try_from(members).unwrap();
    let ports = Ports::free(members).expect("there are free ports");
    let block = &block.replace(MACHINE_SECRET, &desk.secret().await);
    let mut nodes = Vec::new();
    for node in 1..=members {
        let (list, command) = block.split_once('\n').unwrap();
        // Each machine has its own number and its own address.
        let command = command
            .replace("N=1 ", &format!("N={node} "))
            .replace("$N", &node.to_string())
            .replace("--node 1 ", &format!("--node {node} "))
            .replace(
                &format!("-address {MACHINES}1:"),
                &format!("-address {MACHINES}{node}:"),
            )
            .replace("conclave serve", "exec conclave serve");
        let data = desk.home.path(&format!("{members}-{node}"));
        let lines = format!("{list}\n{command}").replace(MACHINE_DATA, data.to_str().unwrap());
        nodes.push(desk.start(&at_home(&lines, ports, members)).await);
    }
    for (number, node) in (1..).zip(&mut nodes) {
        assert!(node.line().await.ends_with(&format!("node={number}")));
        assert!(
            node.line()
                .await
                .starts_with(&format!("ready node={number} "))
        );
    }
    let asked = ports.client(1);
    let stranger = stranger_at(&asked);
    until("all vote, and a minority may fail", async || {
        let status = stranger.cluster_status(&asked).await.ok()?;
        let all = u64::from(status.voters_reachable) == members;
        (all && u64::from(status.tolerates_failures) == (members - 1) / 2).then_some(())
    })
    .await;
    for node in &mut nodes {
        node.child.kill().await.unwrap();
    }
}

/// Runs the block of five machines, one after the other, encrypted as they are by default.
async fn step_by_step(desk: &Desk, first: &str, at_desk: &str, check: &str) {
    const ENCRYPTED: &str = "unset CONCLAVE_PLAIN\n";
    const ALL: u64 = 5;
    let ports = Ports::free(ALL).expect("there are free ports");
    let data = |node: u64| desk.home.path(&format!("step-{node}"));
    let first = at_home(first, ports, ALL).replace(MACHINE_DATA, data(1).to_str().unwrap());
    let mut node = desk.start(&format!("{ENCRYPTED}exec {first}")).await;
    assert!(node.line().await.ends_with("node=1"));
    assert!(node.line().await.starts_with("ready node=1"));
    let fingerprint = node.line().await;
    let fingerprint = fingerprint.strip_prefix("fingerprint ").unwrap();
    let setup = node.line().await;
    let setup = setup.strip_prefix("setup-token ").unwrap();
    let at_desk = at_home(at_desk, ports, ALL);
    // "Bring a copy of the file to your desk."
    let file = operator_file(&[data(1)]).await;
    fs::copy(file, desk.home.path("desk/operator.token")).unwrap();
    let given = format!("{ENCRYPTED}SETUP_TOKEN={setup}\nFINGERPRINT={fingerprint}\n");
    let said = desk.run(&format!("{given}{at_desk}")).await.succeeded();
    let mut command = said.lines().last().unwrap().to_owned();
    let (at, _) = at_desk.split_once('\n').unwrap();
    let at = format!("{ENCRYPTED}{at}\n");
    let mut nodes = vec![node];
    for number in 2..=ALL {
        let serve = format!(
            "{ENCRYPTED}exec {command} --data {} --client-address {} --peer-address {}",
            data(number).display(),
            ports.client(number),
            ports.peer(number)
        );
        let mut node = desk.start(&serve).await;
        assert!(node.line().await.ends_with(&format!("node={number}")));
        nodes.push(node);
        let made = desk.run(&format!("{at}conclave token create")).await;
        command = made.succeeded().trim().to_owned();
    }
    until("it is what the document says", async || {
        let status = desk.run(&format!("{at}conclave cluster status")).await;
        let said = "5/5 up, tolerates 2 more failures";
        status.stderr.contains(said).then_some(())
    })
    .await;
    until("all nodes are the same", async || {
        let checked = desk.run(&format!("{at}{check}")).await;
        (checked.code == Some(0)).then_some(())
    })
    .await;
    for node in &mut nodes {
        node.child.kill().await.unwrap();
    }
}

/// Runs the block of three machines that find each other with a secret; a fourth joins with a
/// token.
async fn on_machines_that_meet(desk: &Desk, meeting: &str, token: &str) {
    const ALL: u64 = 4;
    let ports = Ports::free(ALL).expect("there are free ports");
    let secret = desk.home.path("meeting-secret");
    let meeting = meeting.replace(MACHINE_SECRET, secret.to_str().unwrap());
    let (make_secret, serve) = meeting.split_once('\n').unwrap();
    desk.run(make_secret).await.succeeded();
    let mut nodes = Vec::new();
    for node in 1..ALL {
        let data = desk.home.path(&format!("met-{node}"));
        let serve = serve
            .replace(MACHINE_DATA, data.to_str().unwrap())
            .replace("$N", &node.to_string());
        let command = format!("exec {}", at_home(&serve, ports, ALL));
        nodes.push(desk.start(&command).await);
    }
    let data: Vec<_> = (1..ALL)
        .map(|node| desk.home.path(&format!("met-{node}")))
        .collect();
    let at = first_operator(desk, ports, &data).await;
    let made = desk.run(&format!("{at}{token}")).await.succeeded();
    let data = desk.home.path("met-fourth");
    let command = format!(
        "exec {} --data {} --client-address {} --peer-address {}",
        made.trim(),
        data.display(),
        ports.client(ALL),
        ports.peer(ALL)
    );
    let mut fourth = desk.start(&command).await;
    assert!(fourth.line().await.ends_with("node=4"));
    let asked = ports.client(ALL);
    until("the fourth votes", async || {
        let status = stranger_at(&asked).cluster_status(&asked).await.ok()?;
        (status.voters == 4).then_some(())
    })
    .await;
    nodes.push(fourth);
    for node in &mut nodes {
        node.child.kill().await.unwrap();
    }
}

/// Returns the credential file of the first operator, in one of these data directories.
async fn operator_file(data: &[PathBuf]) -> PathBuf {
    until("a node has written it", async || {
        let files = data.iter().map(|data| data.join("operator.token"));
        files.into_iter().find(|file| file.exists())
    })
    .await
}

/// Stores the credential of the first operator; returns the prefix of the operator's commands.
async fn first_operator(desk: &Desk, ports: Ports, data: &[PathBuf]) -> String {
    let file = operator_file(data).await;
    let at = format!("export CONCLAVE_ENDPOINTS={}\n", ports.client(1));
    let keep = format!("{at}conclave operator use {}", file.display());
    desk.run(&keep).await.succeeded();
    at
}

/// Adds a fourth machine to a cluster of three, as in the block.
async fn on_one_machine_more(desk: &Desk, block: &str) {
    const INITIAL_MEMBERS: u64 = 3;
    const ALL: u64 = 4;
    let ports = Ports::free(ALL).expect("there are free ports");
    let member = |node| format!("{node}={}/{}", ports.peer(node), ports.client(node));
    let list: Vec<String> = (1..=INITIAL_MEMBERS).map(member).collect();
    let mut nodes = Vec::new();
    let secret = desk.home.secret_file();
    for node in 1..=INITIAL_MEMBERS {
        let start = format!(
            "exec conclave serve --node {node} --members {} --secret-file {} --data {} \
             --client-address {} --peer-address {}",
            list.join(","),
            secret.display(),
            desk.home.path(&format!("member-{node}")).display(),
            ports.client(node),
            ports.peer(node)
        );
        nodes.push(desk.start(&start).await);
    }
    let initial_member = |node| desk.home.path(&format!("member-{node}"));
    let data: Vec<_> = (1..=INITIAL_MEMBERS).map(initial_member).collect();
    let at = first_operator(desk, ports, &data).await;
    let data = desk.home.path("fourth");
    let block = block.replace(MACHINE_SECRET, secret.to_str().unwrap());
    let block = block.replace(MACHINE_DATA, data.to_str().unwrap());
    let block = at_home(&block, ports, ALL);
    let (add, rest) = block.split_once('\n').unwrap();
    let (serve, promote) = rest.trim_end().rsplit_once('\n').unwrap();
    // The commands run in the other order, which must not matter.
    let mut fourth = desk.start(&format!("exec {serve}")).await;
    let added = desk.run(&format!("{at}{add}")).await;
    assert!(added.succeeded().contains("learners: 4"));
    assert!(fourth.line().await.ends_with("node=4"));
    let promoted = desk.run(&format!("{at}{promote}")).await;
    assert!(promoted.succeeded().contains("voters: 1, 2, 3, 4\n"));
    nodes.push(fourth);
    for node in &mut nodes {
        node.child.kill().await.unwrap();
    }
}

/// Starts nodes with the example of a configuration file.
async fn from_a_file(desk: &Desk, file: &str) {
    let members = file.matches(&format!("={MACHINES}")).count();
    let members = u64::try_from(members).unwrap();
    let ports = Ports::free(members).expect("there are free ports");
    let data = desk.home.path("from-file");
    let file = file.replace(MACHINE_SECRET, &desk.secret().await);
    let file = file.replace(MACHINE_DATA, data.to_str().unwrap());
    let file = at_home(&file, ports, members);
    fs::write(desk.home.path("desk/conclave.toml"), file).unwrap();
    let mut node = desk
        .start("exec conclave serve --config conclave.toml")
        .await;
    let line = node.line().await;
    let (client, peer, admin) = (ports.client(1), ports.peer(1), ports.admin(1));
    assert_eq!(
        line,
        format!("listening client={client} peer={peer} admin={admin} node=1")
    );
    assert!(data.exists());
    node.child.kill().await.unwrap();
}

/// Returns the text with local addresses.
fn at_home(text: &str, ports: Ports, members: u64) -> String {
    let mut text = text.to_owned();
    for node in 1..=members {
        text = text
            .replace(&format!("{MACHINES}{node}:7400"), &ports.client(node))
            .replace(&format!("{MACHINES}{node}:7401"), &ports.peer(node));
    }
    assert!(!text.contains(MACHINES), "an address is left: {text}");
    text
}

pub(crate) fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(name)).unwrap()
}

/// Returns the fenced blocks of this language.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let parts = text.split(&begin).skip(1);
    parts
        .map(|part| part.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// Returns the commands within the sentences.
fn inline(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    let codes = prose.flat_map(|part| part.split('`').skip(1).step_by(2));
    codes
        .filter(|code| code.starts_with("conclave ") || code.starts_with(CARGO))
        .map(str::to_owned)
        .collect()
}

/// Returns a port that is free, as are those of the other nodes of `up`.
fn free_base_port() -> u16 {
    let first = 7500 + 50 * u16::try_from(std::process::id() % 40).unwrap();
    let mut bases = (0..40).map(|n| 7500 + (first - 7500 + 50 * n) % 2000);
    let is_free = |base: &u16| {
        let ports = (0..NODES).flat_map(|node| [0, 1, 2].map(|port| base + 10 * node + port));
        ports
            .into_iter()
            .all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    bases.find(is_free).expect("there are free ports")
}
