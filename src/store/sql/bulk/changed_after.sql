SELECT to_jsonb(b) FROM bulk_operation b WHERE b.revision > $1 AND b.revision <= $2
