-- $8: the flag.
WITH next AS (
    SELECT jsonb_build_object('revision', revision + 1) AS revision FROM log_head
), changed AS (
    INSERT INTO flag SELECT f.* FROM next, jsonb_populate_record(NULL::flag, $8::jsonb || next.revision) f
    ON CONFLICT (flag_key) DO NOTHING
    RETURNING flag_key
)
