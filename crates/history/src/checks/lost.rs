//! Nothing acknowledged is lost: it is on every node that was read completely afterwards.
//!
//! A message whose place shows a deletion that a client asked for is not lost. A deletion that was
//! acknowledged must show. What was acknowledged while or after a reading was asked for may be
//! missing from it; if no later complete reading exists, the conversation is *unread*, which is
//! reported apart: nothing is proven about it.

use crate::{
    Findings, Observed,
    index::{Index, Outcome, Reading, Send},
};

pub(crate) fn lost(index: &Index<'_>, lost: &mut Findings, unread: &mut Findings) {
    let mut acked: Vec<&Send<'_>> = index
        .sends
        .iter()
        .filter(|send| send.acked().is_some())
        .collect();
    acked.sort_by_key(|send| send.conversation);
    for sends in acked.chunk_by(|one, other| one.conversation == other.conversation) {
        let conversation = sends[0].conversation;
        let readings: Vec<&Reading<'_>> = index
            .readings_of(conversation)
            .iter()
            .filter(|reading| reading.complete)
            .collect();
        for reading in &readings {
            missing(index, reading, sends, lost);
        }
        let asked_last_us = readings.iter().map(|reading| reading.asked_us).max();
        let unproven = sends
            .iter()
            .filter(|send| {
                send.acked()
                    .is_some_and(|(_, at_us)| asked_last_us.is_none_or(|us| us <= at_us))
            })
            .count();
        if unproven > 0 {
            unread.add(conversation, || {
                format!("{unproven} acknowledged messages without a complete reading afterwards")
            });
        }
    }
    undone(index, lost);
}

/// Reports the sends that one reading ought to have and has not.
fn missing(index: &Index<'_>, reading: &Reading<'_>, sends: &[&Send<'_>], lost: &mut Findings) {
    let mut seen: Vec<&str> = Vec::with_capacity(reading.messages.len());
    let mut deleted: Vec<u64> = Vec::new();
    for observed in reading.messages {
        if observed.deleted {
            deleted.push(observed.seq);
        } else {
            seen.push(&observed.message);
        }
    }
    seen.sort_unstable();
    deleted.sort_unstable();
    for send in sends {
        let Some((seq, at_us)) = send.acked() else {
            continue;
        };
        if at_us >= reading.asked_us || seen.binary_search(&send.message).is_ok() {
            continue;
        }
        let gone = deleted.binary_search(&seq).is_ok();
        if gone && index.deletion_possible(send.conversation, seq, reading.at_us) {
            continue;
        }
        lost.add(send.conversation, || {
            let (message, node) = (send.message, reading.node);
            let how = if gone {
                "deleted without a request"
            } else {
                "missing"
            };
            format!("{message:?}, acknowledged at place {seq}, is {how} on node {node}")
        });
    }
}

/// Reports the acknowledged deletions of which a later reading knows nothing.
fn undone(index: &Index<'_>, lost: &mut Findings) {
    for deletion in &index.deletions {
        let Outcome::Ok { at_us, .. } = deletion.outcome else {
            continue;
        };
        for reading in index.readings_of(deletion.conversation) {
            let place = at(reading, deletion.seq);
            if reading.complete
                && at_us < reading.asked_us
                && place.is_some_and(|observed| !observed.deleted)
            {
                lost.add(deletion.conversation, || {
                    let (seq, node) = (deletion.seq, reading.node);
                    format!("the acknowledged deletion of place {seq} is unknown to node {node}")
                });
            }
        }
    }
}

/// Returns what a reading shows at a place. Only a reading with holes must be searched.
fn at<'a>(reading: &Reading<'a>, seq: u64) -> Option<&'a Observed> {
    let expected = usize::try_from(seq.checked_sub(1)?).ok()?;
    let there = reading
        .messages
        .get(expected)
        .filter(|observed| observed.seq == seq);
    there.or_else(|| reading.messages.iter().find(|observed| observed.seq == seq))
}
