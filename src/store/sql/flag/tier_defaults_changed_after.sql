SELECT jsonb_strip_nulls(to_jsonb(d)) AS tier_default FROM tier_default d WHERE revision > $1 AND revision <= $2
