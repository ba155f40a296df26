-- $8: {operation, expected, lease_epoch}. The end of a purge: with the operation's last step the tenant goes, and all
-- that only it had. Its id can be used again; the operation stays as the receipt. Not while a child still names it.
changed AS (
    UPDATE operation o SET
        state = g.state, error = g.error, update_time = g.update_time, finish_time = g.finish_time, revision = g.revision
    FROM next, jsonb_populate_record(NULL::operation, ($8::jsonb -> 'operation') || next.revision) g
    WHERE o.operation_id = g.operation_id AND o.revision = ($8::jsonb ->> 'expected')::bigint
      AND EXISTS (
          SELECT 1 FROM operation_lease l
          WHERE l.operation_id = o.operation_id AND l.epoch = ($8::jsonb ->> 'lease_epoch')::bigint)
      AND NOT EXISTS (SELECT 1 FROM tenant c WHERE c.parent = o.tenant_id)
    RETURNING o.operation_id, o.tenant_id, o.tenant_uid
), steps AS (
    UPDATE operation_step s SET
        state = g.state, observed = g.observed, attempts = g.attempts, last_error = g.last_error,
        next_attempt_time = g.next_attempt_time, verify_time = g.verify_time, verification = g.verification,
        skip_reason = g.skip_reason
    FROM changed, jsonb_populate_recordset(NULL::operation_step, $8::jsonb -> 'operation' -> 'steps') g
    WHERE s.operation_id = changed.operation_id AND s.target = g.target
), tenant_gone AS (
    DELETE FROM tenant t USING changed WHERE t.tenant_id = changed.tenant_id AND t.uid = changed.tenant_uid
), health_gone AS (
    DELETE FROM tenant_health h USING changed WHERE h.tenant_id = changed.tenant_id
), evaluations_gone AS (
    -- By way of the flags: the key begins with them.
    DELETE FROM flag_evaluation e USING changed, flag f
    WHERE e.flag_key = f.flag_key AND e.tenant_id = changed.tenant_id
), overrides_gone AS (
    DELETE FROM tenant_override v USING changed WHERE v.tenant_id = changed.tenant_id
), access_gone AS (
    DELETE FROM tenancy.access a USING changed WHERE a.tenant_id = changed.tenant_id AND a.uid = changed.tenant_uid
), never_begun AS (
    UPDATE operation o SET
        state = 'CANCELLED', error = 'the tenant was purged', update_time = now(), finish_time = now(),
        revision = next.number
    FROM changed, next WHERE o.tenant_uid = changed.tenant_uid AND o.state = 'SCHEDULED'
), released AS (
    DELETE FROM operation_lease l USING changed WHERE l.operation_id = changed.operation_id
)
