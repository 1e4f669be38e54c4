//! `conclave-attack`: attacks a cluster on this machine and prints what an honest client noticed.
//!
//! The attack takes only the time of the processors that other processes leave: on machines of its
//! own it would take none from the nodes and the honest client.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use conclave_attack::{ATTACKS, Bounds, COUNT_MAX, DURATION_MAX, Target, attack, run};
use tokio::runtime::Handle;

/// The lowest priority of a thread (`nice`).
const LOWEST_PRIORITY: i32 = 19;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(in_background(&matches)));
    match done {
        Ok(report) => {
            tell(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is for people")]
fn tell(text: &str) {
    print!("{text}");
}

/// Attacks from threads that give way to all others.
async fn in_background(matches: &ArgMatches) -> anyhow::Result<String> {
    let background = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(|| {
            // Linux counts threads apart. Elsewhere the honest client gives way too.
            let _ = rustix::process::nice(LOWEST_PRIORITY);
        })
        .build()?;
    let done = one(matches, background.handle()).await;
    background.shutdown_background();
    done
}

async fn one(matches: &ArgMatches, on: &Handle) -> anyhow::Result<String> {
    let (name, of_attack) = matches.subcommand().expect("one is required");
    let attack = attack(name).expect("every subcommand is an attack");
    let addresses = |id| {
        let given = matches.get_many::<SocketAddr>(id);
        given.into_iter().flatten().copied().collect()
    };
    let target = Target::find(
        addresses("clients"),
        addresses("peers"),
        matches.get_flag("plain"),
    );
    let target = Arc::new(target.await?);
    let count = of_attack.get_one::<usize>("count").copied();
    let seconds = of_attack.get_one::<u64>("seconds").copied();
    let bounds = Bounds::new(
        count.unwrap_or(attack.count),
        Duration::from_secs(seconds.unwrap_or(10)),
    );
    let calm = matches.get_one::<u64>("calm").copied().unwrap_or(5);
    let report = run(attack, &target, bounds, Duration::from_secs(calm), on).await?;
    Ok(report.to_string())
}

fn command() -> Command {
    let addresses = |id: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name("IP:PORT")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(value_parser!(SocketAddr))
            .help(help)
    };
    let number = |id: &'static str| Arg::new(id).long(id).value_name("NUMBER");
    let attacks = ATTACKS.iter().map(|attack| {
        let count = number("count")
            .value_parser(value_parser!(usize))
            .help(format!("Connections or requests, at most {COUNT_MAX}"));
        let seconds = number("seconds")
            .value_parser(value_parser!(u64))
            .help(format!("Duration, at most {} s", DURATION_MAX.as_secs()));
        Command::new(attack.name)
            .about(attack.about)
            .arg(count)
            .arg(seconds)
    });
    Command::new("conclave-attack")
        .about("Attack a cluster on this machine and print what an honest client noticed")
        .arg(addresses("clients", "Client ports, one for each node").required(true))
        .arg(addresses("peers", "Peer ports, one for each node"))
        .arg(
            Arg::new("plain")
                .long("plain")
                .action(ArgAction::SetTrue)
                .help("The cluster speaks plain text"),
        )
        .arg(
            number("calm")
                .value_parser(value_parser!(u64))
                .help("Seconds of measuring before the attack"),
        )
        .subcommand_required(true)
        .subcommands(attacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_a_subcommand() {
        command().debug_assert();
        for attack in ATTACKS {
            let line = ["conclave-attack", "--clients", "127.0.0.1:1", attack.name];
            let matches = command().try_get_matches_from(line).unwrap();
            assert_eq!(matches.subcommand_name(), Some(attack.name));
        }
    }
}
