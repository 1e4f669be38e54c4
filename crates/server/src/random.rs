//! Randomness from the system: the one place where the server takes it.

use conclave_wire::Problem;

/// Bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    let broken = |_| Problem::Broken {
        sentence: "the system gives no randomness".to_owned(),
    };
    getrandom::fill(&mut bytes).map_err(broken)?;
    Ok(bytes)
}
