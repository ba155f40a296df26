-- $1: [{flag_key, tenant_id, evaluations, last_time}]. In the order of keys, so that two replicas do not wait for each
-- other in a circle. What was counted for a tenant that is purged by now goes with it.
INSERT INTO flag_evaluation
SELECT e.* FROM jsonb_populate_recordset(NULL::flag_evaluation, $1::jsonb) e
WHERE e.tenant_id = '' OR EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = e.tenant_id)
ORDER BY e.flag_key, e.tenant_id
ON CONFLICT (flag_key, tenant_id) DO UPDATE SET
    evaluations = flag_evaluation.evaluations + excluded.evaluations,
    last_time = greatest(flag_evaluation.last_time, excluded.last_time)
