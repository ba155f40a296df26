SELECT jsonb_strip_nulls(to_jsonb(o)) AS tenant_override FROM tenant_override o WHERE revision > $1 AND revision <= $2
