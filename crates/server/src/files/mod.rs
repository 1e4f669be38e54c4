//! Files of a node: replaced as a whole, and with a checksum where they must show that they are
//! what was written.
//!
//! It knows nothing of what stands in a file. Every other part of the server may use it; it uses
//! none of them.

pub(crate) mod checksummed;
pub(crate) mod durable;
