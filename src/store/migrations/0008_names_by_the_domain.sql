-- What a chosen name may look like concerns one tenant alone and is decided before anything is written
-- (src/domain/tenant/names.rs); names only come into being with their tenant. The check cost a fifth of the database's time
-- for a creation, because its expression was read anew for each statement. That no two tenants' names meet stays here:
-- only the database sees both.
ALTER TABLE tenant DROP CONSTRAINT tenant_names_are_own;
