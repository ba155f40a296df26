-- Operations that ended long ago are not in the view: they are read from here, a tenant's or all, newest first.

CREATE INDEX operation_unended ON operation (operation_id) WHERE finish_time IS NULL;
CREATE INDEX operation_by_tenant ON operation (tenant_id, operation_id);

-- An operation as it is read, and by what it is looked for.
CREATE VIEW operation_read AS
SELECT o.operation_id, o.tenant_id, o.state, o.finish_time, o.revision,
    to_jsonb(o) || jsonb_build_object('steps', coalesce(
        (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.target COLLATE "C") FROM operation_step s WHERE s.operation_id = o.operation_id),
        '[]'::jsonb)) AS operation
FROM operation o;

-- Why the first of those that failed did.
ALTER TABLE bulk_operation ADD COLUMN error text;
