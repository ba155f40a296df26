SELECT tenancy.kept($1)
