-- The targets that a tenant's operations reached, but for $3, and of each what became of it last. Generations say which
-- operation began last: one that was scheduled is older by its id. Skipped in a repair, a target is taken as it is. Looked up
-- for each operation: a plan that joins reads all steps.
SELECT DISTINCT ON (s.target) s.target, o.generation, s.state = 'SKIPPED' AND o.verb <> 'REPAIR'
FROM operation o, LATERAL (
    SELECT target, state FROM operation_step
    WHERE operation_id = o.operation_id AND target <> ALL ($3) OFFSET 0) s
WHERE o.tenant_id = $1 AND o.tenant_uid = $2
ORDER BY s.target, o.generation DESC, o.operation_id DESC
