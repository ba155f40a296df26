-- Without the columns that are null: a program of the version before leaves them so.
SELECT (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(to_jsonb(f)) e WHERE e.value <> 'null'::jsonb) AS flag
FROM flag f WHERE revision > $1 AND revision <= $2
