//! Files of a node: replaced as a whole, and with a checksum where a change of their content must
//! show.
//!
//! It knows nothing of the content of a file. It is the lowest floor: every other one may use it.

pub(crate) mod checksummed;
pub(crate) mod durable;
