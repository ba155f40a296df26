-- What was counted so long ago decides nothing any more: a flag that nobody asked for since is stale either way.
DELETE FROM flag_bulk_evaluation WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM flag_bulk_evaluation WHERE last_time < now() - interval '400 days'
    LIMIT 1000 FOR UPDATE SKIP LOCKED
))
