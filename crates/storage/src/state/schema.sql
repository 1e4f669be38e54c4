-- The place of this state in the log, and its counters.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
    applied_term INTEGER,                  -- the last applied entry; bits of an unsigned number
    applied_node INTEGER,
    applied_index INTEGER,
    log_time INTEGER NOT NULL,             -- ms since 1970; never runs backwards
    account_last INTEGER NOT NULL,         -- greatest number ever given: none is used twice
    accounts INTEGER NOT NULL,             -- how many rows accounts has
    session_last INTEGER NOT NULL,
    conversation_last INTEGER NOT NULL,
    once_last INTEGER NOT NULL,
    once_answers INTEGER NOT NULL,         -- how many rows once_answers has
    orphan_last INTEGER NOT NULL,
    orphans INTEGER NOT NULL,              -- how many rows orphans has
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

-- People.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,                    -- as its owner wrote it
    key TEXT NOT NULL UNIQUE,              -- lower case: the form in which names are compared
    password_hash TEXT NOT NULL,           -- argon2id in PHC form
    password_version INTEGER NOT NULL,     -- counts the passwords, from 1
    created_at INTEGER NOT NULL
) STRICT;

-- Logins: the sessions behind "exactly once".
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    token BLOB NOT NULL UNIQUE,            -- BLAKE3 of the token; the token is nowhere
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,           -- if closed: when it may be forgotten
    closed INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_account ON sessions (account);
CREATE INDEX sessions_by_end ON sessions (expires_at, id);

-- What each session was answered: a retry gets the first answer.
CREATE TABLE answers (
    session INTEGER NOT NULL,
    slot INTEGER NOT NULL,                 -- number % REQUEST_WINDOW: newer answers replace older
    number INTEGER NOT NULL,               -- the request number
    digest INTEGER NOT NULL,               -- of the request; bits of an unsigned number
    answer TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (session, slot)
) STRICT, WITHOUT ROWID;

-- What requests outside a session were answered; the oldest go first.
CREATE TABLE once_answers (
    number INTEGER PRIMARY KEY,            -- in order of time
    id BLOB NOT NULL UNIQUE,               -- the client's random bits
    digest INTEGER NOT NULL,
    answer TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Two people, or one with itself.
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    direct_low INTEGER NOT NULL,           -- the members when it was opened, lower number first
    direct_high INTEGER NOT NULL,
    opened_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX conversations_direct ON conversations (direct_low, direct_high);

-- Who is in a conversation, and how far each has come.
CREATE TABLE members (
    conversation INTEGER NOT NULL,
    account INTEGER NOT NULL,
    delivered INTEGER NOT NULL,            -- everything up to this sequence reached a device
    read INTEGER NOT NULL,
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account, conversation);

-- Messages in log order. A deleted one keeps its row, so that sequences have no gaps.
CREATE TABLE messages (
    position INTEGER PRIMARY KEY,          -- log index and event number: the same on every node
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,             -- 1, 2, 3 … in the conversation
    by_account INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    text TEXT,                             -- NULL: deleted for everyone
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX messages_sequence ON messages (conversation, sequence);

-- Messages that one member deleted for itself.
CREATE TABLE hidden (
    account INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (account, conversation, sequence)
) STRICT, WITHOUT ROWID;

-- What deleted accounts left behind: swept away a few rows per log entry, in this order.
CREATE TABLE orphans (
    number INTEGER PRIMARY KEY,
    conversation INTEGER,                  -- one without members: its messages, then itself
    account INTEGER                        -- or a deleted account: its rows in hidden
) STRICT;

-- In snapshot files only: the digest of all other tables, checked before a snapshot is installed.
CREATE TABLE seal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    digest BLOB NOT NULL
) STRICT;

INSERT INTO meta VALUES
    (1, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, zeroblob(32));
