-- The newest table and function: an older schema has none.
SELECT to_regclass('tenancy.part') IS NOT NULL AND to_regprocedure('tenancy.loose()') IS NOT NULL
