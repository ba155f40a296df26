SELECT tenancy.purge_batch($1, $2)
