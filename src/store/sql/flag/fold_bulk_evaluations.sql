-- Rows that count for the same flags become one: each is moved to the newest flag that is still there, of its set and no
-- newer than the one it was counted under. What counts for no flag goes. Only rows that nobody has added to for a day, so
-- that no replica waits for this while this waits for it.
WITH made AS (
    SELECT NULL AS flag_set, create_time FROM flag
    UNION ALL
    SELECT coalesce(flag_set, ''), create_time FROM flag
), placed AS (
    SELECT flag_set, newest_flag_time, is_counted,
           max(made_at) OVER (PARTITION BY flag_set ORDER BY newest_flag_time) AS same_as
    FROM (
        SELECT flag_set, create_time AS newest_flag_time, create_time AS made_at, false AS is_counted FROM made
        UNION ALL
        SELECT flag_set, newest_flag_time, NULL, true FROM flag_bulk_evaluation
        WHERE last_time < now() - interval '1 day'
    ) moments
), moved AS (
    SELECT flag_set, newest_flag_time, same_as FROM placed
    WHERE is_counted AND same_as IS DISTINCT FROM newest_flag_time
    ORDER BY flag_set, newest_flag_time
    LIMIT 1000
), gone AS (
    DELETE FROM flag_bulk_evaluation e USING moved m
    WHERE e.flag_set IS NOT DISTINCT FROM m.flag_set AND e.newest_flag_time = m.newest_flag_time
        AND e.last_time < now() - interval '1 day'
    RETURNING e.flag_set, m.same_as, e.evaluations, e.last_time
), added AS (
    INSERT INTO flag_bulk_evaluation
    SELECT flag_set, same_as, sum(evaluations)::bigint, max(last_time) FROM gone
    WHERE same_as IS NOT NULL GROUP BY flag_set, same_as
    ON CONFLICT (flag_set, newest_flag_time) DO UPDATE SET
        evaluations = flag_bulk_evaluation.evaluations + excluded.evaluations,
        last_time = greatest(flag_bulk_evaluation.last_time, excluded.last_time)
)
SELECT count(*) FROM gone
