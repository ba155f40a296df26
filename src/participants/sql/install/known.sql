SELECT to_regprocedure('tenancy.purge_batch(text, integer)') IS NOT NULL
