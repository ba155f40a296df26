-- $8: the tier.
WITH next AS (
    SELECT jsonb_build_object('revision', revision + 1) AS revision FROM log_head
), changed AS (
    INSERT INTO tier SELECT t.* FROM next, jsonb_populate_record(NULL::tier, $8::jsonb || next.revision) t
    ON CONFLICT (tier_id) DO NOTHING
    RETURNING tier_id
)
