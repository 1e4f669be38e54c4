//! ejabberd: one message goes from one account to another one, which is connected to the next node.
//!
//! XMPP has no acknowledgement that a message is stored, so the caller waits until it has arrived.
//! Each caller has two accounts with a connection each; the nodes are a cluster of Mnesia.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    task::JoinSet,
};

use super::{Caller as AnyCaller, Cluster, Shape};
use crate::{
    load::payload,
    servers::{Servers, find, free_ports, output},
};

/// Cookie of the Erlang nodes, which listen on loopback alone, and password of all accounts.
const SECRET: &str = "peers";
/// Longest time for one step of a log-in.
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// Accounts that log in at the same time.
const LOGINS_AT_ONCE: usize = 16;
/// Bytes of an answer that was not understood yet.
const ANSWER_MAX: usize = 64 * 1024;

/// Sends messages between pairs of accounts, one pair for each caller.
#[derive(Clone)]
pub(crate) struct Caller {
    pairs: Arc<Vec<Mutex<Pair>>>,
    payload: u64,
}

struct Pair {
    from: Connection,
    to: Connection,
    to_account: String,
}

impl Caller {
    pub(crate) async fn send(&self, caller: u64, message: u64) -> anyhow::Result<()> {
        let pair = self.pairs.get(usize::try_from(caller)?);
        let mut pair = pair.context("there is no such caller")?.lock().await;
        let text = String::from_utf8(payload(message, self.payload))?;
        let id = format!("m{message}.");
        let stanza = format!(
            "<message to='{}@localhost/r' type='chat' id='{id}'><body>{text}</body></message>",
            pair.to_account
        );
        pair.from.write(&stanza).await?;
        pair.to.read_until(&id).await?;
        pair.to.read_until("</message>").await
    }
}

pub(super) fn promises(archive: bool) -> anyhow::Result<[String; 5]> {
    let version = output("dpkg-query", &["-W", "-f", "${Version}", "ejabberd"])?;
    let (settings, disk) = match archive {
        true => (
            "from one account to another on the next node, until it has arrived there; `mod_mam` \
             archives in Mnesia for both",
            "nothing is synced: written to Mnesia's files without waiting",
        ),
        false => (
            "from one account to another on the next node, until it has arrived there; no archive",
            "nothing: an online recipient has it",
        ),
    };
    Ok([
        version,
        settings.to_owned(),
        disk.to_owned(),
        "delivered to the recipient's connection".to_owned(),
        "is delivered twice".to_owned(),
    ])
}

pub(super) async fn start(shape: Shape<'_>, archive: bool) -> anyhow::Result<Cluster> {
    let mut servers = Servers::new("ejabberd", shape.directory)?;
    let ports = free_ports(shape.nodes + 1)?;
    let (names, clients) = (ports[0], &ports[1..]);
    // The first one only tells Erlang nodes the ports of each other.
    let epmd = find("epmd").context("there is no `epmd`")?;
    let port_of_names = names.to_string();
    servers.start(&epmd, |command| {
        command.args(["-address", "127.0.0.1", "-port", &port_of_names]);
    })?;
    for (number, port) in clients.iter().enumerate() {
        let directory = servers.directory(&format!("n{number}"))?;
        start_node(&mut servers, &directory, number, (*port, names), archive)?;
    }
    for port in clients {
        servers
            .wait_for("ejabberd serves", || serves(*port))
            .await?;
    }
    for number in 1..shape.nodes {
        let directory = servers.directory(&format!("n{number}"))?;
        join(number, names, &directory).await?;
    }
    for port in clients {
        servers
            .wait_for("ejabberd serves in the cluster", || serves(*port))
            .await?;
    }
    let pairs = pairs(shape.callers, clients).await?;
    let caller = Caller {
        pairs: Arc::new(pairs),
        payload: shape.payload,
    };
    let ids = servers.ids().split_off(1);
    Ok(Cluster {
        caller: AnyCaller::Ejabberd(caller),
        servers,
        ids,
        leader: 0,
    })
}

fn start_node(
    servers: &mut Servers,
    directory: &Path,
    number: usize,
    (port, names): (u16, u16),
    archive: bool,
) -> anyhow::Result<()> {
    let configuration = directory.join("ejabberd.yml");
    let archived = match archive {
        true => "  mod_mam:\n    default: always\n    db_type: mnesia\n    cache_size: 10000\n",
        false => "",
    };
    let text = format!(
        "hosts: [localhost]\nloglevel: error\ncertfiles: []\nlisten:\n  -\n    port: {port}\n    \
         ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n    starttls: false\n    \
         max_stanza_size: 65536\n    backlog: 1024\nauth_method: [internal]\n\
         registration_timeout: infinity\nacl:\n  local:\n    user_regexp: \"\"\naccess_rules:\n  \
         register:\n    - allow: all\n  local:\n    - allow: local\nmodules:\n  \
         mod_register:\n    access_from: register\n    access: register\n    \
         ip_access: all\n    captcha_protected: false\n{archived}"
    );
    fs::write(&configuration, text)?;
    let libraries = libraries()?;
    let erl = find("erl").context("there is no `erl`")?;
    servers.start(&erl, |command| {
        command.args(["-noinput", "-name", &format!("n{number}@127.0.0.1")]);
        command.args(["-setcookie", SECRET, "-start_epmd", "false"]);
        command.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]);
        command.args([
            "-mnesia",
            "dir",
            &format!("\"{}/mnesia\"", directory.display()),
        ]);
        command.args(["+K", "true", "+P", "250000", "-s", "ejabberd"]);
        command
            .env("ERL_EPMD_PORT", names.to_string())
            .env("HOME", directory);
        command
            .env("ERL_LIBS", &libraries)
            .env("EJABBERD_CONFIG_PATH", &configuration);
        command.env("EJABBERD_LOG_PATH", directory.join("ejabberd.log"));
        command.env("ERL_CRASH_DUMP_BYTES", "0");
        command.current_dir(directory);
    })
}

/// Finds the folder of Erlang libraries in which the package puts ejabberd.
fn libraries() -> anyhow::Result<String> {
    let files = output("dpkg", &["-L", "ejabberd"])?;
    let ebin = files.lines().find(|line| line.ends_with("/ebin"));
    let folder = ebin.and_then(|line| Path::new(line).ancestors().nth(2));
    let folder = folder.context("the package ejabberd has no `ebin`")?;
    Ok(folder.to_string_lossy().into_owned())
}

/// Asks a node to join the first one.
async fn join(number: usize, names: u16, directory: &Path) -> anyhow::Result<()> {
    let erl = find("erl").context("there is no `erl`")?;
    let call = format!(
        "R = rpc:call('n{number}@127.0.0.1', ejabberd_cluster, join, ['n0@127.0.0.1'], 30000), \
         io:format(\"~p\", [R]), halt()."
    );
    let mut command = tokio::process::Command::new(erl);
    command.args([
        "-noinput",
        "-hidden",
        "-name",
        &format!("join{number}@127.0.0.1"),
    ]);
    command.args(["-setcookie", SECRET, "-start_epmd", "false", "-eval", &call]);
    command
        .env("ERL_EPMD_PORT", names.to_string())
        .env("HOME", directory);
    command.kill_on_drop(true);
    let output = tokio::time::timeout(STEP_LIMIT * 3, command.output()).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim() {
        "ok" => Ok(()),
        text => bail!("node {number} did not join: {text}"),
    }
}

async fn serves(port: u16) -> anyhow::Result<()> {
    let mut connection = Connection::open(port).await?;
    connection.begin().await
}

async fn pairs(callers: u64, ports: &[u16]) -> anyhow::Result<Vec<Mutex<Pair>>> {
    let mut pairs = Vec::new();
    let mut tasks: JoinSet<anyhow::Result<(usize, Pair)>> = JoinSet::new();
    for number in 0..usize::try_from(callers)? {
        if tasks.len() >= LOGINS_AT_ONCE {
            pairs.push(
                tasks
                    .join_next()
                    .await
                    .context("a log-in is under way")???,
            );
        }
        let (from, to) = (
            ports[number % ports.len()],
            ports[(number + 1) % ports.len()],
        );
        tasks.spawn(async move {
            let to_account = format!("to{number}");
            let from = Connection::log_in(from, &format!("from{number}")).await?;
            let to = Connection::log_in(to, &to_account).await?;
            Ok((
                number,
                Pair {
                    from,
                    to,
                    to_account,
                },
            ))
        });
    }
    while let Some(pair) = tasks.join_next().await {
        pairs.push(pair??);
    }
    pairs.sort_by_key(|(number, _)| *number);
    Ok(pairs
        .into_iter()
        .map(|(_, pair)| Mutex::new(pair))
        .collect())
}

/// A connection of XMPP, as far as it is needed here.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// Connects, makes the account, logs in and becomes available.
    async fn log_in(port: u16, account: &str) -> anyhow::Result<Self> {
        let mut it = Self::open(port).await?;
        let steps = async {
            it.begin().await?;
            it.write(&format!(
                "<iq type='set' id='make'><query xmlns='jabber:iq:register'><username>{account}\
                 </username><password>{SECRET}</password></query></iq>"
            ))
            .await?;
            it.read_until("id='make'").await?;
            let plain = STANDARD.encode(format!("\0{account}\0{SECRET}"));
            it.write(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
            ))
            .await?;
            it.read_until("<success").await?;
            it.begin().await?;
            it.write(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>r</resource></bind></iq>",
            )
            .await?;
            it.read_until("</iq>").await?;
            it.write(&format!("<presence id='here-{account}'/>"))
                .await?;
            // Each account sees its own presence.
            it.read_until("<presence").await?;
            anyhow::Ok(())
        };
        let done = tokio::time::timeout(STEP_LIMIT, steps).await;
        done.context("no answer")?
            .with_context(|| format!("failed to log {account} in"))?;
        Ok(it)
    }

    /// Begins a stream of stanzas.
    async fn begin(&mut self) -> anyhow::Result<()> {
        self.read.clear();
        self.write(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>",
        )
        .await?;
        let features = self.read_until("</stream:features>");
        tokio::time::timeout(STEP_LIMIT, features)
            .await
            .context("no answer")?
    }

    async fn write(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(text.as_bytes()).await?)
    }

    /// Reads up to and with a text. What is behind it is kept.
    async fn read_until(&mut self, text: &str) -> anyhow::Result<()> {
        loop {
            if let Some(at) = find_in(&self.read, text.as_bytes()) {
                self.read.drain(..at + text.len());
                return Ok(());
            }
            let so_far = String::from_utf8_lossy(&self.read);
            if so_far.contains("<failure") || so_far.contains("<stream:error") {
                bail!("waiting for `{text}`: {so_far}");
            }
            if self.read.len() > ANSWER_MAX {
                bail!("`{text}` does not come");
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                bail!("the server closed the connection; waiting for `{text}`: {so_far}");
            }
            self.read.extend_from_slice(&buffer[..count]);
        }
    }
}

fn find_in(all: &[u8], part: &[u8]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}
