-- $8: {flag_key, expected}. Its defaults and overrides go with it.
WITH changed AS (
    DELETE FROM flag f
    WHERE f.flag_key = $8::jsonb ->> 'flag_key' AND f.revision = ($8::jsonb ->> 'expected')::bigint
    RETURNING flag_key
), defaults_gone AS (
    DELETE FROM tier_default d USING changed WHERE d.flag_key = changed.flag_key
), overrides_gone AS (
    DELETE FROM tenant_override o USING changed WHERE o.flag_key = changed.flag_key
)
