-- Without a condition, so that only policies decide.
UPDATE tenancy.probe SET tenant_id = tenant_id
