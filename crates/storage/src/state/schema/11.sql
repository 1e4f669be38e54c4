-- The version of operations and rules, as the log has said it; NULL: it has said none.
ALTER TABLE meta ADD COLUMN cluster_version INTEGER;

-- Which builds can use this file although it has tables or columns that they do not know. It belongs
-- to the file, not to the state: no digest has it.
CREATE TABLE format (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,              -- of the tables, as the header of the file says it
    readable_from INTEGER NOT NULL         -- builds with this version of the tables, and later ones
) STRICT;

INSERT INTO format VALUES (1, 11, 11);
