-- Takes over operations whose owner went silent, longest silence first. Each take-over raises the epoch, so that a
-- write of the former owner finds nothing to change.
UPDATE operation_lease l SET owner = $1, epoch = l.epoch + 1, expire_time = now() + $2::bigint * interval '1 millisecond'
WHERE l.operation_id IN (
    SELECT c.operation_id FROM operation_lease c JOIN operation o USING (operation_id)
    WHERE c.expire_time < now() AND o.state IN ('RUNNING', 'REVERTING')
    ORDER BY c.expire_time LIMIT $3 FOR UPDATE OF c SKIP LOCKED
)
RETURNING l.operation_id, l.epoch
