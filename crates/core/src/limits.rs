//! Every bound that shapes replicated results, with its unit, its reason and what happens at it.
//!
//! Changing one of these changes what a log means: it needs a note in `docs/protocol.md` and a
//! cluster version (`version.rs`). Bounds of one process (queues, time-outs, pools) live beside
//! that process.

/// Longest account name in bytes (names are ASCII, so also in characters). Longer: refused.
pub const NAME_BYTES_MAX: usize = 32;

/// Shortest password in characters (code points once it is normalised). Shorter: refused before it
/// is hashed.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;

/// Longest password in bytes; argon2 reads it whole, so it must have an end. Longer: refused.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Longest text of a message in bytes of UTF-8 (16 KiB: a long log excerpt). Longer: refused.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Longest encoded password hash in bytes. An argon2id PHC string has about 100.
pub const PASSWORD_HASH_BYTES_MAX: usize = 256;

/// Request numbers that a session remembers. A retry must arrive before this many newer numbers
/// were used: at the bound the oldest answer is forgotten, and a request with such a number is
/// refused as [`crate::Rejection::RequestTooOld`], never executed again.
pub const REQUEST_WINDOW: u64 = 256;

/// Answers to requests outside a session that are remembered. At the bound the oldest goes.
pub const ONCE_ANSWERS_MAX: u64 = 65_536;

/// How long an answer to a request outside a session is remembered, in milliseconds of log time.
pub const ONCE_ANSWER_MS: u64 = 24 * 60 * 60 * 1000;

/// Answers to requests that only a node retries (failed log-ins, posts without an idempotency key).
/// At the bound the oldest goes.
pub const ONCE_BRIEF_ANSWERS_MAX: u64 = 65_536;

/// How long such an answer is remembered, in milliseconds of log time: far longer than a node
/// retries.
pub const ONCE_BRIEF_MS: u64 = 10 * 60 * 1000;

/// Idempotency keys of one webhook that are remembered. At the bound a post with another key is
/// refused, because forgetting one could post a message twice.
pub const WEBHOOK_KEYS_MAX: u64 = 10_000;

/// Forgotten answers that one request outside a session removes: more than one, so that a backlog
/// shrinks.
pub const ONCE_REMOVED_MAX: usize = 4;

/// Latest log time, in milliseconds since 1970: the end of the year 9999. A leader with an absurd
/// clock is taken to be there, so that every time fits a signed 64-bit integer of a database.
pub const LOG_TIME_MAX_MS: u64 = 253_402_300_799_999;

/// How far the date of an entry may be from the one that keeps its distance to log time, in
/// milliseconds, without being taken: what people are shown is that much off at most.
pub const DATE_STEADY_MS: u64 = 1000;

/// How far the date of an entry may be behind the one before without going back, in milliseconds:
/// another leader reads the clocks a little otherwise. A greater step back is a corrected clock,
/// and dates follow it.
pub const DATE_STANDS_MS: u64 = 5000;

/// Places of the log at which dates went back that are remembered, so that a search by date finds
/// what it should. At the bound the oldest is forgotten.
pub const DATE_STEPS_MAX: u64 = 64;

/// How long a session lives after it was opened or last renewed, in milliseconds of log time.
pub const SESSION_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Longest life of a session from its opening, in milliseconds of log time: a token that was
/// stolen, or a device that was lost, does not stay logged in for ever. Tokens of programs have no
/// such end.
pub const SESSION_WHOLE_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// The use of a session is noted, and the session renewed, by a command once this much time has
/// passed since the last note, in milliseconds of log time: one note a minute at most instead of
/// one for each message, and exact enough to tell which sessions are in use.
pub const SESSION_RENEW_MS: u64 = 60 * 1000;

/// How long a closed session keeps its remembered answers, in milliseconds of log time: longer
/// than any client retries.
pub const SESSION_CLOSED_MS: u64 = 10 * 60 * 1000;

/// Open sessions of one account. At the bound the least recently used one is closed.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 32;

/// Sessions that one opening of a session sweeps away after their time has come. Two would keep
/// up; more lets a backlog shrink.
pub const SESSIONS_SWEPT_MAX: usize = 8;

/// Longest display name in characters as people count them. Longer: refused where the request
/// arrives.
pub const DISPLAY_NAME_CHARACTERS_MAX: usize = 64;

/// Longest display name in bytes of UTF-8, the bound behind the one in characters: 8 for each, so
/// that every script fits and marks without end do not. Longer: refused.
pub const DISPLAY_NAME_BYTES_MAX: usize = 512;

/// Longest topic of a room in characters as people count them: a few lines of a terminal. Longer:
/// refused where the request arrives.
pub const TOPIC_CHARACTERS_MAX: usize = 256;

/// Longest topic of a room in bytes of UTF-8, 3 for each character: letters of every living script.
/// A page of the longest topics stays below 1 MiB. Longer: refused.
pub const TOPIC_BYTES_MAX: usize = 768;

/// Longest label of a session in characters as people count them. Longer: refused where the request
/// arrives.
pub const SESSION_LABEL_CHARACTERS_MAX: usize = 64;

/// Longest label of a session in bytes of UTF-8, 8 for each character. Longer: refused.
pub const SESSION_LABEL_BYTES_MAX: usize = 512;

/// Longest reaction in characters as people count them: a short word. Longer: refused where the
/// request arrives.
pub const REACTION_CHARACTERS_MAX: usize = 32;

/// Longest reaction in bytes of UTF-8: a family with colours of skin has 41; 32 letters of Latin
/// fit, and 24 of Greek or Cyrillic. Longer: refused.
pub const REACTION_BYTES_MAX: usize = 48;

/// Different reactions to one message. At the bound another kind is refused.
pub const REACTION_KINDS_MAX: usize = 32;

/// Reactions of one account to one message. At the bound another is refused.
pub const REACTIONS_OF_ONE_MAX: usize = 8;

/// Accounts that one message can mention. Names after that many are not mentions.
pub const MENTIONS_MAX: usize = 32;

/// Names that are looked up for one at sign: the whole run of characters, then what is before its
/// last dots. What remains after that many is no mention.
pub const MENTION_LOOKUPS_MAX: usize = 4;

/// Rooms of one cluster. At the bound creating one is refused.
pub const ROOMS_MAX: u64 = 100_000;

/// Members of one room. At the bound joining is refused.
pub const ROOM_MEMBERS_MAX: u64 = 20_000;

/// Rooms that one account is in. At the bound joining is refused; so leaving all of them when the
/// account is deleted fits into one entry.
pub const ROOMS_PER_ACCOUNT_MAX: u64 = 256;

/// Invitations of one room that were not used yet. At the bound inviting is refused.
pub const INVITATIONS_PER_ROOM_MAX: u64 = 1000;

/// Webhooks of one room. At the bound creating one is refused.
pub const WEBHOOKS_PER_ROOM_MAX: u64 = 64;

/// Webhooks that one account has made, in all rooms: each one has an account of its own. At the
/// bound making another is refused.
pub const WEBHOOKS_PER_ACCOUNT_MAX: u64 = 64;

/// Accounts that one account has blocked. At the bound blocking is refused.
pub const BLOCKS_PER_ACCOUNT_MAX: u64 = 1000;

/// Conversations in one request that advances positions. More: refused.
pub const POSITIONS_PER_REQUEST_MAX: usize = 256;

/// Invites of one cluster that have not run out. At the bound creating one is refused.
pub const INVITES_MAX: u64 = 1000;

/// Accounts that can be created with one invite at most.
pub const INVITE_USES_MAX: u32 = 1000;

/// Longest life of an invite, in milliseconds of log time.
pub const INVITE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// Join tokens of one cluster that were not used and have not run out. At the bound creating one
/// is refused.
pub const JOIN_TOKENS_MAX: u64 = 100;

/// How often the secret of a cluster can be rotated: every hour for a century.
pub const ROTATIONS_MAX: u64 = 1_000_000;

/// Longest life of a join token, in milliseconds of log time.
pub const JOIN_TOKEN_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// Operators of one cluster: few people run machines. At the bound creating one is refused.
pub const OPERATORS_MAX: usize = 32;

/// Nodes that a cluster can have in its life, because each retired number is remembered. At the
/// bound no machine can join.
pub const NODES_EVER_MAX: u64 = 1_000_000;

/// Members that one raise of the cluster version names: far above what a membership may have.
pub const MEMBERS_ASKED_MAX: usize = 256;

/// Keys whose failed log-ins are remembered. At the bound the one with the fewest failures is
/// forgotten, of those the one that failed first: an attacker that fills the memory with new keys
/// forgets those, not the account that is guessed at.
pub const THROTTLES_MAX: u64 = 65_536;

/// Keys whose time to be forgiven has come that one attempt sweeps away: more than it adds.
pub const THROTTLES_SWEPT_MAX: usize = 8;

/// Places from which an account was logged in to that are remembered. At the bound the one that
/// was used least recently is forgotten. Each one is one more wait that guesses can run into
/// separately, so their number bounds what guesses gain.
pub const LOGIN_PLACES_MAX: usize = 16;

/// Failed log-ins of one account after which each further one makes the next wait.
pub const THROTTLE_FREE_ACCOUNT: u32 = 5;

/// The same for one network address, behind which many people may sit.
pub const THROTTLE_FREE_ADDRESS: u32 = 50;

/// The first wait, in milliseconds of log time; each further failure doubles it.
pub const THROTTLE_FIRST_MS: u64 = 1000;

/// The longest wait, in milliseconds of log time: a nuisance, not a lock-out.
pub const THROTTLE_MAX_MS: u64 = 60_000;

/// After this long without a failure everything is forgiven, in milliseconds of log time.
pub const THROTTLE_FORGET_MS: u64 = 60 * 60 * 1000;

/// Edits, deletions, reactions and changes of rooms that a stream can resume over. At the bound the
/// oldest are forgotten, and a stream that resumes before them reports a gap.
pub const CHANGES_KEPT_MAX: u64 = 131_072;

/// Messages that one request may delete. More: refused.
pub const DELETE_MESSAGES_MAX: usize = 500;

/// Messages that one command forgets at most because of their age or number: a millisecond or two
/// of work. The leader proposes the next command when there are more.
pub const FORGET_MESSAGES_MAX: usize = 64;

/// Conversations that one such command names: each one that has something to forget has at least
/// one message.
pub const FORGET_CONVERSATIONS_MAX: usize = FORGET_MESSAGES_MAX;

/// Shortest age after which messages can be forgotten, in milliseconds of log time: a minute, for
/// trials. Shorter: refused.
pub const RETENTION_AGE_MS_MIN: u64 = 60 * 1000;

/// Longest age that can be set, in milliseconds of log time: a century. Longer: refused; 0 keeps
/// messages for ever.
pub const RETENTION_AGE_MS_MAX: u64 = 36_525 * 24 * 60 * 60 * 1000;

/// Greatest number of messages that can be set as a limit: far more than fit one cluster. More:
/// refused; 0 keeps all.
pub const RETENTION_MESSAGES_MAX: u64 = 1_000_000_000_000;

/// Bytes of each text of an entry of the audit log: long enough for two names. What is longer is
/// cut.
pub const AUDIT_TEXT_BYTES_MAX: usize = 200;

/// Entries of the audit log that are kept, refused acts included: 90 MiB at most, and years of
/// acts. At the bound the oldest goes.
pub const AUDIT_KEPT_MAX: u64 = 100_000;

/// Refused acts among them. Every account can ask for what it may not do; so a flood of refusals
/// forgets older refusals, and never an act that was carried out.
pub const AUDIT_REFUSALS_KEPT_MAX: u64 = 10_000;

/// Age in milliseconds of log time after which an entry of the audit log goes: 400 days, so that a
/// year can be compared with the one before.
pub const AUDIT_AGE_MS_MAX: u64 = 400 * 24 * 60 * 60 * 1000;

/// Entries of the log after each of which aged entries of the audit log go, and how many of them at
/// most: a millisecond of work.
pub const AUDIT_AGED_EVERY: u64 = 256;

/// The longest time that a bucket of tokens takes to fill, in milliseconds of log time, whatever
/// the limits say: 30 days. No account waits longer.
pub const ALLOWANCE_FILL_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// What a message costs besides its text when bytes are counted: its row, its place in the indexes,
/// its mentions, in bytes. An estimate that is never too low by more than half.
pub const MESSAGE_COST_BYTES: u64 = 256;

/// The same for a reaction.
pub const REACTION_COST_BYTES: u64 = 128;

/// Commands in one log entry. The proposer starts another entry at the bound.
pub const BATCH_COMMANDS_MAX: usize = 1024;

/// Encoded bytes of commands in one log entry. One command is far smaller, so every one fits.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Rows of conversations without members that each log entry removes: a deletion of any size is
/// spread over later entries instead of stalling one.
pub const SWEEP_ROWS_PER_ENTRY: usize = 64;

/// Most items on one page of any list.
pub const PAGE_MAX: usize = 1000;

/// Bytes of the items of one page, about: a page ends with the item that reaches it, so that any
/// page fits into what clients of gRPC accept by default (4 MiB).
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Accounts of one cluster. At the bound creating one is refused.
pub const ACCOUNTS_MAX: u64 = 1_000_000;

/// Events of one command at most: those of the longest deletion of messages, or of an account in as
/// many rooms as it may be in (left, and given another owner), with as many sessions and some
/// webhooks.
pub const EVENTS_PER_COMMAND_MAX: usize = 1000;

const _: () = assert!(
    BATCH_COMMANDS_MAX * EVENTS_PER_COMMAND_MAX < (1 << crate::ids::POSITION_EVENT_BITS),
    "the events of one entry must fit into a position"
);
