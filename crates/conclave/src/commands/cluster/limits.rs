//! `conclave cluster limits`: the limits of what one account may do and keep.

use std::process::ExitCode;

use conclave_client::{Freshness, v1};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    output::{self, Format},
};

/// Arguments of `cluster limits`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Limits to set, as NAME=VALUE; 0 means no limit. Without arguments all limits are shown
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, u64)>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn setting(text: &str) -> Result<(String, u64), String> {
    let wrong = || "a limit is set as NAME=VALUE, where the value is a number".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), value.parse().map_err(|_| wrong())?))
}

/// Sets the named limits, and shows all limits.
///
/// # Errors
/// If the caller is no administrator, a name or a value is refused, or there is no quorum.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect().await?.client;
    if !args.set.is_empty() {
        client.set_account_limits(args.set).await?;
    }
    let limits = client.account_limits(Freshness::Linearizable).await?;
    match args.output {
        Format::Json => {
            output::line(&json!(limits.iter().map(shown).collect::<Vec<_>>()).to_string())?
        }
        Format::Table => {
            for limit in &limits {
                output::line(&line(limit))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(limit: &v1::AccountLimit) -> Value {
    json!({
        "name": limit.name,
        "value": limit.value,
        "default": limit.default_value,
    })
}

fn line(limit: &v1::AccountLimit) -> String {
    let value = match limit.value {
        0 => "without a limit".to_owned(),
        value => value.to_string(),
    };
    let usual = match limit.default_value == limit.value {
        true => String::new(),
        false => format!("  (usually {})", limit.default_value),
    };
    format!("{:<24}{value}{usual}", limit.name)
}
