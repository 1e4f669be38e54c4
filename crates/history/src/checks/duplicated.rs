//! Nothing is there twice: one message has one place, in one conversation.
//!
//! A reader that was given the same place twice has seen a duplicate too. Two nodes that show one
//! message in two places of one conversation disagree, which is for the check of agreement.

use crate::{
    Findings,
    index::{Index, Sighting},
};

pub(crate) fn duplicated(index: &Index<'_>, duplicated: &mut Findings) {
    for sightings in index
        .sightings
        .chunk_by(|one, other| one.message == other.message)
    {
        if let Some((one, other)) = twice(index, sightings) {
            duplicated.add(one.conversation, || {
                format!(
                    "{:?} is at place {} and again at place {} of {} (nodes {} and {})",
                    one.message,
                    one.seq,
                    other.seq,
                    other.conversation,
                    index.readings[one.reading].node,
                    index.readings[other.reading].node,
                )
            });
        }
    }
}

/// Returns the first two sightings of a message that cannot both be right.
fn twice<'s, 'a>(
    index: &Index<'_>,
    sightings: &'s [Sighting<'a>],
) -> Option<(&'s Sighting<'a>, &'s Sighting<'a>)> {
    let first = sightings.first()?;
    if let Some(other) = sightings
        .iter()
        .find(|other| other.conversation != first.conversation)
    {
        return Some((first, other));
    }
    // Sorted anew so that what one node showed stands together, reading by reading.
    let mut by_node: Vec<&Sighting<'_>> = sightings.iter().collect();
    by_node.sort_by_key(|sighting| (index.readings[sighting.reading].node, sighting.reading));
    by_node.windows(2).find_map(|pair| {
        let [one, other] = pair else { return None };
        let same_node = index.readings[one.reading].node == index.readings[other.reading].node;
        let moved = same_node && one.seq != other.seq;
        let given_twice = one.reading == other.reading;
        (moved || given_twice).then_some((*one, *other))
    })
}
