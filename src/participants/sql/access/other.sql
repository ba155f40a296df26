-- The row of another tenant with this id.
SELECT uid, state FROM tenancy.access WHERE tenant_id = $1 AND uid <> $2
