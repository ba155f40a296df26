-- $1: flag keys. A bulk evaluation before the flag was made does not count for it.
SELECT f.flag_key, coalesce(own.evaluations, 0)::bigint, coalesce(bulk.evaluations, 0)::bigint,
       coalesce(own.tenants, 0)::bigint, greatest(own.last_time, bulk.last_time)
FROM flag f
LEFT JOIN LATERAL (
    SELECT sum(e.evaluations) AS evaluations, count(*) FILTER (WHERE e.tenant_id <> '') AS tenants,
           max(e.last_time) AS last_time
    FROM flag_evaluation e WHERE e.flag_key = f.flag_key
) own ON true
LEFT JOIN LATERAL (
    SELECT sum(e.evaluations) AS evaluations, max(e.last_time) AS last_time
    FROM flag_evaluation e WHERE e.flag_key = '' AND e.last_time >= f.create_time
) bulk ON true
WHERE f.flag_key = ANY($1::text[])
