-- Every transaction that is open in this database: of a session, whether it has written, and the oldest that it sees as running; and the
-- prepared ones, which are no session's.
SELECT s.pid, l.virtualxid, s.backend_xid IS NOT NULL, s.backend_xmin::text::bigint
FROM pg_stat_activity s JOIN pg_locks l ON l.pid = s.pid AND l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction
WHERE s.datname = current_database()
UNION ALL
SELECT NULL, p.transaction::text, true, NULL FROM pg_prepared_xacts p WHERE p.database = current_database()
