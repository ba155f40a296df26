-- $1: a decision. Tenants that wait in bulk operations which lead elsewhere.
SELECT DISTINCT i.tenant_uid
FROM bulk_item i JOIN bulk_operation b USING (bulk_id)
WHERE i.state = 'WAITING' AND i.overruled IS NULL AND b.state = 'RUNNING' AND $1::jsonb -> 'verbs' ? b.verb
  AND (b.verb, b.wish -> 'tier', b.wish -> 'to')
      IS DISTINCT FROM ($1::jsonb ->> 'verb', $1::jsonb -> 'wish' -> 'tier', $1::jsonb -> 'wish' -> 'to')
