SELECT tenancy.unprotected($1)
