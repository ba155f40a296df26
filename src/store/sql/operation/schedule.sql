-- $8: {operation}. An operation that begins later: the tenant stays as it is. The tier that it leads to is there until then.
changed AS (
    INSERT INTO operation
    SELECT o.* FROM next, jsonb_populate_record(NULL::operation, ($8::jsonb -> 'operation') || next.revision) o
    WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = o.tenant_id AND t.uid = o.tenant_uid)
      AND (o.details -> 'wish' ->> 'tier' IS NULL
        OR EXISTS (SELECT 1 FROM tier WHERE tier_id = o.details -> 'wish' ->> 'tier'))
    RETURNING operation_id
)
