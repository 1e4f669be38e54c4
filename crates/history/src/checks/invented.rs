//! Nothing is invented: what is seen was asked for, before, there, and was not refused.
//!
//! A deletion is seen as a place without text; a client must have asked for it. If the text was
//! acknowledged, its disappearance is a loss and is reported as one.

use crate::{
    Findings,
    index::{Index, Outcome},
};

pub(crate) fn invented(index: &Index<'_>, invented: &mut Findings) {
    for sightings in index
        .sightings
        .chunk_by(|one, other| one.message == other.message)
    {
        // The first that was read: if even that is later than the invocation, all are.
        let Some(first) = sightings
            .iter()
            .min_by_key(|one| index.readings[one.reading].at_us)
        else {
            continue;
        };
        let reading = &index.readings[first.reading];
        let why = match index.send(first.message) {
            None => "which was never sent",
            Some(send) if send.outcome == Outcome::Fail => "which was refused",
            Some(send) if reading.at_us < send.invoked_us => "which was sent only later",
            Some(send)
                if sightings
                    .iter()
                    .all(|one| one.conversation != send.conversation) =>
            {
                "which was sent to another conversation"
            }
            Some(_) => continue,
        };
        invented.add(first.conversation, || {
            let (node, message) = (reading.node, first.message);
            format!("node {node} shows {message:?}, {why}")
        });
    }
    deletions(index, invented);
}

fn deletions(index: &Index<'_>, invented: &mut Findings) {
    let mut promised: Vec<(&str, u64)> = index
        .sends
        .iter()
        .filter_map(|send| send.acked().map(|(seq, _)| (send.conversation, seq)))
        .collect();
    promised.sort_unstable();
    for reading in &index.readings {
        for observed in reading.messages.iter().filter(|observed| observed.deleted) {
            let (conversation, seq) = (reading.conversation, observed.seq);
            let asked_for = index.deletion_possible(conversation, seq, reading.at_us);
            let counts_as_lost =
                reading.complete && promised.binary_search(&(conversation, seq)).is_ok();
            if !asked_for && !counts_as_lost {
                invented.add(conversation, || {
                    format!(
                        "node {} shows place {seq} deleted without a request",
                        reading.node
                    )
                });
            }
        }
    }
}
