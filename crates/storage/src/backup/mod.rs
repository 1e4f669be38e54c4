//! The file of a backup: a snapshot with a readable head, packed, and checksummed so that a flipped
//! bit or a missing end is found wherever it is.
//!
//! ```text
//! conclave backup 1            the head: lines of text, then an empty line
//! cluster: …
//!                              CRC-32C of the head, 4 bytes
//! blocks                       see `block.rs`
//! end                          0, 4 bytes; BLAKE3 of everything before it, 32 bytes
//! ```
//!
//! It knows bytes and no rows: what a snapshot holds is known in `state`. docs/data.md describes
//! the format for readers of the file.
//!
//! Always true: a block is handed on only after its checksum was verified, and the end is reached
//! only after everything was.

mod block;
mod head;
mod pack;
mod unpack;

pub use head::{FORMAT_VERSION, Head};
pub use pack::Packer;
pub use unpack::{UnpackError, Unpacker};
