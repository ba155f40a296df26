-- $8: {tenant, expected, operation, scheduled, superseded or null, deny or null, bulk or null, items, overruling or null,
-- children_overruling or null, lease_owner, lease_ms}. Opens an operation on a tenant that is as it was seen; one that is superseded ends in the same change. A
-- scheduled one begins only if nobody cancelled or began it. Towards less access, the access row of row-level security
-- closes with it (deny): nobody reads the new state before the database refuses. Children that follow are a bulk
-- operation that comes into being with it. Of a bulk operation itself, no tenant is begun that was taken out of it; who was
-- decided about now is taken out of older ones that have not begun it and lead elsewhere.
changed AS (
    UPDATE tenant t SET
        pending_status = g.pending_status, operation_id = g.operation_id, generation = g.generation,
        status = g.status, status_time = g.status_time, status_reason = g.status_reason,
        delete_time = g.delete_time, purge_time = g.purge_time, retain_time = g.retain_time, tier = g.tier, region = g.region,
        placement = g.placement, undecided = g.undecided, update_time = g.update_time, revision = g.revision
    FROM next, jsonb_populate_record(NULL::tenant, ($8::jsonb -> 'tenant') || next.revision) g
    WHERE t.tenant_id = g.tenant_id AND t.uid = g.uid AND t.revision = ($8::jsonb ->> 'expected')::bigint
      AND EXISTS (SELECT 1 FROM tier WHERE tier_id = g.tier)
      AND (NOT ($8::jsonb ->> 'scheduled')::boolean OR EXISTS (
          SELECT 1 FROM operation s
          WHERE s.operation_id = ($8::jsonb -> 'operation' ->> 'operation_id')::uuid AND s.state = 'SCHEDULED'))
      AND NOT EXISTS (
          SELECT 1 FROM bulk_item i
          WHERE i.bulk_id = ($8::jsonb -> 'operation' ->> 'bulk_id')::uuid AND i.tenant_uid = g.uid AND i.overruled IS NOT NULL)
    RETURNING t.tenant_id, t.uid
), superseded AS (
    UPDATE operation o SET
        state = s.state, error = s.error, update_time = s.update_time, finish_time = s.finish_time,
        revision = next.number
    FROM changed, next, jsonb_populate_record(NULL::operation, coalesce(nullif($8::jsonb -> 'superseded', 'null'), '{}')) s
    WHERE jsonb_typeof($8::jsonb -> 'superseded') = 'object' AND o.operation_id = s.operation_id
    RETURNING o.operation_id
), operation_made AS (
    INSERT INTO operation AS o
    -- Counting makes the end of the former operation come first: only one may be open.
    SELECT g.* FROM changed, next, (SELECT count(*) FROM superseded) ended,
        jsonb_populate_record(NULL::operation, ($8::jsonb -> 'operation') || next.revision) g
    ON CONFLICT (operation_id) DO UPDATE SET
        from_status = excluded.from_status, to_status = excluded.to_status, state = excluded.state,
        generation = excluded.generation, error = excluded.error, details = excluded.details,
        update_time = excluded.update_time, finish_time = excluded.finish_time, revision = excluded.revision
    WHERE o.state = 'SCHEDULED'
    RETURNING o.operation_id, o.state, o.bulk_id, o.tenant_uid
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
    FROM operation_made WHERE state IN ('RUNNING', 'REVERTING')
), bulk_made AS (
    INSERT INTO bulk_operation
    SELECT b.* FROM changed, next,
        jsonb_populate_record(NULL::bulk_operation, coalesce(nullif($8::jsonb -> 'bulk', 'null'), '{}') || next.revision) b
    WHERE jsonb_typeof($8::jsonb -> 'bulk') = 'object'
    RETURNING bulk_id
), items_made AS (
    INSERT INTO bulk_item
    SELECT i.* FROM bulk_made, jsonb_array_elements($8::jsonb -> 'items') WITH ORDINALITY e (item, place),
        jsonb_populate_record(NULL::bulk_item, item || jsonb_build_object('bulk_id', bulk_made.bulk_id, 'position', place)) i
), item_begun AS (
    UPDATE bulk_item i SET state = 'RUNNING', operation_id = o.operation_id
    FROM operation_made o WHERE i.bulk_id = o.bulk_id AND i.tenant_uid = o.tenant_uid
), overruled AS (
    UPDATE bulk_item i SET overruled = d.decision ->> 'why'
    FROM (
        SELECT changed.uid, $8::jsonb -> 'overruling' FROM changed
        UNION ALL
        SELECT (item ->> 'tenant_uid')::uuid, $8::jsonb -> 'children_overruling'
        FROM changed, jsonb_array_elements($8::jsonb -> 'items') item
        WHERE item ->> 'state' = 'WAITING'
    ) d (uid, decision),
        -- Looked up for each, here and below: a plan that joins reads all that wait, and every bulk operation there was.
        LATERAL (SELECT ctid, bulk_id FROM bulk_item WHERE tenant_uid = d.uid AND state = 'WAITING' OFFSET 0) w
    WHERE i.ctid = w.ctid AND i.overruled IS NULL AND (
        SELECT d.decision -> 'verbs' ? b.verb
            AND (b.verb, b.wish -> 'tier', b.wish -> 'to')
                IS DISTINCT FROM (d.decision ->> 'verb', d.decision -> 'wish' -> 'tier', d.decision -> 'wish' -> 'to')
        FROM bulk_operation b WHERE b.bulk_id = w.bulk_id)
), denied AS (
    UPDATE tenancy.access a SET state = $8::jsonb ->> 'deny', generation = ($8::jsonb -> 'tenant' ->> 'generation')::bigint
    FROM changed
    WHERE jsonb_typeof($8::jsonb -> 'deny') = 'string' AND a.tenant_id = changed.tenant_id
      AND a.uid = ($8::jsonb -> 'tenant' ->> 'uid')::uuid
      AND a.generation < ($8::jsonb -> 'tenant' ->> 'generation')::bigint
)
