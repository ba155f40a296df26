-- $1: a decision, $2: a tenant. The newest bulk operation in which the tenant waits and that leads elsewhere.
SELECT b.bulk_id, b.verb
FROM bulk_item i JOIN bulk_operation b USING (bulk_id)
WHERE i.tenant_uid = $2 AND i.state = 'WAITING' AND i.overruled IS NULL AND b.state = 'RUNNING'
  AND $1::jsonb -> 'verbs' ? b.verb
  AND (b.verb, b.wish -> 'tier', b.wish -> 'to')
      IS DISTINCT FROM ($1::jsonb ->> 'verb', $1::jsonb -> 'wish' -> 'tier', $1::jsonb -> 'wish' -> 'to')
ORDER BY b.bulk_id DESC LIMIT 1
