-- The place of this state in the log, and its counters.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
    applied_term INTEGER,                  -- the last applied entry; bits of an unsigned number
    applied_node INTEGER,
    applied_index INTEGER,
    log_time INTEGER NOT NULL,             -- ms; measures durations, never runs backwards
    date INTEGER NOT NULL,                 -- ms since 1970, as people are shown it
    account_last INTEGER NOT NULL,         -- greatest number ever given: none is used twice
    accounts INTEGER NOT NULL,             -- how many rows accounts has
    session_last INTEGER NOT NULL,
    conversation_last INTEGER NOT NULL,
    once_last INTEGER NOT NULL,
    orphan_last INTEGER NOT NULL,
    orphans INTEGER NOT NULL,              -- how many rows orphans has
    admins INTEGER NOT NULL,               -- how many are administrators' and not suspended
    rooms INTEGER NOT NULL,                -- how many conversations are rooms
    invite_last INTEGER NOT NULL,
    invites INTEGER NOT NULL,              -- how many rows invites has
    webhook_last INTEGER NOT NULL,
    throttles INTEGER NOT NULL,            -- how many rows throttles has
    changes INTEGER NOT NULL,              -- how many rows changes has
    changes_after INTEGER NOT NULL,        -- changes up to this position are forgotten
    setup_token BLOB,                      -- BLAKE3 of the token on offer
    node_last INTEGER NOT NULL,            -- greatest number of a node given out or used up
    preferred_leader INTEGER,              -- the node that leads while it is healthy
    authority_generation INTEGER NOT NULL, -- how often the key of the peers' authority was exchanged
    authority_next BLOB,                   -- SHA-256 of the certificate of the one that is announced
    messages INTEGER NOT NULL,             -- how many rows messages has
    chain BLOB NOT NULL                    -- BLAKE3 over everything decided since the first entry
) STRICT;

-- The members of the cluster, as the last applied change of them left it.
CREATE TABLE membership (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    term INTEGER NOT NULL,                 -- the entry that made the change
    node INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    bytes BLOB NOT NULL                    -- the replica's own encoding
) STRICT;

-- The chain at fixed places of the log: by it nodes notice that they differ.
CREATE TABLE chain_points (
    log_index INTEGER PRIMARY KEY,
    chain BLOB NOT NULL                    -- as meta had it after this entry
) STRICT;

-- People.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,                    -- as its owner wrote it
    key TEXT NOT NULL UNIQUE,              -- lower case: the form in which names are compared
    skeleton TEXT NOT NULL,                -- the form in which looks of names are compared
    password_hash TEXT NOT NULL,           -- argon2id in PHC form; empty: no password logs in
    password_version INTEGER NOT NULL,     -- counts the passwords, from 1
    created_at INTEGER NOT NULL,
    role INTEGER NOT NULL,                 -- 0 user, 1 administrator, 2 bot
    display_name TEXT NOT NULL,            -- what is shown beside the name; may be empty
    suspended INTEGER NOT NULL             -- 1: suspended by an administrator
) STRICT;
CREATE INDEX accounts_by_skeleton ON accounts (skeleton, id);

-- What each account has used of what it may.
CREATE TABLE allowances (
    account INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,             -- when each bucket of tokens is full again, in
    bytes INTEGER NOT NULL,                -- microseconds of log time
    edits INTEGER NOT NULL,
    reactions INTEGER NOT NULL,
    deletions INTEGER NOT NULL,
    positions INTEGER NOT NULL,
    rooms INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    conversations INTEGER NOT NULL,        -- how many it has opened
    stored_bytes INTEGER NOT NULL          -- texts and reactions, with the rows around them
) STRICT;

-- What accounts may do and keep, if it is not the default.
CREATE TABLE account_limits (
    number INTEGER PRIMARY KEY,            -- the limit's place in the order
    value INTEGER NOT NULL
) STRICT;

-- Logins: the sessions behind "exactly once".
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    token BLOB NOT NULL UNIQUE,            -- BLAKE3 of the token; the token is nowhere
    opened_at INTEGER NOT NULL,            -- the date that people are shown
    expires_at INTEGER NOT NULL,           -- if closed: when it may be forgotten
    closed INTEGER NOT NULL,
    label TEXT NOT NULL,                   -- what its owner calls it; may be empty
    began_at INTEGER NOT NULL,             -- when it was opened, in log time
    used_at INTEGER NOT NULL               -- when it was used, in log time, noted once a minute
) STRICT;
CREATE INDEX sessions_by_account ON sessions (account);
CREATE INDEX sessions_by_end ON sessions (expires_at, id);

-- What each session was answered: a retry gets the first answer.
CREATE TABLE answers (
    session INTEGER NOT NULL,
    slot INTEGER NOT NULL,                 -- number % REQUEST_WINDOW: newer answers replace older
    number INTEGER NOT NULL,               -- the request number
    digest INTEGER NOT NULL,               -- of the request; bits of an unsigned number
    answer BLOB NOT NULL,                  -- see core/src/answer.rs
    log_index INTEGER NOT NULL,            -- the entry in which it was decided
    PRIMARY KEY (session, slot)
) STRICT, WITHOUT ROWID;

-- What requests outside a session were answered.
CREATE TABLE once_answers (
    number INTEGER PRIMARY KEY,            -- in the order in which they came
    id BLOB NOT NULL UNIQUE,               -- the client's random bits
    pool INTEGER NOT NULL,                 -- 0 lasting, 1 brief, else 1 and a webhook's number
    digest INTEGER NOT NULL,
    answer BLOB NOT NULL,
    log_index INTEGER NOT NULL,            -- the entry in which it was decided
    forget_at INTEGER NOT NULL
) STRICT;
CREATE INDEX once_answers_by_pool ON once_answers (pool, number);
CREATE INDEX once_answers_by_end ON once_answers (forget_at, number);

-- How many of them each pool has; a pool without any has no row.
CREATE TABLE once_pools (
    pool INTEGER PRIMARY KEY,
    answers INTEGER NOT NULL
) STRICT;

-- Two people (or one with itself), or a room.
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    direct_low INTEGER,                    -- the members when it was opened, lower number first;
    direct_high INTEGER,                   -- NULL in a room
    opened_at INTEGER NOT NULL,
    name TEXT,                             -- of a room, as its creator wrote it; else NULL
    key TEXT UNIQUE,                       -- lower case
    topic TEXT,
    public INTEGER,                        -- whether every account may see and join it
    members INTEGER,                       -- how many rows members has for it
    message_last INTEGER NOT NULL          -- position of its last message; 0: none
) STRICT;
CREATE UNIQUE INDEX conversations_direct ON conversations (direct_low, direct_high)
    WHERE direct_low IS NOT NULL;

-- Who is in a conversation, and how far each has come.
CREATE TABLE members (
    conversation INTEGER NOT NULL,
    account INTEGER NOT NULL,
    delivered INTEGER NOT NULL,            -- everything up to this sequence reached a device
    read INTEGER NOT NULL,
    sent_read INTEGER NOT NULL,            -- how many of its own messages are up to read
    advanced_at INTEGER NOT NULL,          -- position in the log of the last advance; 0: none
    role INTEGER NOT NULL,                 -- 0 member, 1 moderator, 2 owner
    joined_at INTEGER NOT NULL,            -- position in the log
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account, conversation);
CREATE INDEX members_by_rank ON members (conversation, role DESC, joined_at, account);

-- Who may join a room and has not yet.
CREATE TABLE invitations (
    conversation INTEGER NOT NULL,
    account INTEGER NOT NULL,
    by_account INTEGER NOT NULL,
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_by_account ON invitations (account, conversation);

-- Messages in log order. A deleted one keeps its row, so that sequences have no gaps.
CREATE TABLE messages (
    position INTEGER PRIMARY KEY,          -- log index and event number: the same on every node
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,             -- 1, 2, 3 … in the conversation
    by_account INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    text TEXT,                             -- NULL: deleted for everyone
    deleted_at INTEGER,
    edited_at INTEGER,
    reply_to INTEGER,                      -- the sequence that it answers
    action INTEGER NOT NULL,               -- 1: the text tells what the sender does
    ordinal INTEGER NOT NULL,              -- the n-th of its sender in the conversation, from 1
    in_room INTEGER NOT NULL               -- 1: in a room; 0: in a direct conversation
) STRICT;
CREATE UNIQUE INDEX messages_sequence ON messages (conversation, sequence);
-- Of two people the ordinal tells what each has sent; only among more it must be looked up.
CREATE INDEX messages_by_sender ON messages (conversation, by_account, sequence)
    WHERE in_room = 1;
-- With the sender, so that those of others are counted without a look at the messages.
CREATE INDEX messages_deleted ON messages (conversation, sequence, by_account) WHERE text IS NULL;

-- Members that a message names.
CREATE TABLE mentions (
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    account INTEGER NOT NULL,
    late INTEGER NOT NULL,                 -- 1: came by an edit of what the member had read, and
                                           -- the member has not read since
    PRIMARY KEY (conversation, sequence, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_by_account ON mentions (account, conversation, sequence);
CREATE INDEX mentions_late ON mentions (account, conversation, sequence) WHERE late = 1;

-- What members think of a message.
CREATE TABLE reactions (
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    account INTEGER NOT NULL,
    reaction TEXT NOT NULL,
    PRIMARY KEY (conversation, sequence, account, reaction)
) STRICT, WITHOUT ROWID;

-- The same, counted: no reader counts 20 000 of them to show a message.
CREATE TABLE reaction_counts (
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    reaction TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (conversation, sequence, reaction)
) STRICT, WITHOUT ROWID;

-- What a stream tells besides messages, in log order; the oldest are forgotten. Texts are only in
-- messages, so that what was deleted or edited is nowhere else.
CREATE TABLE changes (
    position INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,                 -- see changes.rs
    conversation INTEGER,
    account INTEGER,                       -- the only account to show it to; NULL: all members
    sequence INTEGER,
    subject INTEGER,                       -- the account that it is about
    by_account INTEGER,                    -- who has done it
    value TEXT                             -- a reaction, a topic, a role
) STRICT;

-- Messages that one member deleted for itself.
CREATE TABLE hidden (
    account INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (account, conversation, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX hidden_by_conversation ON hidden (conversation, account, sequence);

-- Accounts that have blocked other accounts.
CREATE TABLE blocks (
    account INTEGER NOT NULL,
    other INTEGER NOT NULL,
    PRIMARY KEY (account, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_by_other ON blocks (other);

-- Codes with which accounts can be created.
CREATE TABLE invites (
    id INTEGER PRIMARY KEY,
    code BLOB NOT NULL UNIQUE,             -- BLAKE3 of the code; the code is nowhere
    by_account INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    uses_left INTEGER NOT NULL
) STRICT;
CREATE INDEX invites_by_end ON invites (expires_at, id);

-- Tokens with which machines can join the cluster, each one once.
CREATE TABLE join_tokens (
    token BLOB PRIMARY KEY,                -- BLAKE3 of the secret; the secret is nowhere
    expires_at INTEGER NOT NULL,
    voter INTEGER NOT NULL,                -- whether the machine becomes a voter
    by_operator TEXT NOT NULL,             -- the name of the operator that made it
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX join_tokens_by_end ON join_tokens (expires_at, token);

-- Entries at which dates went back because clocks were set: between two of them dates grow. The
-- oldest are forgotten.
CREATE TABLE date_steps (
    log_index INTEGER PRIMARY KEY
) STRICT;

-- The operators: who may run the machines of the cluster.
CREATE TABLE operators (
    key TEXT PRIMARY KEY,                  -- the name in lower case
    name TEXT NOT NULL,
    token BLOB NOT NULL UNIQUE,            -- BLAKE3 of the credential; the credential is nowhere
    by_operator TEXT,                      -- who made it; NULL: the cluster itself
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Numbers of the nodes that belong to the cluster.
CREATE TABLE cluster_nodes (
    node INTEGER PRIMARY KEY
) STRICT;

-- Numbers of removed nodes: no node with one of them can join again.
CREATE TABLE retired_nodes (
    node INTEGER PRIMARY KEY
) STRICT;

-- Addresses to which programs post.
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY,
    token BLOB NOT NULL UNIQUE,            -- BLAKE3 of the secret; the secret is nowhere
    conversation INTEGER NOT NULL,
    account INTEGER NOT NULL UNIQUE,       -- under which it posts
    by_account INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_room ON webhooks (conversation, id);
CREATE INDEX webhooks_by_maker ON webhooks (by_account);

-- Attempts to log in that were not forgiven, by name, address, both, device, session.
CREATE TABLE throttles (
    key BLOB PRIMARY KEY,                  -- BLAKE3 of it
    failures INTEGER NOT NULL,
    not_before INTEGER NOT NULL,           -- when the next one may be tried
    failed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_by_failures ON throttles (failures, failed_at, key);
CREATE INDEX throttles_by_time ON throttles (failed_at, key);

-- Places from which accounts were logged in to: their guesses wait apart.
CREATE TABLE login_places (
    place BLOB PRIMARY KEY,                -- BLAKE3 of the name with an address or a device
    account INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_places_by_account ON login_places (account, place);

-- What deletions left behind: swept away a few rows per log entry, in this order.
CREATE TABLE orphans (
    number INTEGER PRIMARY KEY,
    conversation INTEGER,                  -- one without members: all in it, then itself
    sequence INTEGER,                      -- or one deleted message in it: its reactions
    account INTEGER                        -- or a deleted account: its direct conversations,
                                           -- blocks, invitations and rows in hidden
) STRICT;

-- In snapshot files only: the digest of all other tables, checked before a snapshot is installed.
CREATE TABLE seal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    digest BLOB NOT NULL
) STRICT;

INSERT INTO meta VALUES
    (1, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, 0, NULL,
    0, zeroblob(32));
