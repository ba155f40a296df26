-- Transactions of the application that may see a tenant as it was before its change, or have written for it what is not
-- committed yet: those that hold a snapshot from before it (one whose oldest running transaction is the change, or older),
-- and those that have written anything, since nothing outside them tells what for, or with which snapshot. Those whom no
-- policy binds are left out. A session's transaction is named by its virtual number, which everybody may see. Whatever a
-- session prepares is among the prepared ones before it leaves the sessions: those are read first.
WITH held AS MATERIALIZED (
    -- Read only where a session counts.
    SELECT l.pid, l.virtualxid FROM pg_locks l WHERE l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction
),
-- Whom policies let in (`is_client`): also who was given `resolve` alone, or everybody (0).
reader AS MATERIALIZED (
    SELECT m.role FROM tenancy.admitted($3::text) m
    UNION ALL
    SELECT g.grantee FROM pg_proc p, aclexplode(p.proacl) g WHERE p.oid = 'tenancy.resolve(text)'::regprocedure
),
-- Transactions at a protected table. One whose login is no member may be there by way of a role that was taken from it meanwhile,
-- which it keeps until it gives it back; not so an owner's, and those that a policy of their own lets in.
at_work AS MATERIALIZED (
    SELECT l.pid, l.virtualtransaction,
        c.relowner || ARRAY(
            SELECT given.role FROM pg_policy p, unnest(p.polroles) AS given (role)
            WHERE p.polrelid = c.oid AND p.polpermissive AND given.role <> 0) AS let_in
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.relation IN (SELECT t::oid FROM tenancy.named_tables() AS t)
)
-- Numbers of transactions as bigints: their own type is sent to nobody.
SELECT a.xmin::text::bigint AS change, s.pid AS pid,
    -- Null where it has ended just now.
    (SELECT h.virtualxid FROM held h WHERE h.pid = s.pid LIMIT 1) AS transaction,
    -- As texts: for another type an application's operator could be the nearest. A number is shown of a login that is gone.
    coalesce(s.usename::text, s.usesysid::text) || coalesce(' (' || quote_literal(nullif(s.application_name, '')) || ')', '')
        || coalesce(' since ' || date_trunc('second', s.xact_start)::text, '') AS words,
    coalesce(age(s.backend_xmin) >= age(a.xmin), false) AS is_behind,
    -- With a snapshot that nobody can take any more: it had it before, or from one that had.
    coalesce(age(s.backend_xmin) >= age(a.xmin), false)
        AND age(pg_snapshot_xmin(pg_current_snapshot())::xid) < age(a.xmin) AS is_handed_on
FROM pg_stat_activity s
LEFT JOIN pg_roles r ON r.oid = s.usesysid
JOIN tenancy.access a ON a.tenant_id = $1 AND a.uid = $2
WHERE s.datname = current_database()
  AND s.pid <> pg_backend_pid()
  AND s.backend_type IS DISTINCT FROM 'parallel worker'
  AND s.usesysid IS NOT NULL
  AND NOT coalesce(r.rolsuper OR r.rolbypassrls, false)
  AND (EXISTS (SELECT 1 FROM reader m WHERE m.role = 0 OR pg_has_role(r.oid, m.role, 'MEMBER'))
       OR EXISTS (
           SELECT 1 FROM at_work w
           WHERE w.pid = s.pid
             AND NOT EXISTS (SELECT 1 FROM unnest(w.let_in) AS l (role) WHERE pg_has_role(r.oid, l.role, 'MEMBER'))))
  AND (s.backend_xid IS NOT NULL OR age(s.backend_xmin) >= age(a.xmin))
UNION ALL
SELECT a.xmin::text::bigint, NULL, p.transaction::text,
    quote_literal(p.gid) || ' of ' || p.owner::text || ' since ' || date_trunc('second', p.prepared)::text,
    -- Nobody can see with which snapshot it wrote.
    true, false
FROM pg_prepared_xacts p
LEFT JOIN pg_roles r ON r.rolname = p.owner
JOIN tenancy.access a ON a.tenant_id = $1 AND a.uid = $2
WHERE p.database = current_database()
  AND NOT coalesce(r.rolsuper OR r.rolbypassrls, false)
  AND (EXISTS (SELECT 1 FROM reader m WHERE m.role = 0 OR pg_has_role(r.oid, m.role, 'MEMBER'))
       OR EXISTS (
           -- It keeps its session's number until the server starts again.
           SELECT 1 FROM pg_locks l JOIN at_work w ON w.virtualtransaction = l.virtualtransaction AND w.pid IS NULL
           WHERE l.locktype = 'transactionid' AND l.transactionid = p.transaction AND l.pid IS NULL
             AND NOT EXISTS (SELECT 1 FROM unnest(w.let_in) AS l (role) WHERE pg_has_role(r.oid, l.role, 'MEMBER'))))
