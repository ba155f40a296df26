SELECT count(*) FROM tenancy.probe
