SELECT tenant_id, uid, display_name, description, parent, business_unit, cost_center, owner, contacts, tier,
    limit_overrides, sla_target, support_level, isolation_model, region, data_residency, compliance_frameworks,
    data_classification, encryption_key_ref, resource_names, time_zone, currency_code, monthly_budget, labels,
    annotations, status, status_time, status_reason, pending_status, operation_id, generation, creator, create_time,
    update_time, delete_time, purge_time, revision, placement,
    retain_time, undecided
FROM tenant WHERE revision > $1 AND revision <= $2
