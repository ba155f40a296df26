SELECT set_config('tenancy.tenant', $1, true)
