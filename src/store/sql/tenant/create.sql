-- $8: {tenant, operation or null, lease_owner, lease_ms}. Needs the tier, and the parent where there is one; an id and
-- resource names that no other tenant has (migration 6).
changed AS (
    INSERT INTO tenant
    SELECT t.* FROM next, jsonb_populate_record(NULL::tenant, ($8::jsonb -> 'tenant') || next.revision) t
    WHERE EXISTS (SELECT 1 FROM tier WHERE tier_id = t.tier)
      AND (t.parent IS NULL OR EXISTS (SELECT 1 FROM tenant p WHERE p.tenant_id = t.parent AND p.status NOT IN ('ARCHIVED', 'DELETED')))
    ON CONFLICT DO NOTHING
    RETURNING tenant_id
), operation_made AS (
    INSERT INTO operation
    SELECT o.* FROM changed, next, jsonb_populate_record(NULL::operation, coalesce(nullif($8::jsonb -> 'operation', 'null'), '{}') || next.revision) o
    WHERE jsonb_typeof($8::jsonb -> 'operation') = 'object'
    RETURNING operation_id
), steps_made AS (
    INSERT INTO operation_step
    SELECT s.* FROM operation_made, jsonb_array_elements($8::jsonb -> 'operation' -> 'steps') e,
        jsonb_populate_record(NULL::operation_step, e || jsonb_build_object('operation_id', operation_made.operation_id)) s
    RETURNING target
), steps_noted AS (
    INSERT INTO target_reached SELECT DISTINCT target FROM steps_made s
    WHERE NOT EXISTS (SELECT 1 FROM target_reached r WHERE r.target = s.target)
    ON CONFLICT DO NOTHING
), leased AS (
    INSERT INTO operation_lease (operation_id, owner, epoch, expire_time)
    SELECT operation_id, ($8::jsonb ->> 'lease_owner')::uuid, 1,
        now() + ($8::jsonb ->> 'lease_ms')::integer * interval '1 millisecond'
    FROM operation_made
)
