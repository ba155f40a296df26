-- The head moves to the newest revision, if there is one.
UPDATE log_head SET revision = current_setting('tenantry.revision')::bigint
WHERE revision < current_setting('tenantry.revision')::bigint
