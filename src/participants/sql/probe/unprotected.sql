-- A table that no longer is protected; and the role of the application, or a login that is a member of it, whom policies do
-- not bind. Logins of a control plane are none of the application's: ours, and others that write the access row. And whether
-- the application could have its code run here. What is joined is text: for another type an application's operator could be
-- the nearest.
WITH RECURSIVE member (oid) AS (
    SELECT r.oid FROM pg_roles r WHERE r.rolname = $1::text
    UNION
    SELECT m.member FROM pg_auth_members m JOIN member ON member.oid = m.roleid
)
SELECT tenancy.unprotected($1::text), (
    SELECT r.rolname::text || CASE WHEN r.rolsuper THEN ' (superuser)' ELSE ' (BYPASSRLS)' END
    FROM member JOIN pg_roles r USING (oid)
    WHERE (r.rolsuper OR r.rolbypassrls)
      AND r.rolname <> session_user
      AND (r.rolname = $1::text
           OR (r.rolcanlogin AND (r.rolsuper OR NOT has_table_privilege(r.oid, 'tenancy.access', 'INSERT'))))
    ORDER BY r.rolname <> $1::text, r.rolname LIMIT 1), tenancy.overreach()
