-- The beginning of every change: the revision that it takes if it changes anything. Before the first change of a
-- transaction, log/lock.sql noted the newest one; each change raises it (log/append.sql), and log/advance.sql moves the head there.
WITH RECURSIVE next AS MATERIALIZED (
    SELECT jsonb_build_object('revision', number) AS revision, number
    FROM (SELECT current_setting('tenantry.revision')::bigint + 1) AS newest (number)
),
