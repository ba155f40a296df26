-- The process may be in another transaction by now, or another client's.
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE pid = $1 AND locktype = 'virtualxid' AND virtualxid = $2 AND virtualtransaction = $2
