-- Which voters acknowledgements wait for. 1: all; NULL: a majority.
ALTER TABLE meta ADD COLUMN ack_all INTEGER;

UPDATE format SET version = 12;
