-- $8: {bulk, expected, owner or null, items}. By the replica that drives it, or (owner null) by an operator; only the
-- items that changed.
changed AS (
    UPDATE bulk_operation b SET
        state = g.state, waiting = g.waiting, running = g.running, needs_operator = g.needs_operator,
        succeeded = g.succeeded, failed = g.failed, overruled = g.overruled, error = g.error, update_time = g.update_time, finish_time = g.finish_time,
        revision = g.revision
    FROM next, jsonb_populate_record(NULL::bulk_operation, ($8::jsonb -> 'bulk') || next.revision) g
    WHERE b.bulk_id = g.bulk_id AND b.revision = ($8::jsonb ->> 'expected')::bigint
      AND (jsonb_typeof($8::jsonb -> 'owner') = 'null' OR EXISTS (
          SELECT 1 FROM background_work w
          WHERE w.work = 'bulk/' || b.bulk_id AND w.owner = ($8::jsonb ->> 'owner')::uuid))
    RETURNING b.bulk_id, b.state
), items AS (
    UPDATE bulk_item i SET state = g.state, operation_id = g.operation_id, error = g.error
    FROM changed, jsonb_populate_recordset(NULL::bulk_item, $8::jsonb -> 'items') g
    WHERE i.bulk_id = changed.bulk_id AND i.tenant_uid = g.tenant_uid
      -- It was begun, and its driver does not know yet.
      AND NOT (g.operation_id IS NULL AND i.operation_id IS NOT NULL)
), released AS (
    DELETE FROM background_work w USING changed
    WHERE w.work = 'bulk/' || changed.bulk_id AND changed.state NOT IN ('RUNNING', 'CANCELLING')
)
