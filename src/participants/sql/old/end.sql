-- The process may have another snapshot by now, or another client.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_xmin::text = $2
