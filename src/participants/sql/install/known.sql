-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.unprotected(text)') IS NOT NULL
