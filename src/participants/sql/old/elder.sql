-- The longest writer that is open and began before a tenant's change, of whichever login and database, but for some processes.
SELECT l.pid
FROM pg_locks l JOIN tenancy.access a ON a.tenant_id = $1 AND a.uid = $2
WHERE l.locktype = 'transactionid' AND l.granted AND l.pid IS NOT NULL AND l.pid <> ALL ($3::integer[])
  AND age(l.transactionid) > age(a.xmin)
ORDER BY age(l.transactionid) DESC LIMIT 1
