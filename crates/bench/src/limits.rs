//! Makes the administrator of a cluster that was started to be measured, and lifts the limits of
//! accounts: one account does what a thousand would.

use std::time::Duration;

use conclave_client::{Client, Freshness, Grant};
use conclave_local_cluster::LocalCluster;
use tokio::time::timeout;

use crate::{
    error::{BenchError, failed},
    scratch::random_word,
};

/// Longest time until the cluster offers the setup token.
const PATIENCE: Duration = Duration::from_secs(20);

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
    // The value is cloned: while the borrow is held, the sender cannot write the next token.
    let setup = match timeout(PATIENCE, tokens.wait_for(Option::is_some)).await {
        Ok(Ok(setup)) => setup.clone(),
        Ok(Err(_)) | Err(_) => return Err(failed("waited too long: the setup token")),
    };
    let grant = Grant::Setup(setup.unwrap_or_default());
    let password = random_word()?;
    anonymous
        .create_account_with(name, &password, grant)
        .await?;
    Ok(password)
}
