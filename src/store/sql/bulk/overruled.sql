SELECT tenant_uid, overruled FROM bulk_item WHERE bulk_id = $1 AND state = 'WAITING' AND overruled IS NOT NULL
