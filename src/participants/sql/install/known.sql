-- The newest table: an older schema has none.
SELECT to_regclass('tenancy.permitted') IS NOT NULL
