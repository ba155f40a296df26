-- $8: {tier, expected}.
changed AS (
    UPDATE tier t SET
        display_name = g.display_name, description = g.description, rank = g.rank, limits = g.limits,
        sla_target = g.sla_target, support_level = g.support_level, cache_ttl_class = g.cache_ttl_class,
        version = g.version, update_time = g.update_time, revision = g.revision
    FROM next, jsonb_populate_record(NULL::tier, ($8::jsonb -> 'tier') || next.revision) g
    WHERE t.tier_id = g.tier_id AND t.revision = ($8::jsonb ->> 'expected')::bigint
    RETURNING t.tier_id
)
