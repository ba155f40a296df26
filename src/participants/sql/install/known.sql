-- The newest table: an older schema has none.
SELECT to_regclass('tenancy.part') IS NOT NULL
