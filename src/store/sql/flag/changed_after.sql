SELECT to_jsonb(f) AS flag FROM flag f WHERE revision > $1
