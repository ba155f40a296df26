SELECT tenancy.leftover($1)
