//! The flags of `conclave bench` alone: which load, on which nodes, and where the figures go.
//!
//! A combination that means nothing is refused before any node is started.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use conclave_bench::{
    Figures as _,
    sends::{
        self, Options, Pace, SESSIONS_WITH_PASSWORD_MAX, SESSIONS_WITH_STREAM_MAX, Sizes, Target,
        fits, sessions_for,
    },
};
use conclave_client::{Client, OperatorCredential};
use conclave_core::limits::ROOMS_MAX;
use conclave_local_cluster::NODES_MAX;

use super::{figures, watch::Watcher};
use crate::{
    errors::{CommandError, EXIT_FAILED, EXIT_USAGE},
    local_nodes::{Page, this_program, without_result},
    operators,
    output::Format,
    trust,
};

/// Number of messages under way in a closed loop, if none is given.
const CLOSED_DEFAULT: u64 = 64;
/// The same in an open loop: far more than are under way while the nodes keep up.
const OPEN_DEFAULT: u64 = 4096;
/// Messages under way for each session, if no number of sessions is given.
const PER_SESSION: u64 = 64;
/// Least number of seconds of an overload: four parts, of which two are the overload.
const OVERLOAD_SECONDS_MIN: u64 = 8;
/// Seconds that are measured after the leader was killed: it is started again three seconds later.
const AFTER_KILL_SECONDS_MIN: u64 = 5;

/// The call that sends messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// A call for each message
    #[default]
    Unary,
    /// A stream for each session, on which messages keep their order
    Stream,
}

/// Options for the measurement of sends.
#[derive(Debug, clap::Args)]
pub(super) struct Sends {
    /// Number of nodes to start
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// Maximum number of messages under way at once [default: 64; with --rate or --overload 4096]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    concurrency: Option<u64>,
    /// The call that sends messages
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Send N messages per second, whether or not others were answered; latencies count from the
    /// time at which a message was due
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Measure the maximum rate, then send at half of it, at FACTOR times as much, and at half of
    /// it again
    #[arg(
        long, value_name = "FACTOR", conflicts_with = "rate",
        value_parser = clap::value_parser!(u64).range(2..=100)
    )]
    overload: Option<u64>,
    /// Number of rooms to which messages go [default: none; each session sends to the account of
    /// the next]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=ROOMS_MAX))]
    rooms: Option<u64>,
    /// Number of sessions that send, each of an account of its own [default: one for each 64
    /// messages under way; enough for the rooms]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    sessions: Option<u64>,
    /// Bytes of one message: a number, a range (50-400), or a mix (100,100,4096)
    #[arg(long, alias = "payload", default_value = "100", value_name = "SIZES")]
    bytes: Sizes,
    /// Number of messages to store before the measurement
    #[arg(
        long, default_value = "0", value_name = "N", hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(0..=1_000_000_000)
    )]
    fill: u64,
    /// Seconds under load before the measurement
    #[arg(
        long, default_value = "1", value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(0..=600)
    )]
    warmup: u64,
    /// Seconds to measure
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Kill the leader after so many seconds, and start it again
    #[arg(
        long, value_name = "SECONDS", conflicts_with = "endpoints",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    kill_leader_after: Option<u64>,
    /// Longest time for one message with all its attempts, in seconds
    #[arg(
        long, default_value = "15", value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=60)
    )]
    timeout: u64,
    /// Measure these nodes instead of starting some
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    endpoints: Vec<String>,
    /// File with an operator's credential for these nodes [default: the one that `conclave operator
    /// use` has kept]
    #[arg(long, env = "CONCLAVE_OPERATOR_FILE", value_name = "FILE")]
    operator_file: Option<PathBuf>,
    /// Start nodes that talk to clients encrypted
    #[arg(long, conflicts_with = "endpoints")]
    tls: bool,
    /// Send to all nodes instead of the leader alone
    #[arg(long)]
    spread: bool,
    /// Write a page with charts to FILE as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Measures sends.
///
/// # Errors
/// If the flags contradict each other, the cluster does not come up, or it does not hold what it
/// acknowledged.
pub(super) async fn run(args: &Sends) -> anyhow::Result<ExitCode> {
    let load = args.load()?;
    // A page that cannot be written is found out before the measurement, and not after it.
    let page = args.report.as_deref().map(Page::begin).transpose()?;
    let options = Options {
        target: target(args).await?,
        ..load
    };
    let watcher = Watcher::new();
    let measured = sends::measure(&options, &|happening| watcher.tell(&happening)).await;
    watcher.clear();
    let report = measured.map_err(without_result)?;
    if let Some(page) = page {
        page.write(&sends::page(&report))?;
    }
    figures::show(args.output, &report)?;
    if report.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    let sentence = "the nodes do not have what they acknowledged";
    let hint = "were other clients sending? measure a cluster that is not in use";
    Err(CommandError::new(EXIT_FAILED, sentence, hint).into())
}

impl Sends {
    /// Returns the options of the load, on nodes that are started here.
    fn load(&self) -> Result<Options, CommandError> {
        let pace = match (self.rate, self.overload) {
            (Some(rate), _) => Pace::Open(rate as f64),
            (None, Some(factor)) => Pace::Overload(factor as f64),
            (None, None) => Pace::Closed,
        };
        let default = match pace {
            Pace::Closed => CLOSED_DEFAULT,
            Pace::Open(_) | Pace::Overload(_) => OPEN_DEFAULT,
        };
        let concurrency = self.concurrency.unwrap_or(default);
        let rooms = self.rooms.unwrap_or(0);
        let enough = concurrency.div_ceil(PER_SESSION).max(sessions_for(rooms));
        let sessions = self.sessions.unwrap_or(match self.endpoints.is_empty() {
            true => enough,
            false => enough.min(SESSIONS_WITH_PASSWORD_MAX),
        });
        self.refuse_contradictions(sessions, rooms)?;
        Ok(Options {
            target: Target::Local {
                program: PathBuf::new(),
                nodes: self.nodes,
                tls: self.tls,
            },
            mode: match self.mode {
                Mode::Unary => sends::Mode::Unary,
                Mode::Stream => sends::Mode::Stream,
            },
            pace,
            concurrency,
            sessions,
            rooms,
            sizes: self.bytes.clone(),
            fill: self.fill,
            warm_up: Duration::from_secs(self.warmup),
            seconds: self.seconds,
            kill_leader_after: self.kill_leader_after.map(Duration::from_secs),
            timeout: Duration::from_secs(self.timeout),
            spread: self.spread,
        })
    }

    /// Refuses flags that each are right and do not fit each other.
    fn refuse_contradictions(&self, sessions: u64, rooms: u64) -> Result<(), CommandError> {
        let no = |sentence: String, hint: &str| Err(CommandError::new(EXIT_USAGE, sentence, hint));
        if !fits(rooms, sessions) {
            let least = sessions_for(rooms);
            return no(
                format!("--rooms {rooms} and --sessions {sessions} do not fit"),
                &format!(
                    "a session is in at most 256 rooms and a room has at most 20000 members: \
                     {rooms} rooms need {least} sessions or more"
                ),
            );
        }
        if !self.endpoints.is_empty() && sessions > SESSIONS_WITH_PASSWORD_MAX {
            return no(
                format!("--sessions {sessions} is too many for nodes that run already"),
                "each needs a password there, which is slow to hash: ask for at most 1024, or \
                 leave --endpoints out",
            );
        }
        if self.mode == Mode::Stream && sessions > SESSIONS_WITH_STREAM_MAX {
            return no(
                format!("--sessions {sessions} is too many for --mode stream"),
                "a node takes 1024 streams of messages: ask for at most 1000",
            );
        }
        if self.overload.is_some() && self.seconds < OVERLOAD_SECONDS_MIN {
            return no(
                format!("--overload needs {OVERLOAD_SECONDS_MIN} seconds or more"),
                "raise --seconds",
            );
        }
        if let Some(after) = self.kill_leader_after {
            if self.nodes < 3 {
                return no(
                    format!("{} nodes do not survive the death of one", self.nodes),
                    "start three or more with --nodes, or leave --kill-leader-after out",
                );
            }
            if after + AFTER_KILL_SECONDS_MIN > self.seconds {
                return no(
                    format!(
                        "--kill-leader-after {after} is too late for --seconds {}",
                        self.seconds
                    ),
                    "the leader is killed at least five seconds before the end",
                );
            }
        }
        Ok(())
    }
}

async fn target(args: &Sends) -> anyhow::Result<Target> {
    if args.endpoints.is_empty() {
        return Ok(Target::Local {
            program: this_program()?,
            nodes: args.nodes,
            tls: args.tls,
        });
    }
    let endpoints = args.endpoints.clone();
    let builder = match trust::find(&endpoints, None).await? {
        Some(authority) => Client::builder().pinned(&authority),
        None => Client::builder(),
    };
    Ok(Target::Running {
        client: builder.endpoints(endpoints.clone()).build()?,
        operator: credential(args)?,
        endpoints,
    })
}

/// Finds the credential that nodes require before they report what they hold.
fn credential(args: &Sends) -> Result<Option<OperatorCredential>, CommandError> {
    match &args.operator_file {
        Some(file) => Ok(Some(operators::read(file)?)),
        None => operators::find(&args.endpoints),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        sends: Sends,
    }

    fn parsed(line: &str) -> Result<Options, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.sends.load().map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_of_old_scripts_mean_what_they_did() {
        let line = "--nodes 5 --concurrency 200 --seconds 4 --payload 300 --spread --tls -o json";
        let options = parsed(line).unwrap();
        assert_eq!((options.concurrency, options.sessions), (200, 4));
        assert_eq!((options.rooms, options.pace), (0, Pace::Closed));
        assert_eq!(options.sizes.to_string(), "300");
        assert!(options.spread && options.warm_up == Duration::from_secs(1));
    }

    #[test]
    fn sessions_are_enough_for_the_load_and_for_the_rooms() {
        for (line, sessions) in [
            ("", 1),
            ("--concurrency 65", 2),
            ("--rate 1000", 64),
            ("--rooms 10000", 40),
            ("--rooms 10000 --sessions 100000", 100_000),
        ] {
            assert_eq!(parsed(line).unwrap().sessions, sessions, "{line}");
        }
    }

    #[test]
    fn flags_that_do_not_fit_each_other_are_refused() {
        for (line, said) in [
            ("--rooms 10000 --sessions 39", "do not fit"),
            ("--rate 5 --overload 5", "cannot be used with"),
            ("--overload 5 --seconds 7", "8 seconds or more"),
            ("--kill-leader-after 3 --nodes 2", "do not survive"),
            ("--kill-leader-after 8", "too late"),
            (
                "--kill-leader-after 3 --endpoints a:1",
                "cannot be used with",
            ),
            ("--endpoints a:1 --sessions 2000", "too many"),
            (
                "--mode stream --sessions 1001",
                "too many for --mode stream",
            ),
            ("--bytes 0", "1 to 16384 bytes"),
            ("--bytes 9-5", "smallest size"),
        ] {
            let refused = parsed(line).expect_err(line);
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }
}
