//! Random bytes from the system: the only place where the server takes them.

use conclave_wire::Problem;

/// Returns random bytes that cannot be guessed.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    let broken = |_| Problem::Broken {
        sentence: "the system gives no randomness".to_owned(),
    };
    getrandom::fill(&mut bytes).map_err(broken)?;
    Ok(bytes)
}
