SELECT tenancy.admit($1)
