-- $8: {tenant, expected}. All that can be set; needs the tier, and a new parent that is there and not below the tenant. The parent
-- that it has stays, whatever became of it.
given AS (
    SELECT t.* FROM next, jsonb_populate_record(NULL::tenant, ($8::jsonb -> 'tenant') || next.revision) t
), above (tenant_id) AS (
    SELECT given.parent FROM given WHERE given.parent IS NOT NULL
    UNION
    SELECT p.parent FROM above JOIN tenant p ON p.tenant_id = above.tenant_id WHERE p.parent IS NOT NULL
), changed AS (
    UPDATE tenant t SET (
        display_name, description, parent, business_unit, cost_center, owner, contacts, tier, limit_overrides,
        sla_target, support_level, isolation_model, region, data_residency, compliance_frameworks,
        data_classification, encryption_key_ref, time_zone, currency_code, monthly_budget, labels, annotations,
        update_time, revision
    ) = (
        SELECT g.display_name, g.description, g.parent, g.business_unit, g.cost_center, g.owner, g.contacts, g.tier,
            g.limit_overrides, g.sla_target, g.support_level, g.isolation_model, g.region, g.data_residency,
            g.compliance_frameworks, g.data_classification, g.encryption_key_ref, g.time_zone, g.currency_code,
            g.monthly_budget, g.labels, g.annotations, g.update_time, g.revision
        FROM given g
    )
    FROM given
    WHERE t.tenant_id = given.tenant_id AND t.revision = ($8::jsonb ->> 'expected')::bigint
      AND EXISTS (SELECT 1 FROM tier WHERE tier_id = given.tier)
      AND (given.parent IS NULL OR given.parent = t.parent
        OR EXISTS (SELECT 1 FROM tenant p WHERE p.tenant_id = given.parent AND p.status NOT IN ('ARCHIVED', 'DELETED')))
      AND NOT EXISTS (SELECT 1 FROM above WHERE above.tenant_id = given.tenant_id)
    RETURNING t.tenant_id
)
