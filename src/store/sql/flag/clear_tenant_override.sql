-- $8: {flag_key, tenant_id}.
changed AS (
    DELETE FROM tenant_override USING next
    WHERE flag_key = $8::jsonb ->> 'flag_key' AND tenant_id = $8::jsonb ->> 'tenant_id'
    RETURNING flag_key
)
