SELECT to_jsonb(o) || jsonb_build_object('steps', coalesce(
    (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.target COLLATE "C") FROM operation_step s WHERE s.operation_id = o.operation_id),
    '[]'::jsonb)) AS operation
FROM operation o WHERE o.revision > $1
