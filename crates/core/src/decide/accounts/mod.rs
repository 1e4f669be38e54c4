//! The rules of accounts, and of the invites with which they are created.

pub(crate) mod change_password;
pub(crate) mod create_account;
pub(crate) mod create_bot;
pub(crate) mod create_invite;
pub(crate) mod delete_account;
pub(crate) mod offer_setup;
pub(crate) mod restrict_account;
pub(crate) mod revoke_invite;
pub(crate) mod set_account_limits;
pub(crate) mod set_account_role;
pub(crate) mod set_block;
pub(crate) mod set_display_name;
