//! Guesses at the password of one account, at all nodes, while its owner goes on logging in.
//!
//! Always true: no guess is right.

use conclave_client::Reason;
use std::{sync::Arc, time::Duration};

use conclave_client::{Builder, Client, new_device_secret};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{Bounds, Port, Tally, Target};

/// Pause before a guess that was throttled is made anew.
const AGAIN: Duration = Duration::from_millis(20);
/// Between two log-ins of the owner.
const OWNER_EVERY: Duration = Duration::from_millis(250);
const PASSWORD: &str = "the right password";

/// Lets `count` workers guess at one account, each at one node, and its owner log in meanwhile
/// from a device that is known.
///
/// Counts as opened the guesses that were verified, as cut those that were throttled, and as failed
/// the log-ins of the owner that failed.
pub(super) async fn guesses(target: Arc<Target>, bounds: Bounds) -> Tally {
    let until = Instant::now() + bounds.duration;
    let failed = Tally {
        failed: 1,
        ..Tally::default()
    };
    let Ok(owner) = Owner::begin(&target).await else {
        return failed;
    };
    let nodes = target.addresses(Port::Client);
    let mut workers = JoinSet::new();
    for number in 0..bounds.count {
        let node = nodes[number % nodes.len()].to_string();
        let Ok(client) = target.client().endpoints([node]).build() else {
            return failed;
        };
        workers.spawn(guess(client, owner.name.clone(), until));
    }
    workers.spawn(owner.go_on(until));
    let mut all = Tally::default();
    while let Some(one) = workers.join_next().await {
        all += one.unwrap_or(failed);
    }
    all
}

async fn guess(client: Client, name: String, until: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        let Ok(answer) = timeout_at(until, client.login(&name, "a wrong password")).await else {
            return tally;
        };
        match answer.as_ref().map_err(|error| error.reason()) {
            Err(Some(Reason::WrongCredentials)) => tally.opened += 1,
            Err(Some(Reason::LoginThrottled)) => tally.cut += 1,
            // A node that is busy: neither verified nor counted.
            _ => {}
        }
        sleep(AGAIN).await;
    }
}

/// The account whose password is guessed at.
struct Owner {
    name: String,
    device: [u8; 32],
    builder: Builder,
}

impl Owner {
    /// Creates the account and logs in once from a device.
    async fn begin(target: &Target) -> anyhow::Result<Self> {
        let mut word = [0; 8];
        getrandom::fill(&mut word).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let name = format!("owner{:016x}", u64::from_ne_bytes(word));
        let patient = target.client().build()?;
        patient.create_account(&name, PASSWORD).await?;
        let owner = Self {
            name,
            device: new_device_secret(),
            builder: target.client(),
        };
        owner.log_in_and_out().await?;
        Ok(owner)
    }

    async fn go_on(self, until: Instant) -> Tally {
        let mut tally = Tally::default();
        while let Ok(done) = timeout_at(until, self.log_in_and_out()).await {
            tally.failed += usize::from(done.is_err());
            sleep(OWNER_EVERY).await;
        }
        tally
    }

    async fn log_in_and_out(&self) -> anyhow::Result<()> {
        let anonymous = self.builder.clone().build()?;
        let from = anonymous.login_from(&self.name, PASSWORD, "", Some(self.device));
        let member = anonymous.with_token(&from.await?.token)?;
        // A session that stays open costs a place of the account, and nothing else.
        let _ = member.logout().await;
        Ok(())
    }
}
