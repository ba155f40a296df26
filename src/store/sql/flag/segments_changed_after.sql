SELECT to_jsonb(s) AS segment FROM segment s WHERE revision > $1 AND revision <= $2
