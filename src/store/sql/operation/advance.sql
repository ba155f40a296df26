-- $8: {operation, expected, lease_epoch or null, tenant or null}. On the operation as it was seen, by the owner of the
-- lease, or (lease_epoch null) by an operator; the tenant follows in the same change where the operation ended or turned
-- back. Of a tenant's own fields only those are written that the verb is about: others may be changing them. What an
-- operator sets going again gets a lease that has run out, for whoever sweeps next.
changed AS (
    UPDATE operation o SET
        state = g.state, generation = g.generation, error = g.error, backward = g.backward,
        abort_reason = g.abort_reason, details = g.details, update_time = g.update_time, finish_time = g.finish_time, revision = g.revision
    FROM next, jsonb_populate_record(NULL::operation, ($8::jsonb -> 'operation') || next.revision) g
    WHERE o.operation_id = g.operation_id AND o.revision = ($8::jsonb ->> 'expected')::bigint
      AND (jsonb_typeof($8::jsonb -> 'lease_epoch') = 'null' OR EXISTS (
          SELECT 1 FROM operation_lease l
          WHERE l.operation_id = o.operation_id AND l.epoch = ($8::jsonb ->> 'lease_epoch')::bigint))
    RETURNING o.operation_id, o.state, o.verb
), steps AS (
    UPDATE operation_step s SET
        desired = g.desired, state = g.state, observed = g.observed, attempts = g.attempts,
        last_error = g.last_error, next_attempt_time = g.next_attempt_time, verify_time = g.verify_time,
        verification = g.verification, skip_reason = g.skip_reason
    FROM changed, jsonb_populate_recordset(NULL::operation_step, $8::jsonb -> 'operation' -> 'steps') g
    WHERE s.operation_id = changed.operation_id AND s.target = g.target
), steps_added AS (
    -- A repair can find more than it began with.
    INSERT INTO operation_step
    SELECT s.* FROM changed, jsonb_array_elements($8::jsonb -> 'operation' -> 'steps') e,
        jsonb_populate_record(NULL::operation_step, e || jsonb_build_object('operation_id', changed.operation_id)) s
    WHERE jsonb_typeof($8::jsonb -> 'lease_epoch') = 'null'
    ON CONFLICT (operation_id, target) DO NOTHING
    RETURNING target
), steps_noted AS (
    INSERT INTO target_reached SELECT DISTINCT target FROM steps_added s
    WHERE NOT EXISTS (SELECT 1 FROM target_reached r WHERE r.target = s.target)
    ON CONFLICT DO NOTHING
), tenant_followed AS (
    UPDATE tenant t SET
        pending_status = g.pending_status, operation_id = g.operation_id, generation = g.generation,
        status = g.status, status_time = g.status_time, status_reason = g.status_reason,
        delete_time = g.delete_time, purge_time = g.purge_time, retain_time = g.retain_time,
        tier = CASE WHEN changed.verb = 'CHANGE_TIER' THEN g.tier ELSE t.tier END,
        region = CASE WHEN changed.verb LIKE 'FINISH_MIGRATION%' THEN g.region ELSE t.region END,
        placement = g.placement, undecided = g.undecided, update_time = g.update_time, revision = next.number
    FROM changed, next, jsonb_populate_record(NULL::tenant, coalesce(nullif($8::jsonb -> 'tenant', 'null'), '{}')) g
    WHERE jsonb_typeof($8::jsonb -> 'tenant') = 'object' AND t.tenant_id = g.tenant_id AND t.uid = g.uid
), leased AS (
    INSERT INTO operation_lease (operation_id, owner, epoch, expire_time)
    SELECT operation_id, operation_id, 1, now() FROM changed
    WHERE state IN ('RUNNING', 'REVERTING') AND jsonb_typeof($8::jsonb -> 'lease_epoch') = 'null'
    ON CONFLICT (operation_id) DO NOTHING
), released AS (
    DELETE FROM operation_lease l USING changed
    WHERE l.operation_id = changed.operation_id AND changed.state NOT IN ('RUNNING', 'REVERTING')
)
