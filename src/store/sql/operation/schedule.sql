-- $8: {operation}. An operation that begins later: the tenant stays as it is.
changed AS (
    INSERT INTO operation
    SELECT o.* FROM next, jsonb_populate_record(NULL::operation, ($8::jsonb -> 'operation') || next.revision) o
    WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = o.tenant_id AND t.uid = o.tenant_uid)
    RETURNING operation_id
)
