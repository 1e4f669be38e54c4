//! `conclave cluster status --watch`: shows the status again and again, until it is interrupted.
//!
//! A terminal is painted over; elsewhere the command writes a block whenever something has changed,
//! and with `-o json` one object at every look.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use conclave_client::{Client, v1};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    best_status,
    catching_up::{Pace, transfers},
    commit_max, json, summary, warnings,
};
use crate::{
    errors::note,
    output::{self, Format},
};

/// Interval between two looks at the cluster.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Terminal sequences: go to the upper left corner; erase to the end of the line; erase everything
/// below.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Shows the status of the cluster until it is interrupted, even while no node answers: one may
/// start.
///
/// # Errors
/// If stdout is closed.
pub(super) async fn run(client: &Client, output: Format) -> anyhow::Result<ExitCode> {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_terminal = io::stdout().is_terminal();
    let (mut pace, mut shown) = (Pace::default(), Vec::new());
    loop {
        looks.tick().await;
        let answers = client.cluster_statuses().await;
        let silent = format!("none of {} nodes answered", answers.len());
        let status = best_status(answers);
        match (output, &status) {
            (Format::Json, Some(status)) => output::json_line(&json(status))?,
            (Format::Json, None) => note(&silent),
            (Format::Table, _) => {
                let lines = match &status {
                    Some(status) => block(status, &mut pace),
                    None => vec![silent],
                };
                if is_terminal {
                    paint(&lines)?;
                } else if lines != shown {
                    write_block(&lines)?;
                }
                shown = lines;
            }
        }
    }
}

/// Formats the whole status as lines.
fn block(status: &v1::GetClusterStatusResponse, pace: &mut Pace) -> Vec<String> {
    let commit = commit_max(status);
    let mut lines = super::table(status);
    lines.push(summary(status));
    lines.extend(warnings(status));
    lines.extend(transfers(status).iter().map(|transfer| transfer.line()));
    lines.extend(pace.lines(status, commit, Instant::now()));
    lines
}

fn paint(lines: &[String]) -> io::Result<()> {
    let mut screen = HOME.to_owned();
    for line in lines {
        screen.push_str(line);
        screen.push_str(REST_OF_LINE);
        screen.push('\n');
    }
    screen.push_str(REST_OF_SCREEN);
    let mut stdout = io::stdout().lock();
    stdout.write_all(screen.as_bytes())?;
    stdout.flush()
}

fn write_block(lines: &[String]) -> io::Result<()> {
    lines.iter().try_for_each(|line| output::line(line))?;
    output::line("")
}
