//! The cluster and the place of this node in it: how it is made and joined, who belongs to it and
//! leads it, where members are reached, and its secret.
//!
//! It serves no port: services call it. It uses the transport and what the services share.

pub(crate) mod bootstrap;
pub(crate) mod exchange;
pub(crate) mod full_leader;
pub(crate) mod join;
pub(crate) mod keys;
pub(crate) mod membership;
pub(crate) mod peers_file_writer;
pub(crate) mod preferred_leader;
pub(crate) mod roll_call;
pub(crate) mod rotate_secret;
pub(crate) mod setup;
pub(crate) mod space_watch;
