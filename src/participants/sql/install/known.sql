-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.release(text)') IS NOT NULL
