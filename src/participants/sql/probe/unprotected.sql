-- A table that no longer is protected; a client of the application whom policies do not bind; and whether the application could
-- have its code run here.
SELECT tenancy.unprotected($1::text), tenancy.unbound($1::text), tenancy.overreach()
