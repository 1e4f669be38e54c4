//! How a cluster gets its first administrator: its leader offers that role to whoever shows a
//! token, which only those can read who run the servers.
//!
//! Each leader makes a token of its own, so one that was seen on a node that lost its leadership
//! is worth nothing. Only the token's hash gets into the log, and the token into no log at all.
//!
//! Always true: a token is told only after the cluster has accepted it, and there is none once
//! there is an administrator.

use std::{sync::Arc, time::Duration};

use conclave_core::{Command, OnceId, Rejection, TokenHash};
use conclave_replica::ProposeError;
use conclave_wire::{
    Problem,
    request::{self, token_hash},
};
use tokio::sync::watch;

use crate::{context::shared::Shared, random};

/// Characters of a token: 130 random bits.
const CHARACTERS: usize = 26;
/// After how many characters of a token comes a dash, for whoever types it.
const GROUP: usize = 5;
/// Digits and letters without I, L, O and U: nobody has to tell O from 0.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How often a leader looks whether there is an administrator. Each time it proposes an offer at
/// most once, and none while its last one stands.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same after a look that failed: a leader cannot propose in its first moments.
const AGAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How long an offer may take. One without an outcome is proposed again with the next look.
const OFFER_LIMIT: Duration = Duration::from_secs(2);

/// The hash under which the cluster knows a setup token, however it was typed: in whatever case,
/// with dashes or blanks anywhere, and with letters that look like digits. `None` if it cannot be
/// one.
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

/// A new token, as it is shown.
fn new_token() -> Result<String, Problem> {
    let random = random::bytes::<CHARACTERS>()?;
    let mut token = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
    for (place, byte) in random.into_iter().enumerate() {
        // No dash that would leave one character alone at the end.
        if place > 0 && place % GROUP == 0 && place + 1 < CHARACTERS {
            token.push('-');
        }
        token.push(char::from(ALPHABET[usize::from(byte & 31)]));
    }
    Ok(token)
}

/// What this node offers as the leader of one term.
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

/// Offers a token whenever this node leads and there is no administrator, and tells the one that
/// can be used now. Ends when the node stops.
pub(crate) async fn run(shared: Arc<Shared>, tell: watch::Sender<Option<String>>) {
    let mut leader = shared.replica.leader();
    let mut stopping = shared.stopping.subscribe();
    let mut offer = None;
    loop {
        let leads = *leader.borrow_and_update() == Some(shared.identity.node);
        let mut pause = LOOK_INTERVAL;
        if !leads {
            offer = None;
        } else if let Err(problem) = look(&shared, &mut offer).await {
            tracing::debug!(%problem, "the setup token could not be offered yet");
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

/// As the leader: makes `offer` what it has to be.
async fn look(shared: &Shared, offer: &mut Option<Offer>) -> Result<(), Problem> {
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
    // Here alone: through another leader it could come after that one's own offer and end it.
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
            // Somebody has become an administrator meanwhile.
            Err(Rejection::NotAllowed) => *offer = None,
            Err(rejection) => return Err(rejection.into()),
        },
        Some(Err(error)) => return Err(crate::problems::of_propose(&error)),
        None => return Err(crate::problems::of_propose(&ProposeError::Stopping)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_however_it_is_typed() {
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
    fn what_cannot_be_a_token_is_none() {
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
