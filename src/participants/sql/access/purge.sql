DELETE FROM tenancy.demo_document WHERE tenant_id = $1
