-- Never waits for a row, as it holds others.
DELETE FROM operation_lease WHERE operation_id IN (
    SELECT l.operation_id FROM operation_lease l JOIN operation o USING (operation_id)
    WHERE o.state NOT IN ('RUNNING', 'REVERTING') AND l.expire_time < now() FOR UPDATE OF l SKIP LOCKED
)
