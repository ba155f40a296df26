-- While this lock is held, no newer state can be written.
SELECT 1 FROM tenancy.access WHERE tenant_id = $1 AND uid = $2 AND generation = $3 AND state = 'DELETED' FOR SHARE
