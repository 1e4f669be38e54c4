//! The rules of sessions: opening and ending them, and the attempts with a password before.

pub(crate) mod end_session;
pub(crate) mod open_session;
pub(crate) mod try_password;
