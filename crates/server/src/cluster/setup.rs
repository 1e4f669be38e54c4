//! Gives a cluster its first administrator: its leader offers that role to the caller that presents
//! a setup token, which only the people who run the servers can read.
//!
//! Each leader makes a token of its own, so a token from a node that has lost its leadership is
//! invalid. Only the token's hash gets into the log, and the token is never logged.
//!
//! Always true: a token is shown only after the cluster has accepted it, and there is none once
//! there is an administrator.

use std::{sync::Arc, time::Duration};

use conclave_core::{Command, OnceId, Rejection, TokenHash};
use conclave_replica::ProposeError;
use conclave_wire::{
    Problem,
    request::{self, token_hash},
};
use tokio::sync::watch;

use crate::{base::random, context::node_context::NodeContext};

/// Number of characters of a token: 130 random bits.
const CHARACTERS: usize = 26;
/// Number of characters between two dashes of a token, which make it easier to type.
const GROUP: usize = 5;
/// Digits and letters without I, L, O and U, so that a reader need not tell O from 0.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How often a leader looks whether there is an administrator. With each look it proposes an offer
/// at most once, and none while its last offer is valid.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a look that failed: a leader cannot propose right after its election.
const AGAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How long an offer may take. An offer without an outcome is proposed again with the next look.
const OFFER_LIMIT: Duration = Duration::from_secs(2);

/// Returns the hash under which the cluster knows a setup token, in whatever way it was typed: in
/// upper or lower case, with dashes or blanks anywhere, and with letters that look like digits.
/// `None` if the text cannot be a token.
pub(crate) fn hash(token: &str) -> Option<TokenHash> {
    canonical(token).map(|token| token_hash(token.as_bytes()))
}

fn canonical(token: &str) -> Option<String> {
    let significant = token.chars().filter(|c| *c != '-' && !c.is_whitespace());
    let mut canonical = String::with_capacity(CHARACTERS);
    for character in significant {
        let character = match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let known = u8::try_from(character).is_ok_and(|byte| ALPHABET.contains(&byte));
        if !known || canonical.len() == CHARACTERS {
            return None;
        }
        canonical.push(character);
    }
    (canonical.len() == CHARACTERS).then_some(canonical)
}

/// Returns a new token in the form that people see.
fn new_token() -> Result<String, Problem> {
    let random = random::bytes::<CHARACTERS>()?;
    let mut token = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
    for (place, byte) in random.into_iter().enumerate() {
        // A dash here must not leave one character alone at the end.
        if place > 0 && place % GROUP == 0 && place + 1 < CHARACTERS {
            token.push('-');
        }
        token.push(char::from(ALPHABET[usize::from(byte & 31)]));
    }
    Ok(token)
}

/// Offer of this node as the leader of one term.
struct Offer {
    term: u64,
    token: String,
    command: Command,
    accepted: bool,
}

impl Offer {
    fn new(term: u64) -> Result<Self, Problem> {
        let token = new_token()?;
        let hash = hash(&token).expect("a new token is one");
        let once = OnceId(random::bytes()?);
        Ok(Self {
            term,
            token,
            command: request::offer_setup(once, hash),
            accepted: false,
        })
    }
}

/// Offers a token whenever this node leads and there is no administrator, and publishes the token
/// that is valid now. Ends when the node stops.
pub(crate) async fn run(shared: Arc<NodeContext>, tell: watch::Sender<Option<String>>) {
    let mut leader = shared.replica.leader();
    let mut stopping = shared.stopping.subscribe();
    let mut offer = None;
    loop {
        let leads = *leader.borrow_and_update() == Some(shared.identity.node);
        let mut pause = LOOK_INTERVAL;
        if !leads {
            offer = None;
        } else if let Err(problem) = look(&shared, &mut offer).await {
            tracing::debug!(%problem, "failed to offer the setup token; retrying");
            pause = AGAIN_INTERVAL;
        }
        let usable = offer.as_ref().filter(|offer| offer.accepted);
        let usable = usable.map(|offer| offer.token.clone());
        tell.send_if_modified(|told| {
            let changed = *told != usable;
            *told = usable;
            changed
        });
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause), if leads => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Brings `offer` up to date, as the leader.
async fn look(shared: &NodeContext, offer: &mut Option<Offer>) -> Result<(), Problem> {
    if shared.read(|reader| reader.admins()).await? > 0 {
        *offer = None;
        return Ok(());
    }
    let term = shared.replica.status().term;
    if offer.as_ref().is_some_and(|offer| offer.term != term) {
        *offer = None;
    }
    let made = match offer {
        Some(made) => made,
        None => offer.insert(Offer::new(term)?),
    };
    if made.accepted {
        return Ok(());
    }
    // Only proposed at this node: through another leader it could follow that leader's own offer
    // and end it.
    let proposed = shared
        .replica
        .propose_here(vec![made.command.clone()], OFFER_LIMIT);
    match proposed.await.pop() {
        Some(Ok(outcome)) => match outcome.answer {
            Ok(_) => {
                made.accepted = true;
                tracing::info!(
                    term,
                    "there is no administrator; a setup token is on stdout"
                );
            }
            // An account has become an administrator meanwhile.
            Err(Rejection::NotAllowed) => *offer = None,
            Err(rejection) => return Err(rejection.into()),
        },
        Some(Err(error)) => return Err(crate::protocol::problems::of_propose(&error)),
        None => {
            return Err(crate::protocol::problems::of_propose(
                &ProposeError::Stopping,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_token_is_recognized_however_it_is_typed() {
        let token = "01ABC-DEFGH-JKMNP-QRSTV-WXYZ01";
        let same = [
            "01abc-defgh-jkmnp-qrstv-wxyz01",
            "01ABCDEFGHJKMNPQRSTVWXYZ01",
            " OLabc defgh jkmnp qrstv wxyzoi ",
            "\t01ABC-DEFGH-JKMNP-QRSTV-WXYZ01\r\n",
            "0-1-A-B-C-DEFGHJKMNPQRSTVWXYZ0I",
        ];
        let known = hash(token);
        assert!(known.is_some());
        for typed in same {
            assert!(hash(typed) == known, "{typed}");
        }
        assert!(hash("11ABC-DEFGH-JKMNP-QRSTV-WXYZ01") != known);
    }

    #[test]
    fn malformed_setup_tokens_are_rejected() {
        let long = "0".repeat(CHARACTERS + 1);
        let short = "0".repeat(CHARACTERS - 1);
        let strange = format!("{short}U");
        let foreign = format!("{short}é");
        for typed in ["", "-", &long, &short, &strange, &foreign] {
            assert!(hash(typed).is_none(), "{typed}");
        }
    }

    #[test]
    fn new_tokens_differ_and_can_be_read_aloud() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        let groups: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(groups, [5, 5, 5, 5, 6]);
        assert_eq!(canonical(&one), Some(one.replace('-', "")));
    }
}
