-- $8: {tier_id, expected}. Refused while a tenant that could come back is on it; flags' defaults for it go with it.
changed AS (
    DELETE FROM tier t USING next
    WHERE t.tier_id = $8::jsonb ->> 'tier_id' AND t.revision = ($8::jsonb ->> 'expected')::bigint
      AND NOT EXISTS (SELECT 1 FROM tenant WHERE tenant.tier = t.tier_id)
    RETURNING tier_id
), defaults_gone AS (
    DELETE FROM tier_default d USING changed WHERE d.tier_id = changed.tier_id
)
