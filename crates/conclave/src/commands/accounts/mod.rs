//! Commands about accounts and sessions, one file for each.

pub(crate) mod account;
pub(crate) mod bot;
pub(crate) mod invite;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod passwd;
pub(crate) mod sessions;
pub(crate) mod token;
pub(crate) mod trust;
pub(crate) mod whoami;
