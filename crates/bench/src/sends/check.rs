//! Checks that what was acknowledged is there once and in order, on every node.
//!
//! Every node is read, the conversations of the record alone, and [`conclave_history`] judges.
//! Places are counted from the beginning of the record, so that what was stored before is left out.
//! Where the record ends early, those messages are judged that a reader sees before the first one
//! that is not in the record.

use std::{collections::BTreeMap, time::Duration};

use conclave_client::{CallError, Client, Freshness, Page, Reason, core::Sequence};
use conclave_history::{Action, Event, History, Observed, Verdict, What, judge};
use futures::{StreamExt as _, stream};
use serde::Serialize;

use super::{
    mode::Outcome,
    options::{Happening, Step},
    population::Population,
    record::{Record, Sent},
    sizes::{Sizes, number_of},
};
use crate::error::BenchError;

/// Number of messages on one page.
const PAGE: usize = 1000;
/// Conversations that are read at once.
const READS_AT_ONCE: usize = 4;
/// Longest time for one page: a node may have to catch up first.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// Maximum length of an unknown text in a finding.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// Result of the check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Checked {
    /// Number of conversations that were read from every node.
    pub(super) conversations: u64,
    /// Number of all conversations.
    pub(super) of_conversations: u64,
    /// Acknowledged messages that were judged.
    pub(super) acked: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) invented: u64,
    pub(super) disagreements: u64,
    /// Whether the history holds.
    pub(super) holds: bool,
    /// The first finding, in words.
    pub(super) first: Option<String>,
}

/// What one node has of one conversation, after the place at which the record begins.
struct Reading {
    node: u64,
    conversation: usize,
    asked_us: u64,
    answered_us: u64,
    messages: Vec<Observed>,
}

/// Returns the last place of every conversation in the record, before the record begins.
pub(super) async fn begin(
    population: &Population,
    record: &Record,
) -> Result<BTreeMap<usize, u64>, BenchError> {
    let mut begins = BTreeMap::new();
    for conversation in record.conversations() {
        let to = &population.conversations[conversation].to;
        let client = population.reading_client(conversation);
        let newest = client.messages(to, Page::Newest, 1, Freshness::Linearizable);
        let last = match newest.await {
            Ok(page) => page.messages.last().map_or(0, |message| message.sequence),
            // A conversation between two accounts begins with its first message.
            Err(CallError::Refused {
                reason: Reason::NoSuchConversation,
                ..
            }) => 0,
            Err(error) => return Err(error.into()),
        };
        begins.insert(conversation, last);
    }
    Ok(begins)
}

/// Where the nodes are, and what they hold.
pub(super) struct Nodes<'a> {
    pub(super) anonymous: &'a Client,
    pub(super) endpoints: &'a [String],
    /// Position up to which a node must have applied the log before it answers.
    pub(super) position: u64,
}

/// Reads every node and judges what it has.
pub(super) async fn check(
    nodes: &Nodes<'_>,
    population: &Population,
    record: &Record,
    (sizes, begins): (&Sizes, &BTreeMap<usize, u64>),
    tell: &dyn Fn(Happening),
) -> Result<Checked, BenchError> {
    let sent = record.take();
    let total = (sent.len() * nodes.endpoints.len()) as u64;
    let numbered = (1..).zip(nodes.endpoints);
    let pairs = numbered.flat_map(|node| sent.iter().map(move |sent| (node, sent)));
    let reading = pairs.map(async |((node, endpoint), (conversation, sent))| {
        let begin = begins.get(conversation).copied().unwrap_or(0);
        let asked_us = record.now_us();
        let of = (population, *conversation, begin);
        let messages = read(nodes, endpoint, of, (sizes, sent)).await?;
        Ok::<_, BenchError>(Reading {
            node,
            conversation: *conversation,
            asked_us,
            answered_us: record.now_us(),
            messages,
        })
    });
    let mut reading = stream::iter(reading).buffered(READS_AT_ONCE);
    let mut readings = Vec::new();
    while let Some(read) = reading.next().await {
        readings.push(read?);
        let (step, done) = (Step::Reads, readings.len() as u64);
        tell(Happening::Step { step, done, total });
    }
    drop(reading);
    let conversations = sent.len() as u64;
    let verdict = judge(&history(&sent, begins, readings));
    let of_conversations = population.conversations.len() as u64;
    Ok(Checked {
        conversations,
        of_conversations,
        ..checked(&verdict)
    })
}

fn checked(verdict: &Verdict) -> Checked {
    let properties = verdict.properties();
    let first = properties
        .iter()
        .find_map(|(name, findings)| Some(format!("{name}: {}", findings.first.first()?)));
    Checked {
        acked: verdict.acked,
        lost: verdict.lost.count,
        duplicated: verdict.duplicated.count,
        reordered: verdict.reordered.count,
        invented: verdict.invented.count,
        disagreements: verdict.disagreements.count,
        holds: verdict.holds(),
        first,
        ..Checked::default()
    }
}

/// Reads what one node has of a conversation, up to the first message that is not in the record.
async fn read(
    nodes: &Nodes<'_>,
    endpoint: &str,
    (population, conversation, begin): (&Population, usize, u64),
    (sizes, sent): (&Sizes, &Sent),
) -> Result<Vec<Observed>, BenchError> {
    let mut messages: Vec<Observed> = Vec::new();
    let mut after = begin;
    let to = &population.conversations[conversation].to;
    let freshness = Freshness::Stale {
        min_position: nodes.position,
    };
    // What is doubled is found with the first of it: no need to read without an end.
    let most = 2 * sent.entries.len() + PAGE;
    while messages.len() <= most {
        // A new client for each page: a client that has learned the leader would ask it and not
        // this node.
        let client = Client::builder()
            .trusting_like(nodes.anonymous)
            .endpoints([endpoint])
            .token(population.reader(conversation))
            .attempt_timeout(READ_LIMIT)
            .total_timeout(READ_LIMIT)
            .build()?;
        let from = Page::After(Sequence(after));
        let page = match client.messages(to, from, PAGE, freshness).await {
            Ok(page) => page.messages,
            Err(CallError::Refused {
                reason: Reason::NoSuchConversation,
                ..
            }) => break,
            Err(error) => return Err(error.into()),
        };
        let Some(last) = page.last() else { break };
        after = last.sequence;
        for message in page {
            if is_beyond(sent, number_of(&message.text)) {
                return Ok(messages);
            }
            messages.push(Observed {
                seq: message.sequence.saturating_sub(begin),
                message: word(sizes, &message.text),
                deleted: message.deleted,
            });
        }
    }
    Ok(messages)
}

/// Returns whether a message was sent when the record was full.
fn is_beyond(sent: &Sent, number: Option<u64>) -> bool {
    let Some((number, cut_at)) = number.zip(sent.cut_at) else {
        return false;
    };
    number >= cut_at && sent.entries.iter().all(|entry| entry.number != number)
}

/// Returns the word by which the history knows a message; a text that was not sent so has a word
/// that is in no record.
fn word(sizes: &Sizes, text: &str) -> String {
    match number_of(text) {
        Some(number) if sizes.text(number) == text => number.to_string(),
        _ => text.chars().take(SHOWN_CHARACTERS_MAX).collect(),
    }
}

/// Makes the history of what was sent and read.
fn history(
    sent: &BTreeMap<usize, Sent>,
    begins: &BTreeMap<usize, u64>,
    readings: Vec<Reading>,
) -> History {
    let mut events: Vec<Event> = Vec::new();
    let mut op = 0;
    for (conversation, sent) in sent {
        let begin = begins.get(conversation).copied().unwrap_or(0);
        let of_it = readings
            .iter()
            .filter(|one| one.conversation == *conversation);
        let read_to = of_it
            .filter_map(|one| one.messages.last())
            .map(|last| last.seq)
            .max();
        let read_to = match sent.cut_at {
            None => u64::MAX,
            Some(_) => read_to.unwrap_or(0),
        };
        for entry in &sent.entries {
            let seq = match &entry.outcome {
                Some(Outcome::Acked { sequence, .. }) => Some(sequence.saturating_sub(begin)),
                Some(Outcome::Failed { .. }) | None => None,
            };
            // Behind the first message that is not in the record.
            if seq.is_some_and(|seq| seq > read_to) {
                continue;
            }
            op += 1;
            let client = op;
            let action = Action::Send {
                conversation: conversation.to_string(),
                message: entry.number.to_string(),
            };
            let invoke = What::Invoke { client, op, action };
            events.push(event(entry.began_us, invoke));
            let outcome = match &entry.outcome {
                Some(Outcome::Acked { .. }) => What::Ok { client, op, seq },
                Some(Outcome::Failed { certain: true, .. }) => What::Fail { client, op },
                Some(Outcome::Failed { certain: false, .. }) | None => What::Unknown { client, op },
            };
            events.push(event(entry.ended_us, outcome));
        }
    }
    events.extend(readings.into_iter().map(|reading| {
        let observe = What::Observe {
            node: reading.node,
            client: None,
            conversation: reading.conversation.to_string(),
            asked_us: reading.asked_us,
            from_seq: 1,
            messages: reading.messages,
            complete: true,
        };
        event(reading.answered_us, observe)
    }));
    // Stable: an invocation stays before an outcome of the same microsecond.
    events.sort_by_key(|event| event.at_us);
    History::from(events)
}

fn event(at_us: u64, what: What) -> Event {
    Event { at_us, what }
}

#[cfg(test)]
mod tests {
    use super::{super::record::Entry, *};

    const CONVERSATION: usize = 3;

    fn entry(number: u64, sequence: u64) -> Entry {
        Entry {
            number,
            began_us: number * 10,
            ended_us: number * 10 + 5,
            outcome: Some(Outcome::Acked {
                sequence,
                position: sequence,
            }),
        }
    }

    fn reading(node: u64, messages: &[(u64, u64)]) -> Reading {
        let observed = |(seq, number): &(u64, u64)| Observed {
            seq: *seq,
            message: number.to_string(),
            deleted: false,
        };
        Reading {
            node,
            conversation: CONVERSATION,
            asked_us: 1000,
            answered_us: 1001,
            messages: messages.iter().map(observed).collect(),
        }
    }

    /// Judges a conversation whose record begins after place 7.
    fn judged(entries: Vec<Entry>, cut_at: Option<u64>, readings: Vec<Reading>) -> Checked {
        let sent = BTreeMap::from([(CONVERSATION, Sent { entries, cut_at })]);
        let begins = BTreeMap::from([(CONVERSATION, 7)]);
        checked(&judge(&history(&sent, &begins, readings)))
    }

    #[test]
    fn what_was_acknowledged_must_be_on_every_node() {
        let sent = || vec![entry(1, 8), entry(2, 9)];
        let whole = || reading(1, &[(1, 1), (2, 2)]);
        let good = judged(sent(), None, vec![whole(), reading(2, &[(1, 1), (2, 2)])]);
        assert!(good.holds && good.acked == 2, "{good:?}");
        let short = judged(sent(), None, vec![whole(), reading(2, &[(1, 1)])]);
        assert_eq!((short.holds, short.lost), (false, 1), "{short:?}");
        let doubled = reading(2, &[(1, 1), (2, 2), (3, 2)]);
        let doubled = judged(sent(), None, vec![whole(), doubled]);
        assert!(!doubled.holds && doubled.duplicated > 0, "{doubled:?}");
        let swapped = reading(2, &[(1, 2), (2, 1)]);
        let swapped = judged(sent(), None, vec![swapped]);
        assert!(!swapped.holds && swapped.reordered > 0, "{swapped:?}");
        let unasked = reading(2, &[(1, 1), (2, 2), (3, 99)]);
        let unasked = judged(sent(), None, vec![whole(), unasked]);
        assert!(!unasked.holds && unasked.invented == 1, "{unasked:?}");
    }

    #[test]
    fn behind_the_end_of_the_record_nothing_is_judged() {
        // Message 3 had no place in the record, and stands before message 2.
        let sent = vec![entry(1, 8), entry(2, 10)];
        let both = || vec![reading(1, &[(1, 1)]), reading(2, &[(1, 1)])];
        let good = judged(sent.clone(), Some(3), both());
        assert!(good.holds && good.acked == 1, "{good:?}");
        let lost = vec![reading(1, &[(1, 1)]), reading(2, &[])];
        let lost = judged(sent, Some(3), lost);
        assert_eq!((lost.holds, lost.lost), (false, 1), "{lost:?}");
    }

    #[test]
    fn a_message_is_beyond_the_record_if_it_came_later() {
        let sent = Sent {
            entries: vec![entry(1, 8), entry(5, 9)],
            cut_at: Some(4),
        };
        assert!(is_beyond(&sent, Some(4)) && is_beyond(&sent, Some(6)));
        assert!(!is_beyond(&sent, Some(5)), "it is in the record");
        assert!(!is_beyond(&sent, Some(2)), "it was never sent");
        assert!(!is_beyond(&sent, None));
    }

    #[test]
    fn a_damaged_text_is_not_the_message_that_was_sent() {
        let sizes: Sizes = "20".parse().unwrap();
        let text = sizes.text(77);
        assert_eq!(word(&sizes, &text), "77");
        let damaged = format!("{}y", &text[..19]);
        assert_eq!(word(&sizes, &damaged), damaged);
    }
}
