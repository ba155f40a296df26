-- $8: {flag, expected}. No default or override may be left without its variant.
WITH next AS (
    SELECT jsonb_build_object('revision', revision + 1) AS revision FROM log_head
), changed AS (
    UPDATE flag f SET
        description = g.description, variants = g.variants, default_variant = g.default_variant,
        safe_variant = g.safe_variant, state = g.state, owner = g.owner, labels = g.labels,
        version = g.version, update_time = g.update_time, revision = g.revision
    FROM next, jsonb_populate_record(NULL::flag, ($8::jsonb -> 'flag') || next.revision) g
    WHERE f.flag_key = g.flag_key AND f.revision = ($8::jsonb ->> 'expected')::bigint
      AND NOT EXISTS (SELECT 1 FROM tier_default d WHERE d.flag_key = g.flag_key AND NOT g.variants ? d.variant)
      AND NOT EXISTS (SELECT 1 FROM tenant_override o WHERE o.flag_key = g.flag_key AND NOT g.variants ? o.variant)
    RETURNING f.flag_key
)
