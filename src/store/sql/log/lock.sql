-- The revision is counted in a setting of the transaction: a row that is written for each change leaves a version of
-- itself each time, and none of them can be cleared away before the transaction has ended.
-- The newest entry says which log it is. It is not found where the lock was waited for: others wrote meanwhile. The time is
-- what the log notes of every change of this transaction.
WITH head AS (SELECT epoch, compacted_revision, revision FROM log_head FOR UPDATE)
SELECT head.epoch, head.compacted_revision, set_config('tenantry.revision', head.revision::text, true), now(),
    newest.request_id, newest.record_time
FROM head
-- By key, whatever the planner thinks of an empty table.
LEFT JOIN LATERAL (SELECT request_id, record_time FROM log WHERE revision = head.revision LIMIT 1) newest ON true
