DELETE FROM request WHERE request_id IN (
    SELECT request_id FROM request WHERE create_time < now() - interval '24 hours' ORDER BY create_time LIMIT 1000
)
