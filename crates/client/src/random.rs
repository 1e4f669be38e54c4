//! Random bytes of the operating system: nonces, tokens, request ids and the jitter of waits.

/// Returns `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Returns a random number.
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(bytes())
}
