-- The row by which access is proved; only where this is the newest change.
INSERT INTO tenancy.demo_document (tenant_id, title)
SELECT $1, 'Welcome' WHERE NOT EXISTS (SELECT 1 FROM tenancy.demo_document WHERE tenant_id = $1) AND EXISTS (
    SELECT 1 FROM tenancy.access a WHERE a.tenant_id = $1 AND a.uid = $2 AND a.generation = $3)
