-- Answers the leases that are still held; any other was taken over.
UPDATE operation_lease SET expire_time = now() + $2::bigint * interval '1 millisecond'
WHERE owner = $1 AND operation_id = ANY ($3)
RETURNING operation_id, epoch
