-- The revision is counted in a setting of the transaction: a row that is written for each change leaves a version of
-- itself each time, and none of them can be cleared away before the transaction has ended.
WITH head AS (SELECT epoch, compacted_revision, revision FROM log_head FOR UPDATE)
SELECT epoch, compacted_revision, set_config('tenantry.revision', revision::text, true) FROM head
