-- Flags of flagd files. `origin`: the file, the definition as it stands there, whether it was changed here since; null of
-- a flag that was made here.
ALTER TABLE flag ADD COLUMN origin jsonb;

-- What a file says beside its flags. `head` is JSON, but kept as text: jsonb would not give it back to the letter.
CREATE TABLE flag_file (
    file_name text PRIMARY KEY,
    head text NOT NULL,
    revision bigint NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE INDEX flag_file_by_revision ON flag_file (revision);
