-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.unbound(text)') IS NOT NULL
