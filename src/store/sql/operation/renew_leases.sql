-- Answers the leases that are still held; any other was taken over. One whose operation is ending right now is left as
-- it is: waiting for the writer's transaction while it may wait for a lease renewed here would be a deadlock.
WITH mine AS (
    SELECT operation_id FROM operation_lease WHERE owner = $1 AND operation_id = ANY ($3) FOR UPDATE SKIP LOCKED
), renewed AS (
    UPDATE operation_lease l SET expire_time = now() + $2::bigint * interval '1 millisecond'
    FROM mine WHERE l.operation_id = mine.operation_id
)
SELECT operation_id, epoch FROM operation_lease WHERE owner = $1 AND operation_id = ANY ($3)
