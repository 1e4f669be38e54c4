-- Which voters acknowledgements wait for. 1: all; NULL: a majority.
ALTER TABLE meta ADD COLUMN ack_all INTEGER;

-- Retention. Builds without it leave these columns as they are: their rows must be the same.
ALTER TABLE meta ADD COLUMN keep_ms INTEGER NOT NULL DEFAULT 0;         -- 0: without a limit
ALTER TABLE meta ADD COLUMN keep_messages INTEGER NOT NULL DEFAULT 0;   -- of each conversation
ALTER TABLE meta ADD COLUMN rooms_may_exceed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN keep_total INTEGER NOT NULL DEFAULT 0;      -- of all conversations
-- Log time of the entry since which messages have the log time of their own; NULL: none has it. The
-- age of those before is counted from then.
ALTER TABLE meta ADD COLUMN aged_since INTEGER;
ALTER TABLE messages ADD COLUMN log_time INTEGER;                       -- of its entry
ALTER TABLE conversations ADD COLUMN keep_ms INTEGER;                   -- NULL: as meta says
ALTER TABLE conversations ADD COLUMN keep_messages INTEGER;
CREATE INDEX conversations_keeping ON conversations (id)
    WHERE keep_ms IS NOT NULL OR keep_messages IS NOT NULL;
-- Messages up to this sequence are forgotten, and the position of the entry that said so last.
ALTER TABLE conversations ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN forgotten_at INTEGER NOT NULL DEFAULT 0;
-- How many of the member's own messages are forgotten: the ordinal of the last of them.
ALTER TABLE members ADD COLUMN sent_forgotten INTEGER NOT NULL DEFAULT 0;
-- Or, with a conversation: the last of its forgotten messages, of which reactions and rows in
-- hidden are left.
ALTER TABLE orphans ADD COLUMN through INTEGER;
-- Rows of hidden by message: those of forgotten ones go together.
CREATE INDEX hidden_by_message ON hidden (conversation, sequence, account);

-- Acts of administrators and operators, refused ones included; the oldest are forgotten.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,          -- 1, 2, 3 … in log order
    log_index INTEGER NOT NULL,            -- the entry that has it
    log_time INTEGER NOT NULL,             -- by which its age is measured
    date INTEGER NOT NULL,                 -- as people are shown it
    actor_kind INTEGER NOT NULL,           -- 0 the cluster, 1 an account, 2 an operator, 3 a node,
                                           -- 4 unknown
    actor INTEGER,                         -- number of the account or node
    actor_name TEXT NOT NULL,              -- name of the account or operator then; else empty
    act TEXT NOT NULL,                     -- a word of core/src/audit/act.rs
    target TEXT NOT NULL,                  -- may be empty
    detail TEXT NOT NULL,                  -- may be empty
    refusal BLOB,                          -- what the log answered if it refused: answer.rs
    noted_refusal TEXT                     -- why a node refused an act outside the log
) STRICT;
CREATE INDEX audit_refused ON audit (sequence)
    WHERE refusal IS NOT NULL OR noted_refusal IS NOT NULL;
ALTER TABLE meta ADD COLUMN audit_last INTEGER NOT NULL DEFAULT 0;      -- last sequence given
ALTER TABLE meta ADD COLUMN audit_entries INTEGER NOT NULL DEFAULT 0;   -- how many rows audit has
ALTER TABLE meta ADD COLUMN audit_refusals INTEGER NOT NULL DEFAULT 0;  -- of refused acts

UPDATE format SET version = 12;
