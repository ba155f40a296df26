SELECT state, generation FROM tenancy.access WHERE tenant_id = $1 AND uid = $2
