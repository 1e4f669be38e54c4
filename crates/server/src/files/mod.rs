//! Files of a node: replaced as a whole, and with a checksum where a change of their content must
//! show.
//!
//! It knows nothing of the content of a file. Every other part of the server may use it; it uses
//! none of them.

pub(crate) mod checksummed;
pub(crate) mod durable;
