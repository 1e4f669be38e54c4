//! `conclave search`: finds messages by their words.

use std::process::ExitCode;

use jiff::tz::TimeZone;

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Most messages on one page.
const PAGE_MAX: usize = 100;

/// What `search` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Words, "a phrase", word*, from:NAME, in:#ROOM, in:NAME, before: and after:YYYY-MM-DD
    #[arg(required = true, value_name = "WORD")]
    query: Vec<String>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// In which form
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Shows what is found, the newest first.
///
/// # Errors
/// If the query says nothing, nobody is logged in or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let query = args.query.join(" ");
    let zone = TimeZone::system();
    let mut left = args.limit;
    let mut token = String::new();
    while left > 0 {
        let size = u32::try_from(left.min(PAGE_MAX))?;
        let page = client.search(&query, size, &token).await?;
        for message in page.messages.iter().take(left) {
            match args.output {
                Format::Table => output::line(&output::message_line(message, &zone))?,
                Format::Json => output::json_line(&output::message_json(message))?,
            }
        }
        left -= page.messages.len().min(left);
        token = page.next_page_token;
        if token.is_empty() {
            if page.complete_to_position < page.applied_position {
                note("the newest messages are not searched yet; ask again in a moment");
            }
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
