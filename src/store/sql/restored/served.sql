-- Until when a replica holds a lease, in microseconds since 1970, null where none does; and how many connections replicas have, as
-- far as our user may see. One that was just started, or lost the database for a moment, holds no lease yet.
SELECT
    (SELECT (extract(epoch FROM max(expire_time)) * 1000000)::bigint
        FROM (SELECT expire_time FROM operation_lease UNION ALL SELECT expire_time FROM background_work) lease
        WHERE expire_time > now()),
    (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'tenantry' AND pid <> pg_backend_pid())
