SELECT to_jsonb(c) FROM target_control c WHERE c.revision > $1 AND c.revision <= $2
