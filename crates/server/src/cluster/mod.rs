//! The cluster and the place of this node in it: how it is made and joined, which nodes belong to
//! it and lead it, their addresses, its secret, and what nodes share without the log.
//!
//! It serves no port: services call it. The services, `integrity` and `node` use it.

pub(crate) mod bootstrap;
pub(crate) mod event_watch;
pub(crate) mod fail_stop;
pub(crate) mod gossip;
pub(crate) mod join;
pub(crate) mod keys;
pub(crate) mod leader;
pub(crate) mod leaving;
pub(crate) mod membership;
pub(crate) mod peers_file_writer;
pub(crate) mod roll_call;
pub(crate) mod rotate_secret;
pub(crate) mod rotation;
pub(crate) mod setup;
pub(crate) mod space_watch;
pub(crate) mod start_error;
pub(crate) mod upgrade;
pub(crate) mod witness;
