-- $8: {tier_id, expected, defaults}. Refused while a tenant is on it, a deleted one too, since it could come back; while an
-- operation that has not ended leads to it, or has begun and comes from it; and while a bulk operation still begins tenants
-- that it leads there (Operation::needs_tier, Bulk::needs_tier). As many defaults of flags go with it as were told.
changed AS (
    DELETE FROM tier t USING next
    WHERE t.tier_id = $8::jsonb ->> 'tier_id' AND t.revision = ($8::jsonb ->> 'expected')::bigint
      AND NOT EXISTS (SELECT 1 FROM tenant WHERE tenant.tier = t.tier_id)
      AND NOT EXISTS (
          SELECT 1 FROM operation o
          WHERE o.finish_time IS NULL AND (
              o.details -> 'wish' ->> 'tier' = t.tier_id
              OR (o.state <> 'SCHEDULED'
                  AND t.tier_id IN (o.details -> 'tier' ->> 'from', o.details -> 'tier' ->> 'to'))))
      AND NOT EXISTS (
          SELECT 1 FROM bulk_operation b WHERE b.state = 'RUNNING' AND b.wish ->> 'tier' = t.tier_id)
      AND (SELECT count(*) FROM tier_default d WHERE d.tier_id = t.tier_id) = ($8::jsonb ->> 'defaults')::bigint
    RETURNING tier_id
), defaults_gone AS (
    DELETE FROM tier_default d USING changed WHERE d.tier_id = changed.tier_id
)
