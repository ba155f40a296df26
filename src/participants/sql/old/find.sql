-- Sessions of the application that hold a snapshot from before the change: one whose oldest running transaction is the
-- change, or older. Those whom no policy binds are left out.
SELECT s.pid, s.backend_xmin::text, coalesce(s.xact_start::text, '')
FROM pg_stat_activity s
JOIN pg_roles r ON r.oid = s.usesysid
JOIN tenancy.access a ON a.tenant_id = $1 AND a.uid = $2
WHERE s.datname = current_database()
  AND s.pid <> pg_backend_pid()
  AND s.backend_type IS DISTINCT FROM 'parallel worker'
  AND NOT r.rolsuper
  AND NOT r.rolbypassrls
  AND pg_has_role(s.usesysid, $3::name, 'MEMBER')
  AND age(s.backend_xmin) >= age(a.xmin)
