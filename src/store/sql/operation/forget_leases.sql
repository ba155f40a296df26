DELETE FROM operation_lease l USING operation o
WHERE o.operation_id = l.operation_id AND o.state NOT IN ('RUNNING', 'REVERTING') AND l.expire_time < now()
