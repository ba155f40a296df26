-- Those that have not ended, and so many that ended last.
SELECT operation FROM operation_read WHERE finish_time IS NULL
UNION ALL
(SELECT operation FROM operation_read WHERE finish_time IS NOT NULL ORDER BY revision DESC, operation_id DESC LIMIT $1)
