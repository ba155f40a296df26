-- The youngest that is not at hand.
SELECT operation_id FROM operation
WHERE finish_time IS NOT NULL AND (revision, operation_id) < (
    SELECT revision, operation_id FROM operation WHERE finish_time IS NOT NULL
    ORDER BY revision DESC, operation_id DESC OFFSET $1 - 1 LIMIT 1)
ORDER BY operation_id DESC LIMIT 1
