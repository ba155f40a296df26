-- $1: flag keys. A bulk evaluation counts for a flag that was there, and in the set where only one was asked for.
SELECT f.flag_key, coalesce(own.evaluations, 0)::bigint, coalesce(bulk.evaluations, 0)::bigint,
       coalesce(own.tenants, 0)::bigint, greatest(own.last_time, bulk.last_time), coalesce(latest.tenants, '[]'::jsonb)
FROM flag f
LEFT JOIN LATERAL (
    SELECT sum(e.evaluations) AS evaluations, count(*) FILTER (WHERE e.tenant_id <> '') AS tenants,
           max(e.last_time) AS last_time
    FROM flag_evaluation e WHERE e.flag_key = f.flag_key
) own ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(to_jsonb(e) ORDER BY e.last_time DESC, e.tenant_id) AS tenants
    FROM (SELECT e.tenant_id, e.evaluations, e.last_time FROM flag_evaluation e
          WHERE e.flag_key = f.flag_key AND e.tenant_id <> '' ORDER BY e.last_time DESC, e.tenant_id LIMIT 20) e
) latest ON true
LEFT JOIN LATERAL (
    SELECT sum(e.evaluations) AS evaluations, max(e.last_time) AS last_time
    FROM flag_bulk_evaluation e
    WHERE e.newest_flag_time >= f.create_time
        AND (e.flag_set IS NULL OR e.flag_set = coalesce(f.flag_set, ''))
) bulk ON true
WHERE f.flag_key = ANY($1::text[])
