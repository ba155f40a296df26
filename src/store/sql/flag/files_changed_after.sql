SELECT to_jsonb(f) AS flag_file FROM flag_file f WHERE revision > $1 AND revision <= $2
