-- Only where this is the newest change: an older one must not take away what a newer one gave.
DELETE FROM tenancy.demo_document WHERE tenant_id = $1 AND EXISTS (
    SELECT 1 FROM tenancy.access a WHERE a.tenant_id = $1 AND a.uid = $2 AND a.generation = $3)
