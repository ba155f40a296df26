-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.kept(text)') IS NOT NULL
