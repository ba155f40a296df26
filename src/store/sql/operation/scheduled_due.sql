-- By the database's clock: replicas may disagree about the time.
-- All of them, however many: those that wait for the end of another operation must not hide the others.
SELECT operation_id FROM operation WHERE state = 'SCHEDULED' AND schedule_time <= now() ORDER BY schedule_time
