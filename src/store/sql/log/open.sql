-- The beginning of every change: the revision that it takes if it changes anything; none where its request was answered
-- before, and so no change: a commit whose end nobody saw can be tried again. Before the first change of a transaction,
-- log/lock.sql noted the newest one; each change raises it (log/append.sql), and log/advance.sql moves the head there.
WITH RECURSIVE next AS MATERIALIZED (
    SELECT jsonb_build_object('revision', number) AS revision, number
    FROM (SELECT current_setting('tenantry.revision')::bigint + 1) AS newest (number)
    WHERE NOT EXISTS (SELECT 1 FROM request WHERE request_id = $1::uuid)
),
