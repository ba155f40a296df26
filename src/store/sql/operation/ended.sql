-- Planned for the values at hand, so that what is not asked for costs nothing.
SELECT operation FROM operation_read
WHERE finish_time IS NOT NULL AND operation_id <= $1 AND ($2::uuid IS NULL OR operation_id < $2)
    AND ($3::text IS NULL OR tenant_id = $3) AND ($4::text IS NULL OR state = $4)
ORDER BY operation_id DESC LIMIT $5
