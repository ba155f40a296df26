SELECT to_jsonb(t) AS tier FROM tier t WHERE revision > $1 AND revision <= $2
