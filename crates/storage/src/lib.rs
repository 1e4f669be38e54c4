//! storage

pub mod log;
