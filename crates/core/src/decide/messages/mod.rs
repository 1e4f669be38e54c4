//! The rules of messages: sending, editing, deleting, forgetting and reading them, and what their
//! texts name.

pub(crate) mod advance_positions;
pub(crate) mod code;
pub(crate) mod delete_messages;
pub(crate) mod edit_message;
pub(crate) mod forget_messages;
pub(crate) mod mentions;
pub(crate) mod send_message;
pub(crate) mod set_reaction;
