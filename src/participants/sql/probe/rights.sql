-- A table that no longer is protected; a client of the application whom policies do not bind; whether the application could
-- have its code run here; and whether no table follows.
SELECT tenancy.unprotected($1::text), tenancy.unbound($1::text), tenancy.overreach(),
    NOT EXISTS (SELECT 1 FROM tenancy.named_tables())
