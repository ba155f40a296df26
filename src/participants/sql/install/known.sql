-- The newest table and the newest function: an older schema lacks one.
SELECT to_regclass('tenancy.permitted') IS NOT NULL AND to_regprocedure('tenancy.says_whose(oid[])') IS NOT NULL
