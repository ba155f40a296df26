-- By the database's clock: replicas may disagree about the time.
SELECT operation_id FROM operation WHERE state = 'SCHEDULED' AND schedule_time <= now() ORDER BY schedule_time LIMIT $1
