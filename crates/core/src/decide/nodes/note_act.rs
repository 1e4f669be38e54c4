//! Takes the note of an act outside the log. Nothing is changed by it: the audit log has the
//! command.
//!
//! Always true: the node that says so has a number that a node can have.

use crate::{Accepted, ActNote, Rejection, decide::ruling::Ruling, limits::NODES_EVER_MAX};

pub(crate) fn note_act(note: &ActNote) -> Ruling {
    let node = note.node.0;
    match (1..=NODES_EVER_MAX).contains(&node) {
        true => Ok((Accepted::Done, Vec::new())),
        false => Err(Rejection::NoSuchNode { node }.into()),
    }
}
