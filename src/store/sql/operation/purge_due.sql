-- By the database's clock. Not while a child still names it.
SELECT t.tenant_id FROM tenant t
WHERE t.purge_time <= now() AND t.status = 'DELETED' AND t.operation_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM tenant c WHERE c.parent = t.tenant_id)
ORDER BY t.purge_time LIMIT $1
