//! One order: places run `1, 2, 3 …`, answers give the true place, and time is respected.
//!
//! If one send was acknowledged before another of the same conversation was invoked, it has the
//! smaller place. A client that waits for its answers therefore sees its own order; one that
//! does not wait, or that gave up on an answer, was promised none. A deleted message keeps its
//! place, so that a hole is always a fault.

use crate::{
    Findings,
    index::{Index, Reading, Send},
};

pub(crate) fn reordered(index: &Index<'_>, reordered: &mut Findings) {
    for reading in &index.readings {
        gaps(reading, reordered);
    }
    answers(index, reordered);
    real_time(index, reordered);
}

/// Reports the first hole or backward step of a reading. A place given twice is a duplicate.
fn gaps(reading: &Reading<'_>, reordered: &mut Findings) {
    let start = if reading.complete {
        1
    } else {
        reading.from_seq
    };
    let mut expected = start;
    for observed in reading.messages {
        if observed.seq != expected && observed.seq.checked_add(1) != Some(expected) {
            reordered.add(reading.conversation, || {
                let (node, seq) = (reading.node, observed.seq);
                format!("node {node} shows place {seq} where {expected} is next")
            });
            return;
        }
        if expected == start && observed.seq < start {
            reordered.add(reading.conversation, || {
                let (node, seq) = (reading.node, observed.seq);
                format!("node {node} shows place {seq}, before the first that was asked for")
            });
            return;
        }
        expected = observed.seq.saturating_add(1);
    }
}

/// Reports messages that are not where the answer to their sender said, and places promised twice.
fn answers(index: &Index<'_>, reordered: &mut Findings) {
    let mut promised: Vec<(&str, u64, &str)> = Vec::new();
    for send in &index.sends {
        let Some((seq, _)) = send.acked() else {
            continue;
        };
        promised.push((send.conversation, seq, send.message));
        let sightings = index.sightings_of(send.message);
        // At the promised place and elsewhere too: twice, or seen differently; not here.
        let here = sightings
            .iter()
            .filter(|one| one.conversation == send.conversation);
        if here.clone().all(|sighting| sighting.seq != seq)
            && let Some(sighting) = here.clone().next()
        {
            reordered.add(send.conversation, || {
                let (message, seen) = (send.message, sighting.seq);
                let node = index.readings[sighting.reading].node;
                format!("{message:?} was promised place {seq} and is at {seen} on node {node}")
            });
        }
    }
    promised.sort_unstable();
    for pair in promised.windows(2) {
        if (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1) {
            reordered.add(pair[0].0, || {
                format!(
                    "place {} was promised to {:?} and {:?}",
                    pair[0].1, pair[0].2, pair[1].2
                )
            });
        }
    }
}

/// Something that happened to a send, for the scan along the time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    // First: what is asked and what is answered at one instant are concurrent.
    Invoked,
    Acked,
}

/// Reports sends with a smaller place than one that was acknowledged before they were invoked.
fn real_time(index: &Index<'_>, reordered: &mut Findings) {
    let mut moments: Vec<(&str, u64, Moment, u64, &Send<'_>)> = Vec::new();
    for send in &index.sends {
        let Some(seq) = place(index, send) else {
            continue;
        };
        moments.push((
            send.conversation,
            send.invoked_us,
            Moment::Invoked,
            seq,
            send,
        ));
        if let Some((promised, at_us)) = send.acked() {
            moments.push((send.conversation, at_us, Moment::Acked, promised, send));
        }
    }
    moments.sort_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)));
    for moments in moments.chunk_by(|one, other| one.0 == other.0) {
        let mut acked_max: Option<(u64, &Send<'_>)> = None;
        for (conversation, _, moment, seq, send) in moments {
            match (moment, acked_max) {
                (Moment::Invoked, Some((before, earlier))) if *seq < before => {
                    reordered.add(conversation, || {
                        let (late, early) = (send.message, earlier.message);
                        format!(
                            "{late:?} at place {seq} was sent after {early:?} at place {before} \
                             had been acknowledged"
                        )
                    });
                }
                (Moment::Acked, None) => acked_max = Some((*seq, send)),
                (Moment::Acked, Some((before, _))) if *seq > before => {
                    acked_max = Some((*seq, send));
                }
                (Moment::Invoked | Moment::Acked, _) => {}
            }
        }
    }
}

/// Returns where a send ended up: as promised or, of an unknown one, as first seen.
fn place(index: &Index<'_>, send: &Send<'_>) -> Option<u64> {
    send.acked().map(|(seq, _)| seq).or_else(|| {
        let sightings = index.sightings_of(send.message);
        sightings
            .iter()
            .find(|one| one.conversation == send.conversation)
            .map(|one| one.seq)
    })
}
