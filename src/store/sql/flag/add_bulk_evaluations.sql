-- $1: [{flag_set, newest_flag_time, evaluations, last_time}]. In one order, so that two replicas do not wait for each
-- other in a circle.
INSERT INTO flag_bulk_evaluation
SELECT e.* FROM jsonb_populate_recordset(NULL::flag_bulk_evaluation, $1::jsonb) e
ORDER BY e.flag_set, e.newest_flag_time
ON CONFLICT (flag_set, newest_flag_time) DO UPDATE SET
    evaluations = flag_bulk_evaluation.evaluations + excluded.evaluations,
    last_time = greatest(flag_bulk_evaluation.last_time, excluded.last_time)
