-- By the database's clock: what would be purged, but for children that still name it.
SELECT t.tenant_id FROM tenant t
WHERE t.purge_time <= now() AND t.status = 'DELETED' AND t.operation_id IS NULL
  AND EXISTS (SELECT 1 FROM tenant c WHERE c.parent = t.tenant_id)
ORDER BY t.purge_time LIMIT $1
