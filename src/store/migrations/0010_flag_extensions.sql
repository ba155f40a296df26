-- The longer lives that a flag was given, oldest first. Null where there are none, and where a program of the version before
-- makes a flag; what such a program changes of a flag leaves them.
ALTER TABLE flag ADD COLUMN extensions jsonb;
