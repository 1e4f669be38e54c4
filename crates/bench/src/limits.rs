//! Makes the administrator of a cluster that was started to be measured, and lifts the limits of
//! accounts: one account does what a thousand would.

use std::time::Duration;

use conclave_client::{CallError, Client, Freshness, Grant, Reason};
use conclave_local_cluster::LocalCluster;
use tokio::time::timeout;

use crate::{
    error::{BenchError, failed},
    scratch::random_word,
};

/// Longest time until the cluster offers the setup token.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a newer token is waited for after one was refused.
const NEWER_LIMIT: Duration = Duration::from_millis(500);

/// Makes the cluster's first administrator, and lifts all limits of accounts.
pub(crate) async fn lift(cluster: &LocalCluster, anonymous: &Client) -> Result<Client, BenchError> {
    let password = first_administrator(cluster, anonymous, "root").await?;
    let login = anonymous.login("root", &password).await?;
    let root = anonymous.with_token(&login.token)?;
    let limits = root.account_limits(Freshness::Linearizable).await?;
    let names = limits.into_iter().map(|limit| limit.name);
    let lifted = names.filter(|name| !name.ends_with("-burst"));
    root.set_account_limits(lifted.map(|name| (name, 0)))
        .await?;
    Ok(root)
}

/// Makes the cluster's first administrator with this name, and returns the password.
pub(crate) async fn administrator(
    cluster: &LocalCluster,
    name: &str,
) -> Result<String, BenchError> {
    let anonymous = cluster.client_builder().endpoints(cluster.endpoints());
    first_administrator(cluster, &anonymous.build()?, name).await
}

async fn first_administrator(
    cluster: &LocalCluster,
    anonymous: &Client,
    name: &str,
) -> Result<String, BenchError> {
    let mut tokens = cluster.setup_token();
    let password = random_word()?;
    let made = timeout(PATIENCE, async {
        loop {
            // The value is cloned: while the borrow is held, the sender cannot write the next
            // token.
            let setup = match tokens.wait_for(Option::is_some).await {
                Ok(setup) => setup.clone().unwrap_or_default(),
                Err(_) => return Err(failed("the nodes have ended")),
            };
            tokens.mark_unchanged();
            let grant = Grant::Setup(setup);
            let made = anonymous.create_account_with(name, &password, grant).await;
            match made {
                // Another node leads now, and has printed a token of its own, or is about to.
                Err(CallError::Refused {
                    reason: Reason::SetupTokenInvalid,
                    ..
                }) => {
                    // If no newer one comes, this one is tried again.
                    let _ = timeout(NEWER_LIMIT, tokens.changed()).await;
                }
                made => return made.map(drop).map_err(BenchError::from),
            }
        }
    });
    match made.await {
        Ok(made) => made.map(|()| password),
        Err(_) => Err(failed("waited too long: the setup token")),
    }
}
