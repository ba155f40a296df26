SELECT to_jsonb(i) FROM bulk_item i WHERE i.bulk_id = $1 ORDER BY i.position
