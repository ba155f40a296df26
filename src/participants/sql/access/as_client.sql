SET LOCAL ROLE tenantry_app
