-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.forget(text, uuid)') IS NOT NULL
