//! Defines the command line and its subcommands.
//!
//! Each subcommand has its arguments and its work in a file of its own under `commands/`.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    commands::{
        accounts::{account, bot, invite, login, logout, passwd, sessions, token, trust, whoami},
        audit, backup, bench,
        chat::{conversations, delete, edit, presence, react, read, room, search, send, webhook},
        cluster, completions, demo, doctor, export, import, manual, node, operator, restore, serve,
        up,
    },
    errors::EXIT_INTERRUPTED,
};

/// A replicated chat server that a team runs on machines of its own.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node
    Serve(serve::Args),
    /// Run a whole cluster on this machine
    Up(up::Args),
    /// Watch a cluster on this machine survive killed nodes
    Demo(demo::Args),
    /// Measure a cluster
    Bench(bench::Args),
    /// Create, delete, list, block and govern accounts
    Account(account::Args),
    /// Log in
    Login(login::Args),
    /// Log out: end this session and no other
    Logout(logout::Args),
    /// Show the account that is logged in
    Whoami(whoami::Args),
    /// List your sessions, or end one
    Sessions(sessions::Args),
    /// Change your password and end all other sessions
    Passwd(passwd::Args),
    /// Send messages
    Send(send::Args),
    /// Read messages
    Read(read::Args),
    /// List your conversations
    Conversations(conversations::Args),
    /// Edit one of your messages
    Edit(edit::Args),
    /// Delete messages
    Delete(delete::Args),
    /// Add a reaction to a message, or remove it
    React(react::Args),
    /// Find messages
    Search(search::Args),
    /// Create, join, leave and govern rooms
    Room(room::Args),
    /// Let programs post to a room over HTTP
    Webhook(webhook::Args),
    /// Show whether users are online
    Presence(presence::Args),
    /// Create, list and revoke invites for new accounts; for administrators
    Invite(invite::Args),
    /// Create an account for a program; for administrators
    Bot(bot::Args),
    /// Create, list and revoke tokens with which machines join; for operators
    Token(token::Args),
    /// Add, list and remove operators of the cluster; for operators
    Operator(operator::Args),
    /// List, export and forget the certificates by which clusters are known here
    Trust(trust::Args),
    /// Show the cluster, and change its members
    Cluster(cluster::Args),
    /// Examine the cluster and this machine, and say what to do
    Doctor(doctor::Args),
    /// Show what administrators and operators have done; for both
    Audit(audit::Args),
    /// Drain a node before work on its machine, wait until it is back, or change what it logs; for
    /// operators
    Node(node::Args),
    /// Make a backup of everything that the cluster keeps, or verify one; for operators
    Backup(backup::Args),
    /// Make a new cluster of a backup, in a new directory
    Restore(restore::Args),
    /// Write everything that people wrote as JSON lines, out of a backup
    Export(export::Args),
    /// Make a new cluster of an export: of Conclave, of Slack or of Mattermost
    Import(import::Args),
    /// Write shell completions to stdout
    Completions(completions::Args),
    /// Write the pages of the manual into a directory, for packages
    Manual(manual::Args),
}

impl Cli {
    /// Returns the number of threads that run the subcommand's tasks; `None` leaves it to the
    /// runtime.
    pub(crate) fn worker_threads(&self) -> Option<usize> {
        matches!(self.command, Command::Serve(_)).then(serve::worker_threads)
    }

    /// Runs the chosen subcommand.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            // These four handle signals themselves: they have something to stop.
            Command::Serve(args) => Box::pin(serve::run(args)).await,
            Command::Up(args) => Box::pin(up::run(args)).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Bench(args) => Box::pin(bench::run(args)).await,
            Command::Account(args) => until_interrupted(account::run(args)).await,
            Command::Login(args) => until_interrupted(login::run(args)).await,
            Command::Logout(args) => until_interrupted(logout::run(args)).await,
            Command::Whoami(args) => until_interrupted(whoami::run(args)).await,
            Command::Send(args) => until_interrupted(send::run(args)).await,
            Command::Read(args) => until_interrupted(read::run(args)).await,
            Command::Conversations(args) => until_interrupted(conversations::run(args)).await,
            Command::Delete(args) => until_interrupted(delete::run(args)).await,
            Command::Sessions(args) => until_interrupted(sessions::run(args)).await,
            Command::Passwd(args) => until_interrupted(passwd::run(args)).await,
            Command::Edit(args) => until_interrupted(edit::run(args)).await,
            Command::React(args) => until_interrupted(react::run(args)).await,
            Command::Search(args) => until_interrupted(search::run(args)).await,
            Command::Room(args) => until_interrupted(room::run(args)).await,
            Command::Webhook(args) => until_interrupted(webhook::run(args)).await,
            Command::Presence(args) => until_interrupted(presence::run(args)).await,
            Command::Invite(args) => until_interrupted(invite::run(args)).await,
            Command::Bot(args) => until_interrupted(bot::run(args)).await,
            Command::Token(args) => until_interrupted(token::run(args)).await,
            Command::Operator(args) => until_interrupted(operator::run(args)).await,
            Command::Trust(args) => trust::run(args),
            Command::Cluster(args) => until_interrupted(cluster::run(args)).await,
            Command::Doctor(args) => until_interrupted(doctor::run(args)).await,
            Command::Audit(args) => until_interrupted(audit::run(args)).await,
            Command::Node(args) => until_interrupted(node::run(args)).await,
            Command::Backup(args) => until_interrupted(backup::run(args)).await,
            Command::Restore(args) => until_interrupted(restore::run(args)).await,
            Command::Export(args) => until_interrupted(export::run(args)).await,
            Command::Import(args) => until_interrupted(import::run(args)).await,
            Command::Completions(args) => completions::run(args, Self::command()),
            Command::Manual(args) => manual::run(&args, Self::command()),
        }
    }
}

async fn until_interrupted(
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut command = Box::pin(command);
    tokio::select! {
        ended = &mut command => ended,
        signal = tokio::signal::ctrl_c() => match signal {
            Ok(()) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
            // If no handler could be installed, the system ends the process at the signal.
            Err(_) => command.await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use clap::{Command as Defined, CommandFactory as _};

    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Cli::command().debug_assert();
    }

    /// Returns the Rust files below a directory.
    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }

    /// Returns what is wrong with the command line at the start of a text that goes on after
    /// `conclave `: a subcommand or a flag that does not exist.
    fn mistake(text: &str, program: &Defined) -> Option<String> {
        let end = text.find(['`', '"', '\'', '\n', ',', ';', ':', '(', ')', '.', '{', '|']);
        let mut command = program;
        let mut words = text[..end.unwrap_or(text.len())].split_whitespace();
        let mut word = words.next()?;
        while let Some(found) = command.find_subcommand(word) {
            command = found;
            match words.next() {
                Some(next) => word = next,
                None => return None,
            }
        }
        let is_name = |word: &str| {
            word.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        let takes_words = command.get_positionals().next().is_some();
        if command.has_subcommands() && !takes_words && is_name(word) && !word.starts_with('-') {
            return Some(format!("{} {word}", command.get_name()));
        }
        let mut flags = std::iter::once(word).chain(words);
        let is_unknown = |flag: &&str| {
            let name = flag.strip_prefix("--").filter(|name| !name.is_empty());
            let known = |name| {
                command
                    .get_arguments()
                    .any(|arg| arg.get_long() == Some(name))
            };
            name.is_some_and(|name| name != "help" && !known(name))
        };
        let flag = flags.find(is_unknown)?;
        Some(format!("{} {flag}", command.get_name()))
    }

    #[test]
    fn every_command_in_a_hint_exists() {
        let program = Cli::command();
        for (text, wrong) in [
            ("cluster status` says it", None),
            ("cluster move\"", Some("cluster move")),
            ("backup FILE --force", None),
            ("token create --replace 2", Some("create --replace")),
            ("frobnicate", Some("conclave frobnicate")),
        ] {
            assert_eq!(mistake(text, &program).as_deref(), wrong, "{text}");
        }
        let mut files = Vec::new();
        for of in ["conclave", "server"] {
            let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            sources(&crates.join(of).join("src"), &mut files);
        }
        let (mut seen, mut wrong) = (0, Vec::new());
        for file in files.iter().filter(|file| !file.ends_with("src/cli.rs")) {
            let text = fs::read_to_string(file).unwrap();
            // One line of text may stand on several lines of the source.
            let mut whole = String::new();
            for line in text.lines().map(str::trim_start) {
                let is_comment = line.starts_with("//");
                let line = match is_comment {
                    true => line.trim_start_matches(['/', '!']).trim_start(),
                    false => line,
                };
                match line.strip_suffix('\\') {
                    Some(goes_on) => whole.push_str(goes_on),
                    None if is_comment => whole.extend([line, " "]),
                    None => whole.extend([line, "\n"]),
                }
            }
            for (at, _) in whole.match_indices("conclave ") {
                let is_word =
                    whole[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.".contains(c));
                if is_word {
                    continue;
                }
                seen += 1;
                let found = mistake(&whole[at + "conclave ".len()..], &program);
                wrong.extend(found.map(|found| format!("{}: {found}", file.display())));
            }
        }
        assert!(seen > 100, "{seen}");
        assert_eq!(wrong, [""; 0]);
    }

    #[test]
    fn command_lines_of_the_manual_are_understood() {
        let lines = [
            "conclave account create alice --password-stdin",
            "conclave account delete --yes",
            "conclave account list al* -o json",
            "conclave login alice --endpoints a:1,b:2 --timeout 3",
            "conclave logout",
            "conclave whoami",
            "conclave send bob hello",
            "conclave send bob -",
            "conclave send bob -- -1",
            "conclave read",
            "conclave read --unread 5 --stale -o json",
            "conclave read --with bob --limit 3 --follow",
            "conclave read --with bob --unread 5 --peek",
            "conclave read --with #ops --before 3.17",
            "conclave read --limit 3",
            "conclave conversations",
            "conclave delete 3.17 3.18 --everyone",
            "conclave send #ops hello",
            "conclave send #ops - --at-once",
            "conclave send bob yes --reply-to 3.17",
            "conclave read --with #ops --follow -o json",
            "conclave read --follow -o json --since 12345",
            "conclave edit 3.17 better",
            "conclave react 3.17 👍",
            "conclave react 3.17 👍 --remove",
            "conclave search deploy from:bob in:#ops",
            "conclave search -o json --limit 5 -- deploy -tonight -from:bob",
            "conclave room create ops --private --topic on-call",
            "conclave room list op* --own",
            "conclave room kick #ops bob",
            "conclave room role ops bob moderator",
            "conclave webhook create ops ci",
            "conclave presence bob carol",
            "conclave sessions --end 7",
            "conclave passwd",
            "conclave invite create --days 3 --uses 10",
            "conclave bot create ci",
            "conclave account create dora --invite abc",
            "conclave account role bob admin",
            "conclave account block eve",
            "conclave cluster status -o json",
            "conclave doctor --format nagios --data /var/lib/conclave",
            "conclave cluster replace 3 6 --dry-run",
            "conclave cluster recover --data d --dry-run -o json",
            "conclave cluster preferred-leader 2",
            "conclave cluster preferred-leader none",
            "conclave cluster restart-plan -o json",
            "conclave audit",
            "conclave audit --since 2d --actor alice --act suspend_account --limit 5 -o json",
            "conclave audit --since 2026-11-01 --until 2026-11-27T18:00 --stale",
            "conclave node drain 3 --force",
            "conclave node undrain",
            "conclave node wait 3 --within 60",
            "conclave token create --ttl 36h --role learner",
            "conclave node log-level",
            "conclave node log-level info,conclave_server=debug --node 3 -o json",
            "conclave backup state.backup --rate 8M --force --stale",
            "conclave backup - --endpoints a:1",
            "conclave backup verify state.backup -o json --scratch /var/tmp",
            "conclave backup verify - --zone UTC",
            "conclave restore state.backup --data d -o json",
            "conclave export state.backup directory -o json --scratch /var/tmp",
            "conclave export - directory",
            "conclave import export.zip --data d --admin alice --from slack -o json",
            "conclave import export.jsonl --data d --admin alice --report r --password-stdin",
            "conclave trust export chat.example:7400",
            "conclave whoami --ca-file roots.pem",
            "conclave serve --tls-certificate chain.pem --tls-key key.pem",
            "conclave completions bash",
            "conclave manual man1",
        ];
        for line in lines {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        let wrong = [
            "conclave read --unread 5 --limit 3",
            "conclave read --before 3.17",
            "conclave read --with bob --before 3.17 --follow",
            "conclave read --with bob --before 17",
            "conclave read --unread 0",
            "conclave read --follow --stale",
            "conclave read --since 5",
            "conclave room create",
            "conclave room role ops bob king",
            "conclave search",
            "conclave delete",
            "conclave delete 3",
            "conclave send bob hello --again 7",
            "conclave whoami --timeout 0",
            "conclave token create --ttl soon",
            "conclave backup",
            "conclave backup state.backup --rate 10",
            "conclave backup state.backup verify",
            "conclave backup --force verify state.backup",
            "conclave restore state.backup --data",
            "conclave export state.backup",
            "conclave import export.zip --data d",
            "conclave import export.zip --admin alice --data d --from teams",
            "conclave token create --ttl 8d",
            "conclave cluster preferred-leader 0",
            "conclave audit --since soon",
            "conclave audit --limit 0",
            "conclave node drain 0",
            "conclave node wait",
            "conclave serve --token x --members 1=a:1/a:2",
            "conclave whoami --fingerprint SHA256:x",
            "conclave whoami --ca-file roots.pem --fingerprint \
             SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        for line in wrong {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
