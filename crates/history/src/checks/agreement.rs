//! All nodes report the same: one message per place, one digest per position, nothing taken back.
//!
//! A node may lag behind, so that a shorter reading agrees with a longer one, unless it was
//! complete and asked for after the longer one had been given. A deleted place agrees with its
//! text: whether the deletion was asked for is for other checks.

use crate::{
    Findings,
    index::{Index, Reading},
};

pub(crate) fn agreement(index: &Index<'_>, disagreements: &mut Findings) {
    places(index, disagreements);
    for readings in index
        .readings
        .chunk_by(|one, other| one.conversation == other.conversation)
    {
        taken_back(index, readings, disagreements);
    }
    for digests in index
        .digests
        .chunk_by(|one, other| one.applied == other.applied)
    {
        let first = digests[0];
        if let Some(other) = digests.iter().find(|other| other.digest != first.digest) {
            disagreements.add("", || {
                let (applied, one, two) = (first.applied, first.node, other.node);
                format!("nodes {one} and {two} have different digests at log index {applied}")
            });
        }
    }
}

/// Reports places that hold different messages in different readings.
fn places(index: &Index<'_>, disagreements: &mut Findings) {
    let mut places: Vec<(&str, u64, &str, usize)> = index
        .sightings
        .iter()
        .map(|one| (one.conversation, one.seq, one.message, one.reading))
        .collect();
    places.sort_unstable();
    for place in places.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let (conversation, seq, message, reading) = place[0];
        if let Some((_, _, other, elsewhere)) = place.iter().find(|other| other.2 != message) {
            disagreements.add(conversation, || {
                let (one, two) = (
                    index.readings[reading].node,
                    index.readings[*elsewhere].node,
                );
                format!("place {seq} is {message:?} on node {one} and {other:?} on node {two}")
            });
        }
    }
}

/// Reports complete readings that lack what an earlier reading had already shown.
///
/// What was acknowledged and is missing counts as lost and is not reported a second time.
fn taken_back(index: &Index<'_>, readings: &[Reading<'_>], disagreements: &mut Findings) {
    let mut by_answer: Vec<&Reading<'_>> = readings.iter().collect();
    by_answer.sort_by_key(|reading| reading.at_us);
    let mut by_question: Vec<&Reading<'_>> =
        readings.iter().filter(|reading| reading.complete).collect();
    by_question.sort_by_key(|reading| reading.asked_us);
    let mut answered = by_answer.into_iter().peekable();
    let mut longest: Option<&Reading<'_>> = None;
    for later in by_question {
        while let Some(earlier) = answered.next_if(|earlier| earlier.at_us < later.asked_us) {
            if longest.is_none_or(|one| seq_last(one) < seq_last(earlier)) {
                longest = Some(earlier);
            }
        }
        let Some(earlier) = longest else { continue };
        let shown = seq_last(later);
        let vanished = earlier.messages.iter().find(|observed| {
            let send = index.send(&observed.message);
            observed.seq > shown && send.is_none_or(|send| send.acked().is_none())
        });
        if let Some(observed) = vanished {
            disagreements.add(later.conversation, || {
                let (seq, one, two) = (observed.seq, earlier.node, later.node);
                format!("node {one} showed place {seq}; node {two}, asked later, ends at {shown}")
            });
        }
    }
}

fn seq_last(reading: &Reading<'_>) -> u64 {
    reading
        .messages
        .iter()
        .map(|observed| observed.seq)
        .max()
        .unwrap_or(0)
}
