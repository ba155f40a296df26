SELECT pg_notify('tenantry_log', '')
