-- The row by which access is proved.
INSERT INTO tenancy.demo_document (tenant_id, title)
SELECT $1, 'Welcome' WHERE NOT EXISTS (SELECT 1 FROM tenancy.demo_document WHERE tenant_id = $1)
