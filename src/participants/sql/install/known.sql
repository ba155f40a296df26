-- The newest function: an older schema has none.
SELECT to_regprocedure('tenancy.overreach()') IS NOT NULL
