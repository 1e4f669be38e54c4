//! Every maximum of the log, with its unit, its reason, and what happens when it is reached.

/// The most bytes one entry may carry. A bigger one is refused by `append`: it would hold up
/// every vote and entry behind it for longer than an election timeout on a slow disk.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;

/// The most bytes one `append` may carry, all entries together. A bigger call is refused; the
/// caller splits it. A frame's length must fit its 32-bit field with room to spare.
pub const APPEND_BYTES_MAX: usize = 64 << 20;

/// The most bytes that wait for the writer thread. A caller that would exceed it waits until the
/// queue was drained; an operation bigger than this is taken when the queue is empty.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// The most operations that wait for the writer thread; a caller beyond it waits.
pub const QUEUE_OPERATIONS_MAX: usize = 4096;

/// The fewest bytes a segment file may have: tests want small ones, and a header must fit.
pub(super) const SEGMENT_BYTES_MIN: u64 = 4096;

/// The most bytes a segment file may have, so that offsets fit 32 bits.
pub(super) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The zero-fill of a new segment is synced every so many bytes, so that it never puts one large
/// flush in front of the log's own small ones.
pub(super) const FILL_BYTES_MAX: u64 = 1 << 20;

/// Zeros that are written at once. Linux keeps a large write as one large folio, and each small
/// write and sync in it then walks over all of its blocks (seen with ext4 on Linux 6.18: 3 per cent
/// of the CPU of a node with one caller, where folios had a megabyte).
pub(super) const FILL_WRITE_BYTES: usize = 64 * 1024;

/// Neighbouring entries are read from disk together up to this many bytes.
pub(super) const READ_SPAN_BYTES_MAX: u64 = 1 << 20;

/// The frame buffer is given back to the allocator when one frame made it bigger than this.
pub(super) const BUFFER_BYTES_KEPT: usize = 2 * QUEUE_BYTES_MAX;
