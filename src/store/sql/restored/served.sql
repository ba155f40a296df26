-- Until when a replica holds a lease, in microseconds since 1970; null where none does.
SELECT (extract(epoch FROM max(expire_time)) * 1000000)::bigint
FROM (SELECT expire_time FROM operation_lease UNION ALL SELECT expire_time FROM background_work) lease
WHERE expire_time > now()
