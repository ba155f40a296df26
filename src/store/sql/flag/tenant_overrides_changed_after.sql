SELECT to_jsonb(o) AS tenant_override FROM tenant_override o WHERE revision > $1
