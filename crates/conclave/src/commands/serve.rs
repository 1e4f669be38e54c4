//! `conclave serve`: runs one node.
//!
//! A setting comes from the command line, or else from the environment, or else from the file, or
//! else from the defaults. A key that nobody knows is refused, so that a typing error does not
//! become a default.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use config::{Config, File, FileFormat};
use serde::Deserialize;

use crate::errors::{CommandError, EXIT_FAILED, EXIT_USAGE};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read settings from this file (TOML)
    #[arg(long, env = "CONCLAVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the node keeps its data [default: ./conclave-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The number of this node [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Where clients reach it [default: 127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT")]
    client_address: Option<String>,
    /// Where peers reach it [default: 127.0.0.1:7401]
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: Option<String>,
    /// All nodes, as 1=PEERHOST:PORT/CLIENTHOST:PORT,2=… [default: this one alone]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    members: Option<Vec<String>>,
    /// Acknowledge before the disk has it: for throw-away nodes only
    #[arg(long)]
    unsafe_no_sync: bool,
    /// What to log, as RUST_LOG [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// End when the process of this number ends, which must have started this one
    #[arg(long, hide = true, value_name = "PID")]
    die_with_parent: Option<i32>,
}

/// The settings of one source.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    data: Option<PathBuf>,
    node: Option<u64>,
    client_address: Option<String>,
    peer_address: Option<String>,
    members: Option<Vec<String>>,
    unsafe_no_sync: Option<bool>,
    log: Option<String>,
}

/// The settings of a node.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    data: PathBuf,
    node: u64,
    client_address: String,
    peer_address: String,
    /// Empty: this node alone.
    members: Vec<String>,
    unsafe_no_sync: bool,
    log: String,
}

/// Runs one node.
///
/// # Errors
/// Always: this build has the settings of a node, and no node to give them to.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(parent) = args.die_with_parent {
        die_with_parent(parent)?;
    }
    let environment = from_environment(|name| std::env::var(name).ok())?;
    let file = args.config.as_deref().map(from_file).transpose()?;
    let settings = settings([from_flags(args), environment, file.unwrap_or_default()]);
    let sentence = format!(
        "node {} cannot run: this build has no server",
        settings.node
    );
    Err(CommandError::new(EXIT_FAILED, sentence, "use a newer build").into())
}

/// Has the system end this process with its parent.
fn die_with_parent(parent: i32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // It may have died before it was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
        return Ok(());
    }
    let sentence = format!("the process {parent}, which this one is to end with, has ended");
    Err(CommandError::new(EXIT_FAILED, sentence, "leave --die-with-parent out").into())
}

fn from_flags(args: Args) -> Layer {
    Layer {
        data: args.data,
        node: args.node,
        client_address: args.client_address,
        peer_address: args.peer_address,
        members: args.members,
        unsafe_no_sync: args.unsafe_no_sync.then_some(true),
        log: args.log,
    }
}

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Layer, CommandError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let node = set("CONCLAVE_NODE").map(|node| {
        node.parse().map_err(|_| {
            let sentence = format!("CONCLAVE_NODE is '{node}', which is no number");
            CommandError::new(EXIT_USAGE, sentence, "nodes are numbered from 1")
        })
    });
    let members = |list: String| {
        list.split(',')
            .map(|member| member.trim().to_owned())
            .collect()
    };
    Ok(Layer {
        data: set("CONCLAVE_DATA").map(PathBuf::from),
        node: node.transpose()?,
        client_address: set("CONCLAVE_CLIENT_ADDRESS"),
        peer_address: set("CONCLAVE_PEER_ADDRESS"),
        members: set("CONCLAVE_MEMBERS").map(members),
        unsafe_no_sync: None,
        log: set("CONCLAVE_LOG"),
    })
}

fn from_file(path: &Path) -> Result<Layer, CommandError> {
    let wrong = |error: &dyn std::fmt::Display| {
        let sentence = format!("the settings in {} cannot be used: {error}", path.display());
        let hint = "its keys are the flags of serve with underscores, such as client_address";
        CommandError::new(EXIT_USAGE, sentence, hint)
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let read = Config::builder().add_source(File::from_str(&text, FileFormat::Toml));
    let layer = read.build().and_then(Config::try_deserialize);
    layer.map_err(|error| wrong(&error))
}

/// What the first of these sources says that says anything.
fn settings(layers: [Layer; 3]) -> Settings {
    let layers = layers.into_iter().reduce(|stronger, weaker| Layer {
        data: stronger.data.or(weaker.data),
        node: stronger.node.or(weaker.node),
        client_address: stronger.client_address.or(weaker.client_address),
        peer_address: stronger.peer_address.or(weaker.peer_address),
        members: stronger.members.or(weaker.members),
        unsafe_no_sync: stronger.unsafe_no_sync.or(weaker.unsafe_no_sync),
        log: stronger.log.or(weaker.log),
    });
    let said = layers.unwrap_or_default();
    let or = |said: Option<String>, default: &str| said.unwrap_or_else(|| default.to_owned());
    Settings {
        data: said.data.unwrap_or_else(|| "./conclave-data".into()),
        node: said.node.unwrap_or(1),
        client_address: or(said.client_address, "127.0.0.1:7400"),
        peer_address: or(said.peer_address, "127.0.0.1:7401"),
        members: said.members.unwrap_or_default(),
        unsafe_no_sync: said.unsafe_no_sync.unwrap_or(false),
        log: or(said.log, "info"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Layer, CommandError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.toml");
        fs::write(&path, text).unwrap();
        from_file(&path)
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let flags = Layer {
            node: Some(3),
            ..Layer::default()
        };
        let environment = from_environment(|name| match name {
            "CONCLAVE_NODE" => Some("2".to_owned()),
            "CONCLAVE_MEMBERS" => Some("1=a:1/a:2, 2=b:1/b:2".to_owned()),
            "CONCLAVE_LOG" => Some(String::new()),
            _ => None,
        });
        let file = file("node = 1\nlog = \"debug\"\nmembers = []\n").unwrap();
        let settings = settings([flags, environment.unwrap(), file]);
        assert_eq!(settings.node, 3);
        assert_eq!(settings.members, ["1=a:1/a:2", "2=b:1/b:2"]);
        assert_eq!(settings.log, "debug", "an empty variable says nothing");
        assert_eq!(settings.client_address, "127.0.0.1:7400");
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_by_name() {
        let error = file("client_adress = \"a:1\"\n").unwrap_err();
        assert_eq!(error.exit(), EXIT_USAGE);
        assert!(error.to_string().contains("client_adress"), "{error}");
    }

    #[test]
    fn a_node_that_is_no_number_is_refused() {
        let error = from_environment(|_| Some("one".to_owned())).unwrap_err();
        assert!(error.to_string().contains("CONCLAVE_NODE is 'one'"));
    }
}
