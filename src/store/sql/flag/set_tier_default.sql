-- $8: the default with the variants it can give. Needs the tier, the flag and its variants.
changed AS (
    INSERT INTO tier_default
    SELECT d.* FROM next, jsonb_populate_record(NULL::tier_default, $8::jsonb || next.revision) d
    WHERE EXISTS (SELECT 1 FROM tier WHERE tier_id = d.tier_id)
      AND EXISTS (SELECT 1 FROM flag f WHERE f.flag_key = d.flag_key AND f.variants ?& d.variants)
    ON CONFLICT (flag_key, tier_id) DO UPDATE SET
        variant = excluded.variant, rollout = excluded.rollout, variants = excluded.variants,
        revision = excluded.revision
    RETURNING flag_key
)
