-- What came last: an older schema has none of it.
SELECT to_regclass('tenancy.permitted') IS NOT NULL
    AND EXISTS (SELECT 1 FROM pg_proc p WHERE p.oid = to_regprocedure('tenancy.resolve(text)') AND p.prosrc LIKE '%session_user%')
