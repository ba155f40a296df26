SELECT operation FROM operation_read WHERE operation_id = ANY ($1)
