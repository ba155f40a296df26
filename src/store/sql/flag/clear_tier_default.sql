-- $8: {flag_key, tier_id}.
changed AS (
    DELETE FROM tier_default USING next
    WHERE flag_key = $8::jsonb ->> 'flag_key' AND tier_id = $8::jsonb ->> 'tier_id'
    RETURNING flag_key
)
