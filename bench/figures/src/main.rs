//! Writes `docs/performance.md` and `docs/scale.md` again, with their pictures.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    conclave_figures::performance::write(docs)?;
    conclave_figures::scale::write(docs)
}
