-- As if they had run out just now. One whose operation is ending right now is left as it is: it ends, or runs out.
UPDATE operation_lease SET expire_time = now() - interval '1 microsecond'
WHERE operation_id IN (SELECT operation_id FROM operation_lease WHERE owner = $1 FOR UPDATE SKIP LOCKED)
