//! Backups: making one of this node's state, keeping scheduled ones in a directory, reading one
//! again, and making a new cluster of it, or of what an import has built.
//!
//! The format of the file is storage's. Nothing here is gRPC; the calls are in `api/backups`.

pub(crate) mod directory;
pub(crate) mod imported;
pub(crate) mod make;
pub(crate) mod restore;
pub(crate) mod schedule;
pub(crate) mod verify;
