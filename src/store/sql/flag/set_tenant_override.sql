-- $8: the override with the variants it can give. Needs the tenant, not deleted, the flag and its variants.
changed AS (
    INSERT INTO tenant_override
    SELECT o.* FROM next, jsonb_populate_record(NULL::tenant_override, $8::jsonb || next.revision) o
    WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = o.tenant_id AND t.status <> 'DELETED')
      AND EXISTS (SELECT 1 FROM flag f WHERE f.flag_key = o.flag_key AND f.variants ?& o.variants)
    ON CONFLICT (tenant_id, flag_key) DO UPDATE SET
        variant = excluded.variant, rollout = excluded.rollout, variants = excluded.variants,
        reason = excluded.reason, expire_time = excluded.expire_time,
        update_time = excluded.update_time, revision = excluded.revision
    RETURNING flag_key
)
