//! The rules of the cluster's nodes, of the operators that run them, and of what they set.

pub(crate) mod admit_node;
pub(crate) mod create_join_token;
pub(crate) mod note_act;
pub(crate) mod operators;
pub(crate) mod prefer_leader;
pub(crate) mod raise_version;
pub(crate) mod retire_node;
pub(crate) mod revoke_join_token;
pub(crate) mod rotate_authority;
pub(crate) mod set_ack_policy;
pub(crate) mod set_retention;
