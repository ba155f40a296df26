-- Sessions whose lock on a table of ours, on a protected one, or on one that is a part of such a one or refers to it, keeps even our
-- reading or writing of rows out.
WITH RECURSIVE gone_to (relation) AS (
    SELECT t::oid FROM tenancy.named_tables() AS t
    UNION
    SELECT further.relation
    FROM gone_to g JOIN (
        SELECT k.confrelid, k.conrelid FROM pg_constraint k WHERE k.contype = 'f'
        UNION ALL
        SELECT i.inhparent, i.inhrelid FROM pg_inherits i
    ) AS further (above, relation) ON further.above = g.relation
)
SELECT DISTINCT l.pid, c.oid::regclass::text AS relation
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.locktype = 'relation'
  AND l.granted
  AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND (c.relnamespace = 'tenancy'::regnamespace OR c.oid IN (SELECT g.relation FROM gone_to g))
  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
ORDER BY l.pid, relation LIMIT 5
