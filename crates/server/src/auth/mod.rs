//! What decides whether a caller is admitted, and how often it may try: passwords and the turns in
//! which they are hashed, waits after failures, the registration policy, the sessions in memory,
//! and what one account may have under way.
//!
//! It proposes nothing and does not know what the services share. Every floor above may use it.

pub(crate) mod account_limiters;
pub(crate) mod codes;
pub(crate) mod cookie;
pub(crate) mod credential;
pub(crate) mod hash_queue;
pub(crate) mod passwords;
pub(crate) mod read_turns;
pub(crate) mod registration;
pub(crate) mod sessions;
pub(crate) mod throttle;
pub(crate) mod work_meters;
