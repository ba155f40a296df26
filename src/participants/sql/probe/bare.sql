SELECT NOT EXISTS (SELECT 1 FROM tenancy.tenant_tables())
