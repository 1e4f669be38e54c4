//! The history, sorted so that every check is a scan.
//!
//! Pairs each invocation with its outcome, once. What cannot be paired is reported as malformed,
//! and its outcome counts as unknown. Borrows everything.

use crate::{Action, Event, Findings, History, Observed, What};

/// All that the checks look at.
#[derive(Default)]
pub(crate) struct Index<'a> {
    /// Sorted by message, then by invocation.
    pub(crate) sends: Vec<Send<'a>>,
    /// Sorted by conversation and place.
    pub(crate) deletions: Vec<Deletion<'a>>,
    /// Sorted by conversation, in the order of the record within one.
    pub(crate) readings: Vec<Reading<'a>>,
    /// What was seen in any reading and not deleted; sorted by message, conversation and place.
    pub(crate) sightings: Vec<Sighting<'a>>,
    pub(crate) digests: Vec<Digest<'a>>,
}

/// Outcome of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok { seq: Option<u64>, at_us: u64 },
    Fail,
    Unknown,
}

pub(crate) struct Send<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) message: &'a str,
    pub(crate) invoked_us: u64,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Deletion<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) seq: u64,
    pub(crate) invoked_us: u64,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Reading<'a> {
    pub(crate) node: u64,
    pub(crate) conversation: &'a str,
    pub(crate) from_seq: u64,
    pub(crate) asked_us: u64,
    pub(crate) at_us: u64,
    pub(crate) complete: bool,
    pub(crate) messages: &'a [Observed],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting<'a> {
    pub(crate) message: &'a str,
    pub(crate) conversation: &'a str,
    pub(crate) seq: u64,
    /// The place of the reading in [`Index::readings`].
    pub(crate) reading: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest<'a> {
    pub(crate) applied: u64,
    pub(crate) digest: &'a str,
    pub(crate) node: u64,
}

impl Send<'_> {
    /// Returns the place that was promised and when, if the send was acknowledged.
    pub(crate) fn acked(&self) -> Option<(u64, u64)> {
        match self.outcome {
            Outcome::Ok {
                seq: Some(seq),
                at_us,
            } => Some((seq, at_us)),
            Outcome::Ok { seq: None, .. } | Outcome::Fail | Outcome::Unknown => None,
        }
    }
}

impl<'a> Index<'a> {
    pub(crate) fn of(history: &'a History, malformed: &mut Findings) -> Self {
        let mut index = Self::default();
        let mut operations: Vec<(u64, &Event)> = Vec::new();
        for event in history.events() {
            match &event.what {
                What::Invoke { op, .. }
                | What::Ok { op, .. }
                | What::Fail { op, .. }
                | What::Unknown { op, .. } => operations.push((*op, event)),
                What::Observe {
                    node,
                    conversation,
                    asked_us,
                    from_seq,
                    messages,
                    complete,
                    ..
                } => index.readings.push(Reading {
                    node: *node,
                    conversation,
                    from_seq: *from_seq,
                    asked_us: *asked_us,
                    at_us: event.at_us,
                    complete: *complete,
                    messages,
                }),
                What::Digest {
                    node,
                    applied,
                    digest,
                } => {
                    index.digests.push(Digest {
                        applied: *applied,
                        digest,
                        node: *node,
                    });
                }
            }
        }
        // Stable: the events of one operation stay in the order of the record.
        operations.sort_by_key(|(op, _)| *op);
        for events in operations.chunk_by(|one, other| one.0 == other.0) {
            index.pair(events, malformed);
        }
        index.sort();
        for pair in index.sends.windows(2) {
            if pair[0].message == pair[1].message {
                let message = pair[0].message;
                malformed.add(pair[1].conversation, || {
                    format!("{message:?} is the word of two sends, which cannot be told apart")
                });
            }
        }
        index
    }

    fn pair(&mut self, events: &[(u64, &'a Event)], malformed: &mut Findings) {
        let op = events[0].0;
        let invoke = events.iter().find_map(|(_, event)| match &event.what {
            What::Invoke { action, .. } => Some((event.at_us, action)),
            _ => None,
        });
        let Some((invoked_us, action)) = invoke else {
            malformed.add("", || {
                format!("operation {op} has an outcome and no invocation")
            });
            return;
        };
        let first_is_invoke = matches!(events[0].1.what, What::Invoke { .. });
        let outcome = match (
            events.get(1).map(|(_, event)| (event.at_us, &event.what)),
            events,
        ) {
            // The run ended before the answer came.
            (None, _) => Outcome::Unknown,
            (Some((at_us, what)), [_, _]) if first_is_invoke && at_us >= invoked_us => match what {
                What::Ok { seq, .. } => Outcome::Ok { seq: *seq, at_us },
                What::Fail { .. } => Outcome::Fail,
                _ => Outcome::Unknown,
            },
            // Whatever is true of it, the cluster is not to blame.
            _ => {
                malformed.add("", || {
                    format!("operation {op} is not one invocation and then at most one outcome")
                });
                Outcome::Unknown
            }
        };
        match action {
            Action::Send {
                conversation,
                message,
            } => {
                if matches!(outcome, Outcome::Ok { seq: None, .. }) {
                    malformed.add(conversation, || {
                        format!("operation {op} is acknowledged without the place of {message:?}")
                    });
                }
                self.sends.push(Send {
                    conversation,
                    message,
                    invoked_us,
                    outcome,
                });
            }
            Action::Delete { conversation, seq } => {
                self.deletions.push(Deletion {
                    conversation,
                    seq: *seq,
                    invoked_us,
                    outcome,
                });
            }
        }
    }

    fn sort(&mut self) {
        self.sends
            .sort_by_key(|send| (send.message, send.invoked_us));
        self.deletions
            .sort_by_key(|deletion| (deletion.conversation, deletion.seq));
        self.readings.sort_by_key(|reading| reading.conversation);
        self.digests.sort_unstable();
        for (reading, of) in self.readings.iter().enumerate() {
            let seen = of.messages.iter().filter(|observed| !observed.deleted);
            self.sightings.extend(seen.map(|observed| Sighting {
                message: &observed.message,
                conversation: of.conversation,
                seq: observed.seq,
                reading,
            }));
        }
        self.sightings.sort_unstable();
    }

    /// Returns the send of a message, if any client invoked it.
    pub(crate) fn send(&self, message: &str) -> Option<&Send<'a>> {
        let at = self.sends.partition_point(|send| send.message < message);
        self.sends.get(at).filter(|send| send.message == message)
    }

    /// Returns the readings of one conversation.
    pub(crate) fn readings_of(&self, conversation: &str) -> &[Reading<'a>] {
        let start = self
            .readings
            .partition_point(|reading| reading.conversation < conversation);
        let end = self
            .readings
            .partition_point(|reading| reading.conversation <= conversation);
        &self.readings[start..end]
    }

    /// Returns all sightings of one message.
    pub(crate) fn sightings_of(&self, message: &str) -> &[Sighting<'a>] {
        let start = self
            .sightings
            .partition_point(|sighting| sighting.message < message);
        let end = self
            .sightings
            .partition_point(|sighting| sighting.message <= message);
        &self.sightings[start..end]
    }

    /// Returns whether a client may have deleted this place by then.
    pub(crate) fn deletion_possible(&self, conversation: &str, seq: u64, by_us: u64) -> bool {
        let wanted = (conversation, seq);
        let start = self
            .deletions
            .partition_point(|one| (one.conversation, one.seq) < wanted);
        self.deletions[start..]
            .iter()
            .take_while(|one| (one.conversation, one.seq) == wanted)
            .any(|one| one.outcome != Outcome::Fail && one.invoked_us <= by_us)
    }
}
