//! Writes the figures of a measurement to stdout.

use conclave_bench::Figures;

use crate::output::{self, Format};

/// Writes figures as a table or as JSON.
///
/// # Errors
/// If stdout is closed or full.
pub(super) fn show(format: Format, figures: &impl Figures) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json_line(&serde_json::to_value(figures)?)?,
        Format::Table => {
            let rows = figures.rows().into_iter();
            let rows: Vec<Vec<String>> = rows
                .map(|(name, value)| vec![name.to_owned(), value])
                .collect();
            output::table(&["measured", "value"], &rows)?;
        }
    }
    Ok(())
}
