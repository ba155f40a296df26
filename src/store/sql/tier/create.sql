-- $8: the tier.
changed AS (
    INSERT INTO tier SELECT t.* FROM next, jsonb_populate_record(NULL::tier, $8::jsonb || next.revision) t
    ON CONFLICT (tier_id) DO NOTHING
    RETURNING tier_id
)
