//! The audit log: which acts of administrators and operators are recorded, and what is said of
//! each.
//!
//! Operations use the acts; what is said of an operation uses both.

pub mod act;
pub mod record;
