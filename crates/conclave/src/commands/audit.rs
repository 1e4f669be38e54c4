//! `conclave audit`: what administrators and operators have done, the newest first.

use std::{process::ExitCode, time::Duration};

use conclave_client::v1;
use conclave_core::AuditAct;
use jiff::{Span, SpanRelativeTo, Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    connection::{Connection, freshness},
    errors::note,
    output::{self, Format},
};

/// Entries that one call asks for at most.
const PAGE: u32 = 1000;
/// How a moment is written, for errors.
const FORMS: &str = "write an age, such as 2d or 36h, or a date, such as 2026-11-27 or \
    2026-11-27T18:00";

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only acts since then: 2d, 36h, or 2026-11-27
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Moment>,
    /// Only acts before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Moment>,
    /// Only acts of the account or operator with this name
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    actor: String,
    /// Only acts with this word, such as suspend_account
    #[arg(
        long,
        value_name = "WORD",
        default_value = "",
        hide_default_value = true
    )]
    act: String,
    /// Maximum number of results
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=110_000))]
    limit: u32,
    /// Accept the data of any node, also without a quorum
    #[arg(long)]
    stale: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// A moment as the user has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So many milliseconds before now.
    Ago(u64),
    /// This date in the zone in which times are shown.
    At(DateTime),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse::<DateTime>() {
        return Ok(Moment::At(at));
    }
    let wrong = || FORMS.to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let age = exact.ok().and_then(|exact| Duration::try_from(exact).ok());
    let age = age.ok_or_else(wrong)?;
    u64::try_from(age.as_millis())
        .map(Moment::Ago)
        .map_err(|_| wrong())
}

impl Moment {
    /// Returns it in milliseconds since 1970.
    fn in_ms(self, now_ms: u64, zone: &TimeZone) -> u64 {
        match self {
            Self::Ago(ms) => now_ms.saturating_sub(ms),
            Self::At(at) => {
                let ambiguous = zone.to_ambiguous_timestamp(at).compatible();
                let at = ambiguous.map_or(0, |at| at.as_millisecond());
                u64::try_from(at).unwrap_or(0)
            }
        }
    }
}

/// Shows what administrators and operators have done.
///
/// # Errors
/// If the caller is neither an administrator nor an operator, or there is no quorum.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let zone = args.connection.zone();
    let is_known = |word: &str| AuditAct::ALL.iter().any(|act| act.word() == word);
    if !args.act.is_empty() && !is_known(&args.act) {
        let words: Vec<&str> = AuditAct::ALL.iter().map(|act| act.word()).collect();
        note(&format!(
            "warning: this version knows no act {}; it knows {}",
            args.act,
            words.join(", ")
        ));
    }
    let freshness = freshness(args.stale);
    let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let in_ms = |moment: Moment| moment.in_ms(now_ms, &zone);
    let mut request = v1::ListAuditEntriesRequest {
        actor: args.actor,
        act: args.act,
        since_ms: args.since.map_or(0, in_ms),
        until_ms: args.until.map_or(0, in_ms),
        ..v1::ListAuditEntriesRequest::default()
    };
    let client = args.connection.connect_as_operator_if_any().await?.client;
    let mut rows = Vec::new();
    let mut left = args.limit;
    while left > 0 {
        request.page_size = left.min(PAGE);
        let page = client.audit_entries(request.clone(), freshness).await?;
        left -= u32::try_from(page.entries.len()).unwrap_or(left).min(left);
        for entry in page.entries {
            match args.output {
                Format::Json => output::json_line(&shown(&entry))?,
                Format::Table => rows.push(cells(&entry, &zone)),
            }
        }
        request.before_sequence = page.next_before_sequence;
        if request.before_sequence == 0 {
            break;
        }
    }
    if args.output == Format::Table {
        let header = ["no", "when", "who", "act", "target", "result", "detail"];
        output::table(&header, &rows)?;
    }
    if left == 0 && request.before_sequence != 0 {
        note(&format!(
            "only the newest {} are shown: --limit for more",
            args.limit
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the caller of an act in words.
fn actor(actor: &v1::AuditActor) -> String {
    use v1::AuditActorKind as Kind;
    match actor.kind() {
        Kind::Account => output::clean(&actor.name),
        Kind::Operator => format!("operator {}", output::clean(&actor.name)),
        Kind::Node => format!("node {}", actor.id),
        Kind::Cluster => "the cluster".to_owned(),
        Kind::Unspecified => "unknown".to_owned(),
    }
}

fn cells(entry: &v1::AuditEntry, zone: &TimeZone) -> Vec<String> {
    let result = match entry.refusal.as_str() {
        "" => "done",
        refusal => refusal,
    };
    vec![
        entry.sequence.to_string(),
        output::local_time(entry.at_ms, zone),
        actor(&entry.actor.clone().unwrap_or_default()),
        entry.act.clone(),
        entry.target.clone(),
        result.to_owned(),
        entry.detail.clone(),
    ]
}

fn shown(entry: &v1::AuditEntry) -> Value {
    use v1::AuditActorKind as Kind;
    let actor = entry.actor.clone().unwrap_or_default();
    let kind = match actor.kind() {
        Kind::Account => "account",
        Kind::Operator => "operator",
        Kind::Node => "node",
        Kind::Cluster => "cluster",
        Kind::Unspecified => "unknown",
    };
    let refusal = match entry.refusal.as_str() {
        "" => Value::Null,
        refusal => json!(refusal),
    };
    json!({
        "sequence": entry.sequence,
        "log_index": entry.log_index,
        "at_ms": entry.at_ms,
        "log_time_ms": entry.log_time_ms,
        "actor": { "kind": kind, "name": actor.name, "id": actor.id },
        "act": entry.act,
        "target": entry.target,
        "detail": entry.detail,
        "refusal": refusal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_age_or_a_date() {
        let zone = TimeZone::UTC;
        let now = 1_795_824_000_000; // 2026-11-28T00:00Z
        let ms = |text: &str| moment(text).unwrap().in_ms(now, &zone);
        assert_eq!(ms("2d"), now - 2 * 24 * 3_600_000);
        assert_eq!(ms("36h"), now - 36 * 3_600_000);
        assert_eq!(ms("2026-11-28"), now);
        assert_eq!(ms("2026-11-27T18:00"), now - 6 * 3_600_000);
        assert_eq!(ms("99999d"), 0, "before 1970");
        for wrong in ["", "soon", "2", "-2d", "2026-13-01", "1mo"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn callers_and_refusals_are_in_words() {
        let by = |kind: v1::AuditActorKind, name: &str, id| v1::AuditActor {
            kind: kind.into(),
            name: name.to_owned(),
            id,
        };
        use v1::AuditActorKind as Kind;
        assert_eq!(actor(&by(Kind::Account, "alice", 7)), "alice");
        assert_eq!(actor(&by(Kind::Operator, "eva", 0)), "operator eva");
        assert_eq!(actor(&by(Kind::Node, "", 3)), "node 3");
        assert_eq!(actor(&by(Kind::Cluster, "", 0)), "the cluster");
        assert_eq!(actor(&by(Kind::Unspecified, "", 0)), "unknown");
        let entry = v1::AuditEntry {
            sequence: 5,
            actor: Some(by(Kind::Account, "bob", 8)),
            act: "suspend_account".to_owned(),
            target: "alice".to_owned(),
            refusal: "NOT_ALLOWED".to_owned(),
            ..v1::AuditEntry::default()
        };
        let row = cells(&entry, &TimeZone::UTC);
        let expected = [
            "5",
            "1970-01-01 00:00:00Z",
            "bob",
            "suspend_account",
            "alice",
            "NOT_ALLOWED",
            "",
        ];
        assert_eq!(row, expected);
        assert_eq!(shown(&entry)["refusal"], "NOT_ALLOWED");
        let done = v1::AuditEntry::default();
        assert_eq!(cells(&done, &TimeZone::UTC)[5], "done");
        assert_eq!(shown(&done)["refusal"], Value::Null);
    }
}
