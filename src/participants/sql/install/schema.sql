-- What an application's database needs so that its rows follow a tenant's state. Safe to run again; `install = true` of a
-- target runs it where the schema is missing.
--
-- The tables of the application follow by `SELECT tenancy.protect('schema.table')` for each table that has a column
-- `tenant_id text`. An application's transaction says whose it is: `SELECT set_config('tenancy.tenant', $1, true)`.

-- No name here is to lead to what somebody put into a schema of the session's path: an operator that fits more exactly than the
-- server's own would run as us. The end puts the path back.
SELECT pg_catalog.set_config('tenancy.path', pg_catalog.current_setting('search_path'), false);
SET search_path = pg_catalog, pg_temp;

-- Nothing is taken over that somebody put here beforehand: whoever owns a table of ours lets in whom it likes. What is ours belongs
-- to whoever runs this, or to one who sees every row anyway.
DO $$
DECLARE
    what text;
    whose text;
BEGIN
    SELECT o.what, r.rolname INTO what, whose
    FROM (
        SELECT 'the schema tenancy', n.nspowner, 0 FROM pg_namespace n WHERE n.nspname = 'tenancy'
        UNION ALL
        SELECT 'tenancy.' || c.relname, c.relowner, 1 FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('tenancy') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT 'tenancy.' || p.proname, p.proowner, 2 FROM pg_proc p WHERE p.pronamespace = to_regnamespace('tenancy')
    ) AS o (what, owner, place) JOIN pg_roles r ON r.oid = o.owner
    WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname <> current_user
    ORDER BY o.place, o.what LIMIT 1;
    IF what IS NOT NULL THEN
        RAISE EXCEPTION '% is there already and belongs to %, who could let tenants in: drop it, or give it to our database user, after a '
            'look at what it is', what, whose
        USING ERRCODE = 'TN003';
    END IF;
END
$$;

-- The right to make it is asked for even where it is there, as in a database that was moved.
DO $$
BEGIN
    IF to_regnamespace('tenancy') IS NULL THEN
        CREATE SCHEMA tenancy;
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS tenancy.access (
    tenant_id text PRIMARY KEY,
    uid uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('ACTIVE', 'READ_ONLY', 'SUSPENDED', 'ARCHIVED', 'DELETED')),
    generation bigint NOT NULL
);

-- Whether the login of this session is one of those who may ask `resolve`, or a member of one: now, and when the snapshot of the
-- statement was taken. The former is not read from a snapshot, and a session keeps a role that it has set, or that a function of its own
-- acts as, when that is taken from its login. The latter is: one that becomes a member later could see a tenant as it was before a
-- change that waited for members alone. The first look finds most. Each statement of the application asks, so this is within `resolve`
-- alone, whose owner it runs as and whose path it has.
CREATE OR REPLACE FUNCTION tenancy.is_client() RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    login oid := to_regrole(quote_ident(session_user));
    ask oid[];
BEGIN
    IF EXISTS (
        SELECT 1 FROM pg_proc p
        WHERE p.oid = 'tenancy.resolve(text)'::regprocedure
          AND (p.proacl @> makeaclitem(login, p.proowner, 'EXECUTE', false)
               OR EXISTS (
                   SELECT 1 FROM pg_auth_members m
                   WHERE m.member = login AND p.proacl @> makeaclitem(m.roleid, p.proowner, 'EXECUTE', false)
                     AND pg_has_role(login, m.roleid, 'MEMBER'))))
    THEN
        RETURN true;
    END IF;
    ask := ARRAY(SELECT g.grantee FROM pg_proc p, aclexplode(p.proacl) g WHERE p.oid = 'tenancy.resolve(text)'::regprocedure);
    RETURN 0 = ANY (ask)
        OR EXISTS (
            WITH RECURSIVE mine (oid) AS (
                VALUES (login)
                UNION
                SELECT m.roleid FROM pg_auth_members m JOIN mine ON mine.oid = m.member
            )
            SELECT 1 FROM mine WHERE mine.oid = ANY (ask) AND pg_has_role(login, mine.oid, 'MEMBER'))
        -- A superuser is a member of every role, now, and may have been none.
        OR (pg_has_role(login, ask[1], 'MEMBER') AND EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = login AND r.rolsuper));
END
$$;

-- The tenant of this session where its state allows the kind of access ('r' read, 'w' write, 'a' read from the archive),
-- else null. Called once a statement, because policies wrap it in a subquery.
CREATE OR REPLACE FUNCTION tenancy.resolve(kind text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT tenancy.is_client() THEN
        RAISE EXCEPTION '% is no member of the application''s role, or was none when this transaction began', session_user
        USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN (
        SELECT a.tenant_id FROM tenancy.access a
        WHERE a.tenant_id = nullif(current_setting('tenancy.tenant', true), '')
          AND CASE kind
                  WHEN 'r' THEN a.state IN ('ACTIVE', 'READ_ONLY')
                  WHEN 'w' THEN a.state = 'ACTIVE'
                  WHEN 'a' THEN a.state = 'ARCHIVED'
                  ELSE false
              END
    );
END
$$;

-- Roles belong to the whole cluster, so another database of it may be making the same one right now.
DO $$
BEGIN
    IF to_regrole('tenantry_archive') IS NULL THEN
        CREATE ROLE tenantry_archive NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- The tables that were protected, and every name that each had since: they are looked at and purged whatever has become of
-- their policies. A table that is gone stays on the list, so that another one in its place is found (`replaced`).
CREATE TABLE IF NOT EXISTS tenancy.protected (
    relation regclass NOT NULL,
    schema_name name,
    table_name name,
    UNIQUE (relation, schema_name, table_name)
);
-- Before, there was a row for each table and none had a name.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = 'tenancy.protected'::regclass AND a.attname = 'table_name')
    THEN
        ALTER TABLE tenancy.protected DROP CONSTRAINT protected_pkey, ADD COLUMN schema_name name, ADD COLUMN table_name name,
            ADD UNIQUE (relation, schema_name, table_name);
    END IF;
END
$$;
-- Where all tables are published, one without a key takes no DELETE; columns that may be null make none.
DO $$
BEGIN
    IF (SELECT c.relreplident <> 'f' FROM pg_class c WHERE c.oid = 'tenancy.protected'::regclass) THEN
        ALTER TABLE tenancy.protected REPLICA IDENTITY FULL;
    END IF;
END
$$;

-- The partitions that protected tables had: one that is detached keeps its rows, and gives them to the next tenant of an id when
-- it is attached again.
CREATE TABLE IF NOT EXISTS tenancy.part (
    relation regclass PRIMARY KEY,
    parent regclass NOT NULL
);

-- Views that are meant to show rows past the policies.
CREATE TABLE IF NOT EXISTS tenancy.permitted (
    relation regclass PRIMARY KEY
);

-- Turns a table's row-level security on and has it ask the access row: for everybody, the owner too. Called again it puts
-- back what somebody took away; policies of other names are left alone. Whoever removes rows may do so there: the owner of this
-- schema, and who may write the access row.
CREATE OR REPLACE FUNCTION tenancy.protect(protected regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    policy name;
    grants text;
    loose text := (
        SELECT c.oid::regcollation FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
        WHERE a.attrelid = protected AND a.attname = 'tenant_id' AND NOT a.attisdropped AND NOT c.collisdeterministic);
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = protected AND a.attname = 'tenant_id' AND NOT a.attisdropped AND t.typcategory = 'S')
    THEN
        RAISE EXCEPTION '% has no column tenant_id of a text type: `%ALTER TABLE % ADD tenant_id text GENERATED ALWAYS AS (''t-'' || '
            'org_id::text) STORED` for a column org_id, uuid or number, that says whose a row is (a tenant''s id begins with a letter; '
            'where org_id does, write org_id::text alone), then protect it', protected,
            (SELECT coalesce(max(format('ALTER TABLE %s RENAME tenant_id TO org_id; ', protected)), '') FROM pg_attribute a
             WHERE a.attrelid = protected AND a.attname = 'tenant_id' AND NOT a.attisdropped), protected;
    END IF;
    IF loose IS NOT NULL THEN
        RAISE EXCEPTION '%: tenant_id has the nondeterministic collation %, for which ids that differ may be one', protected, loose;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
    FOREACH policy IN ARRAY ARRAY['tenant_reads', 'tenant_inserts', 'tenant_updates', 'tenant_deletes', 'archive_reads']
    LOOP
        IF EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = protected AND p.polname = policy) THEN
            EXECUTE format('DROP POLICY %I ON %s', policy, protected);
        END IF;
    END LOOP;
    EXECUTE format('CREATE POLICY tenant_reads ON %s FOR SELECT '
        'USING (tenant_id = (SELECT tenancy.resolve(''r'')))', protected);
    EXECUTE format('CREATE POLICY tenant_inserts ON %s FOR INSERT '
        'WITH CHECK (tenant_id = (SELECT tenancy.resolve(''w'')))', protected);
    EXECUTE format('CREATE POLICY tenant_updates ON %s FOR UPDATE USING (tenant_id = (SELECT tenancy.resolve(''w''))) '
        'WITH CHECK (tenant_id = (SELECT tenancy.resolve(''w'')))', protected);
    EXECUTE format('CREATE POLICY tenant_deletes ON %s FOR DELETE '
        'USING (tenant_id = (SELECT tenancy.resolve(''w'')))', protected);
    EXECUTE format('CREATE POLICY archive_reads ON %s FOR SELECT TO tenantry_archive '
        'USING (tenant_id = (SELECT tenancy.resolve(''a'')))', protected);
    IF protected <> 'tenancy.probe'::regclass THEN
        INSERT INTO tenancy.protected (relation, schema_name, table_name)
        SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = protected
        ON CONFLICT DO NOTHING;
        FOR grants IN
            SELECT unnest(ARRAY[
                format('GRANT SELECT, DELETE ON %s TO %I', protected, r.rolname),
                CASE WHEN NOT has_schema_privilege(r.oid, n.oid, 'USAGE')
                    THEN format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, r.rolname) END])
            FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = protected AND NOT r.rolsuper
              AND r.oid IN (
                  SELECT s.nspowner FROM pg_namespace s WHERE s.nspname = 'tenancy'
                  UNION ALL
                  SELECT g.grantee FROM pg_class a, aclexplode(a.relacl) g
                  WHERE a.oid = 'tenancy.access'::regclass AND g.privilege_type = 'INSERT')
        LOOP
            CONTINUE WHEN grants IS NULL;
            BEGIN
                EXECUTE grants;
            -- Not every owner of a table owns its schema. A purge says what it lacks.
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END LOOP;
    END IF;
END
$$;
-- Whoever may run it is trusted with saying which tables are ours (`named_tables`), from here on.
REVOKE ALL ON FUNCTION tenancy.protect(regclass) FROM PUBLIC;

-- Where an ordinary client is tried, and the model of what a protected table looks like. It is empty but inside the
-- transactions that try, which are rolled back.
CREATE UNLOGGED TABLE IF NOT EXISTS tenancy.probe (tenant_id text NOT NULL);
-- Where it is so already it is left alone: whoever may read it could hold up every change from a start on.
SELECT tenancy.protect(c.oid) FROM pg_class c
WHERE c.oid = 'tenancy.probe'::regclass
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND (SELECT count(*) = 5 FROM pg_policy p WHERE p.polrelid = c.oid));

-- The tables whose policies ask `resolve`, by what they depend on, and whose owner the operator trusted with protecting tables.
-- Anybody writes its name into a policy of a table of its own, to have us go there.
CREATE OR REPLACE FUNCTION tenancy.asking() RETURNS TABLE (relation regclass)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT p.polrelid::regclass
    FROM pg_depend d JOIN pg_policy p ON p.oid = d.objid JOIN pg_class c ON c.oid = p.polrelid
    WHERE d.classid = 'pg_policy'::regclass
      AND d.refclassid = 'pg_proc'::regclass
      AND d.refobjid = 'tenancy.resolve(text)'::regprocedure
      AND c.relpersistence <> 't'
      AND p.polrelid <> 'tenancy.probe'::regclass
      AND has_function_privilege(c.relowner, 'tenancy.protect(regclass)'::regprocedure, 'EXECUTE')
$$;

-- Those that were protected before there was a list of them.
INSERT INTO tenancy.protected (relation)
SELECT DISTINCT a.relation FROM tenancy.asking() a JOIN pg_policy p ON p.polrelid = a.relation
WHERE a.relation NOT IN (SELECT t.relation FROM tenancy.protected t)
  AND p.polname IN ('tenant_reads', 'tenant_inserts', 'tenant_updates', 'tenant_deletes', 'archive_reads');

-- The protected tables, and what is attached to them by now, at whatever depth.
CREATE OR REPLACE FUNCTION tenancy.family() RETURNS TABLE (relation oid, parent oid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE family (relation, parent) AS (
        SELECT c.oid, NULL::oid FROM tenancy.protected t JOIN pg_class c ON c.oid = t.relation
        UNION
        SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN family f ON f.relation = i.inhparent WHERE NOT i.inhdetachpending
    )
    SELECT f.relation, f.parent FROM family f
$$;

-- What was attached to a protected table and is there by itself. Also from when on the table above no longer reaches it, while it is
-- detached concurrently, which may take as long as another's transaction, or never end.
CREATE OR REPLACE FUNCTION tenancy.detached() RETURNS TABLE (relation regclass, parent regclass)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH family AS MATERIALIZED (
        SELECT f.relation FROM tenancy.family() f
    )
    SELECT p.relation, p.parent FROM tenancy.part p JOIN pg_class c ON c.oid = p.relation
    WHERE p.relation NOT IN (SELECT f.relation FROM family f)
    UNION
    SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN family f ON f.relation = i.inhparent WHERE i.inhdetachpending
$$;

-- Adds the names that protected tables have by now: one that was renamed is missed under each of its names. And the
-- partitions that they have. Of one that is gone the name stays, and its number goes: in a dump it would be another relation's.
CREATE OR REPLACE FUNCTION tenancy.learn_names() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO tenancy.protected (relation, schema_name, table_name)
    SELECT DISTINCT c.oid, n.nspname, c.relname
    FROM tenancy.protected p JOIN pg_class c ON c.oid = p.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (
        SELECT 1 FROM tenancy.protected k
        WHERE k.relation = c.oid AND k.schema_name = n.nspname AND k.table_name = c.relname)
    ON CONFLICT DO NOTHING;
    INSERT INTO tenancy.protected (relation, schema_name, table_name)
    SELECT DISTINCT 0::oid::regclass, p.schema_name, p.table_name FROM tenancy.protected p
    WHERE p.relation <> 0::oid::regclass AND p.table_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation)
    ON CONFLICT DO NOTHING;
    DELETE FROM tenancy.protected p
    WHERE p.relation <> 0::oid::regclass AND p.table_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation);
    DELETE FROM tenancy.permitted p WHERE NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation);
    INSERT INTO tenancy.part (relation, parent)
    SELECT f.relation, f.parent FROM tenancy.family() f
    WHERE f.parent IS NOT NULL AND f.relation NOT IN (SELECT p.relation FROM tenancy.part p)
    ON CONFLICT DO NOTHING;
    DELETE FROM tenancy.part p WHERE NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation)
$$;
SELECT tenancy.learn_names();
-- Versions before gave it to the application, which could keep what it writes locked; and let it write the probe, where its rows are in
-- everybody's way. Control planes keep both.
DO $$
DECLARE
    holder regrole;
BEGIN
    FOR holder IN
        SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'tenancy.probe'::regclass AND a.grantee NOT IN (0, c.relowner) AND a.privilege_type IN ('INSERT', 'UPDATE')
          AND NOT has_table_privilege(a.grantee, 'tenancy.access'::regclass, 'INSERT')
    LOOP
        EXECUTE format('REVOKE INSERT, UPDATE ON tenancy.probe FROM %s', holder);
        -- Without a look at each row, of which there may be many.
        TRUNCATE tenancy.probe;
    END LOOP;
    FOR holder IN
        SELECT a.grantee FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid = 'tenancy.learn_names()'::regprocedure AND a.grantee NOT IN (0, p.proowner)
          AND NOT has_table_privilege(a.grantee, 'tenancy.access'::regclass, 'INSERT')
          -- Owners of tables have it for `release`.
          AND NOT has_function_privilege(a.grantee, 'tenancy.protect(regclass)'::regprocedure, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION tenancy.learn_names() FROM %s', holder);
    END LOOP;
END
$$;
-- Without a name stay only those that were gone before names were learnt.
DELETE FROM tenancy.protected p
WHERE p.table_name IS NULL AND EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation);

-- A name of a protected table that another one has now, as a migration leaves it that makes a table again or swaps it: its
-- rows are under no policy, and no purge finds them. Or the number of one that is gone and whose name nobody knows. Null
-- where there is none. A name that nobody has is no fault: dropped for good, as old partitions are.
CREATE OR REPLACE FUNCTION tenancy.replaced() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(quote_ident(p.schema_name) || '.' || quote_ident(p.table_name), p.relation::oid::text) AS named
    FROM tenancy.protected p
    WHERE (p.table_name IS NULL AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation))
       OR EXISTS (
           SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = p.schema_name AND c.relname = p.table_name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             AND c.oid NOT IN (SELECT t.relation FROM tenancy.protected t))
    ORDER BY named LIMIT 1
$$;

-- Says that a name ('schema.table', as `replaced` gives it) stands for no protected table any more. One that is called
-- otherwise by now stays protected; one that still has that name is taken from the list: drop its policies first. So is a
-- partition that was detached, and with a table those that are attached to it.
CREATE OR REPLACE FUNCTION tenancy.release(released text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named oid := (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE quote_ident(n.nspname) || '.' || quote_ident(c.relname) = released);
    is_known boolean;
BEGIN
    PERFORM tenancy.learn_names();
    is_known := EXISTS (SELECT 1 FROM tenancy.detached() d WHERE d.relation = named);
    DELETE FROM tenancy.protected p
    WHERE coalesce(quote_ident(p.schema_name) || '.' || quote_ident(p.table_name), p.relation::oid::text) = released
       OR p.relation = named;
    IF NOT (FOUND OR is_known) THEN
        RAISE EXCEPTION 'no protected table was called % (a name is written schema.table)', released;
    END IF;
    WITH RECURSIVE family (relation) AS (
        SELECT named
        UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.relation = i.inhparent
    )
    DELETE FROM tenancy.part p USING family f WHERE p.relation = f.relation;
END
$$;

-- The roles of applications: the one that is named, and those that were admitted beside it. Not who may write the access row, nor
-- whoever reads archives.
CREATE OR REPLACE FUNCTION tenancy.admitted(application text) RETURNS TABLE (role oid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.oid FROM pg_roles r WHERE r.rolname = application
    UNION
    SELECT a.grantee
    FROM pg_proc p, aclexplode(p.proacl) a
    WHERE p.pronamespace = 'tenancy'::regnamespace AND p.proname = 'visible' AND a.grantee NOT IN (0, p.proowner)
      AND a.grantee NOT IN (SELECT r.oid FROM pg_roles r WHERE r.rolname = 'tenantry_archive')
      AND NOT EXISTS (
          SELECT 1 FROM pg_class c, aclexplode(c.relacl) w
          WHERE c.oid = 'tenancy.access'::regclass AND w.grantee = a.grantee AND w.privilege_type = 'INSERT')
$$;

-- Lets a role of applications in: it must exist for `verify` to act as an ordinary client.
CREATE OR REPLACE FUNCTION tenancy.admit(admitted text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    member text;
BEGIN
    IF to_regrole(quote_ident(admitted)) IS NULL THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', admitted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    FOREACH member IN ARRAY ARRAY[admitted, 'tenantry_archive'] LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA tenancy TO %I', member);
        EXECUTE format('GRANT EXECUTE ON FUNCTION tenancy.resolve(text), tenancy.named_tables(), tenancy.tenant_tables(), tenancy.visible(), '
            'tenancy.unprotected(text), tenancy.unbound(text), tenancy.overreach(), tenancy.replaced(), tenancy.admitted(text) TO %I', member);
        EXECUTE format('GRANT SELECT, DELETE ON tenancy.probe TO %I', member);
    END LOOP;
    IF NOT pg_has_role(current_user, admitted, 'MEMBER') THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', admitted);
    END IF;
END
$$;

-- The tables with tenants' rows: those that were protected or a part of one, and those of trusted owners whose policies ask
-- `resolve`. Another session's temporary ones are out of everybody's reach, and end with it.
CREATE OR REPLACE FUNCTION tenancy.named_tables() RETURNS SETOF regclass
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.relation FROM tenancy.protected t JOIN pg_class c ON c.oid = t.relation
    WHERE c.relpersistence <> 't'
    UNION
    SELECT d.relation FROM tenancy.detached() d
    UNION
    SELECT a.relation FROM tenancy.asking() a
$$;

-- Those of them in which ids that differ may be one, and what makes it so: what is done to a tenant there is done to others, too.
CREATE OR REPLACE FUNCTION tenancy.loose() RETURNS TABLE (relation regclass, what text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Hardly a database has one, and each batch of a purge asks.
    IF NOT EXISTS (SELECT 1 FROM pg_collation c WHERE NOT c.collisdeterministic) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t, 'tenant_id has the nondeterministic collation ' || c.oid::regcollation || ', for which ids that differ may be one'
    FROM tenancy.named_tables() AS t
    JOIN pg_attribute a ON a.attrelid = t AND a.attname = 'tenant_id' AND NOT a.attisdropped
    JOIN pg_collation c ON c.oid = a.attcollation AND NOT c.collisdeterministic;
END
$$;

-- Whether the application could have its own code run as whoever looks or purges, who sees every row, or could let tenants in
-- by itself: what of that is whose, null where nothing is. Whoever owns a table, or has TRIGGER on it, decides what runs when a
-- row is read or removed; so does the owner of a table that refers to it, of its schema (who can put another table in its
-- place), of a function or a type that it uses, and of the database (who sets what every session starts with). No means of
-- PostgreSQL shuts such code in that runs in our session: a role can be reset, a trigger put off until the commit, a
-- prepared statement or a temporary table left behind. So nothing is read or removed then. The application is who
-- was admitted, with all members, but for those whom no policy binds, and for ourselves. In this language a session plans it once.
CREATE OR REPLACE FUNCTION tenancy.overreach() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    RETURN (
    WITH RECURSIVE member (oid) AS (
        SELECT a.grantee FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid = 'tenancy.visible()'::regprocedure AND a.grantee NOT IN (0, p.proowner)
        UNION
        SELECT g.member FROM pg_auth_members g JOIN member m ON m.oid = g.roleid
    ),
    client AS (
        SELECT r.oid, r.rolname FROM pg_roles r JOIN member USING (oid)
        WHERE NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname <> session_user
    ),
    named AS MATERIALIZED (
        SELECT t::oid AS relation FROM tenancy.named_tables() AS t
    ),
    -- Whose code may run with ours. Owners of what is protected are: they could switch everything off.
    trusted (oid) AS (
        SELECT r.oid FROM pg_roles r
        WHERE r.rolsuper OR r.rolbypassrls OR r.rolname = session_user
           OR has_function_privilege(r.oid, 'tenancy.protect(regclass)'::regprocedure, 'EXECUTE')
        UNION
        SELECT c.relowner FROM named JOIN pg_class c ON c.oid = named.relation
    ),
    -- Roles that somebody else is or can become.
    strange (role) AS (
        SELECT r.oid FROM pg_roles r
        WHERE r.oid NOT IN (SELECT trusted.oid FROM trusted) AND r.oid NOT IN (SELECT client.oid FROM client)
          AND EXISTS (
              SELECT 1 FROM pg_roles l
              WHERE l.rolcanlogin AND l.oid NOT IN (SELECT trusted.oid FROM trusted) AND pg_has_role(l.oid, r.oid, 'MEMBER'))
    ),
    decides (relation) AS (
        VALUES ('tenancy.access'::regclass), ('tenancy.protected'), ('tenancy.part'), ('tenancy.permitted')
    ),
    -- Those with tenants' rows, ours, and whatever a look or a removal leads to from there: partitions, tables that refer to them,
    -- and what their rules and policies, and views in these, are about.
    touched (relation) AS (
        (SELECT named.relation FROM named
         UNION ALL
         SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'tenancy'::regnamespace AND c.relkind = 'r')
        UNION
        SELECT further.relation
        FROM touched JOIN (
            SELECT i.inhparent, i.inhrelid FROM pg_inherits i
            UNION ALL
            SELECT k.confrelid, k.conrelid FROM pg_constraint k WHERE k.contype = 'f'
            UNION ALL
            SELECT a.relation, c.oid
            FROM (SELECT r.ev_class, r.tableoid, r.oid FROM pg_rewrite r
                  UNION ALL SELECT p.polrelid, p.tableoid, p.oid FROM pg_policy p) AS a (relation, class, object)
            JOIN pg_depend d ON d.classid = a.class AND d.objid = a.object AND d.refclassid = 'pg_class'::regclass
            JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        ) AS further (above, relation) ON further.above = touched.relation
    ),
    -- Who owns the schema of one of these, or is a member of that; by the grants themselves, as in `becomes`.
    owns_schema (role, member) AS (
        SELECT DISTINCT n.nspowner, n.nspowner
        FROM touched JOIN pg_class c ON c.oid = touched.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        UNION
        SELECT o.role, further.member
        FROM owns_schema o JOIN (
            SELECT g.roleid, g.member FROM pg_auth_members g
            UNION ALL
            SELECT r.oid, d.datdba FROM pg_roles r, pg_database d
            WHERE r.rolname = 'pg_database_owner' AND d.datname = current_database()
        ) AS further (role, member) ON further.role = o.member
    ),
    -- Strangers among them that may rename it: names lead elsewhere then, whatever lock a table is under.
    renames (role) AS (
        SELECT o.role FROM owns_schema o JOIN pg_roles l ON l.oid = o.member
        WHERE l.rolcanlogin AND l.oid NOT IN (SELECT trusted.oid FROM trusted) AND o.role IN (SELECT strange.role FROM strange)
          AND has_database_privilege(l.oid, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), 'CREATE')
    ),
    attached (relation, class, object) AS (
        SELECT t.tgrelid, t.tableoid, t.oid FROM pg_trigger t WHERE NOT t.tgisinternal
        UNION ALL SELECT p.polrelid, p.tableoid, p.oid FROM pg_policy p
        UNION ALL SELECT r.ev_class, r.tableoid, r.oid FROM pg_rewrite r
        UNION ALL SELECT k.conrelid, k.tableoid, k.oid FROM pg_constraint k
        UNION ALL SELECT d.adrelid, d.tableoid, d.oid FROM pg_attrdef d
        UNION ALL SELECT i.indrelid, 'pg_class'::regclass, i.indexrelid FROM pg_index i
        -- The planner works these out.
        UNION ALL SELECT s.stxrelid, s.tableoid, s.oid FROM pg_statistic_ext s
        UNION ALL SELECT p.partrelid, 'pg_class'::regclass, p.partrelid FROM pg_partitioned_table p
    ),
    used (relation, class, object) AS (
        SELECT a.relation, d.refclassid, d.refobjid
        FROM touched JOIN attached a USING (relation) JOIN pg_depend d ON d.classid = a.class AND d.objid = a.object
        WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
    ),
    -- Also what an array or a domain is made of: its conditions run wherever a value becomes one.
    typed (relation, type) AS (
        (SELECT u.relation, u.object FROM used u WHERE u.class = 'pg_type'::regclass
         UNION ALL
         SELECT c.attrelid, c.atttypid FROM touched JOIN pg_attribute c ON c.attrelid = touched.relation
         WHERE c.attnum > 0 AND NOT c.attisdropped)
        UNION
        SELECT typed.relation, within.type
        FROM typed JOIN pg_type t ON t.oid = typed.type, LATERAL (VALUES (t.typbasetype), (t.typelem)) AS within (type)
        WHERE within.type <> 0
    ),
    called (relation, function) AS (
        SELECT u.relation, u.object FROM used u WHERE u.class = 'pg_proc'::regclass
        UNION
        SELECT typed.relation, d.refobjid
        FROM typed JOIN pg_constraint k ON k.contypid = typed.type
        JOIN pg_depend d ON d.classid = k.tableoid AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass
    ),
    -- With some of it, whoever has it puts code where we go, also after a look at what is there: a stranger is to have none of that either.
    given (named, role, what, is_code) AS (
        SELECT c.oid::regclass::text, owner.role, owner.what, owner.is_code
        FROM touched JOIN pg_class c ON c.oid = touched.relation JOIN pg_namespace n ON n.oid = c.relnamespace,
            LATERAL (VALUES (c.relowner, 'OWNERSHIP', true), (n.nspowner, 'OWNERSHIP of its schema', n.nspowner IN (SELECT renames.role FROM renames))) AS owner (role, what, is_code)
        UNION ALL
        SELECT c.oid::regclass::text, a.grantee, a.privilege_type, a.privilege_type IN ('TRIGGER', 'REFERENCES')
        FROM touched JOIN pg_class c ON c.oid = touched.relation, aclexplode(c.relacl) a
        WHERE a.privilege_type IN ('TRIGGER', 'REFERENCES')
           OR (c.oid IN (SELECT d.relation FROM decides d) AND a.privilege_type <> 'SELECT')
        UNION ALL
        SELECT c.attrelid::regclass::text, a.grantee, a.privilege_type, a.privilege_type = 'REFERENCES'
        FROM touched JOIN pg_attribute c ON c.attrelid = touched.relation, aclexplode(c.attacl) a
        WHERE c.attacl IS NOT NULL
          AND (a.privilege_type = 'REFERENCES'
               OR (c.attrelid IN (SELECT d.relation FROM decides d) AND a.privilege_type <> 'SELECT'))
        UNION ALL
        SELECT c.relation::regclass::text, p.proowner, 'OWNERSHIP of the function ' || p.oid::regprocedure, true
        FROM called c JOIN pg_proc p ON p.oid = c.function
        UNION ALL
        SELECT u.relation::regclass::text, o.oprowner, 'OWNERSHIP of the operator ' || o.oid::regoperator, true
        FROM used u JOIN pg_operator o ON u.class = 'pg_operator'::regclass AND o.oid = u.object
        UNION ALL
        SELECT typed.relation::regclass::text, t.typowner, 'OWNERSHIP of the type ' || t.oid::regtype, t.typtype = 'd'
        FROM typed JOIN pg_type t ON t.oid = typed.type
        UNION ALL
        -- It stands in no list of rights.
        SELECT 'tenancy.access', r.oid, 'DELETE, INSERT, UPDATE by pg_write_all_data', false FROM pg_roles r
        WHERE r.rolname = 'pg_write_all_data'
        UNION ALL
        SELECT 'the schema tenancy', a.grantee, a.privilege_type, false FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname = 'tenancy' AND a.privilege_type = 'CREATE'
        UNION ALL
        SELECT 'the function ' || p.oid::regprocedure, p.proowner, 'OWNERSHIP', false FROM pg_proc p
        WHERE p.pronamespace = 'tenancy'::regnamespace
        UNION ALL
        SELECT 'the database ' || quote_ident(d.datname), d.datdba, 'OWNERSHIP', false FROM pg_database d
        WHERE d.datname = current_database()
    ),
    -- Of the clients that have what was given to a role, or to everybody, one is named.
    holder AS (
        SELECT DISTINCT ON (g.role) g.role, c.rolname
        FROM (SELECT DISTINCT given.role FROM given) g JOIN client c ON g.role = 0 OR pg_has_role(c.oid, g.role, 'MEMBER')
        ORDER BY g.role, c.oid NOT IN (SELECT a.grantee FROM pg_proc p, aclexplode(p.proacl) a
            WHERE p.oid = 'tenancy.visible()'::regprocedure), c.rolname
    )
    SELECT string_agg(n.said, '; ' ORDER BY n.place) FILTER (WHERE n.place <= 5)
        || CASE WHEN count(*) > 5 THEN '; and ' || count(*) - 5 || ' more' ELSE '' END
    FROM (
        SELECT said, row_number() OVER (ORDER BY said) AS place
        FROM (
            SELECT g.named || ' (' || h.rolname || ' has ' || string_agg(DISTINCT g.what, ', ') || ')' AS said
            FROM given g JOIN holder h USING (role)
            GROUP BY g.named, h.rolname
            UNION
            SELECT g.named || ' (' || r.rolname || ' has ' || string_agg(DISTINCT g.what, ', ') || ', and may not run tenancy.protect)'
            FROM given g JOIN strange USING (role) JOIN pg_roles r ON r.oid = g.role
            WHERE g.is_code
            GROUP BY g.named, r.rolname
        ) s
    ) n
    );
END
$$;

-- The tables that are looked at and purged. Fails rather than name any while the application could have its code run there:
-- whoever goes through them does not get that far.
CREATE OR REPLACE FUNCTION tenancy.tenant_tables() RETURNS SETOF regclass
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    why text := tenancy.overreach();
BEGIN
    IF why IS NOT NULL THEN
        RAISE EXCEPTION '%', why USING ERRCODE = 'TN001';
    END IF;
    SELECT d.relation || ' was a partition of ' || d.parent || ' and has no column tenant_id, so nobody can tell whose its rows are: '
        '`SELECT tenancy.release(' || quote_literal(d.relation::text) || ')`, or drop it'
    INTO why FROM tenancy.detached() d
    WHERE NOT EXISTS (
        SELECT 1 FROM pg_attribute a WHERE a.attrelid = d.relation AND a.attname = 'tenant_id' AND NOT a.attisdropped)
    ORDER BY d.relation LIMIT 1;
    why := coalesce(why, (SELECT l.relation || ': ' || l.what FROM tenancy.loose() l ORDER BY l.relation LIMIT 1));
    IF why IS NOT NULL THEN
        RAISE EXCEPTION '%', why USING ERRCODE = 'TN002';
    END IF;
    RETURN QUERY SELECT tenancy.named_tables();
END
$$;

-- The application's clients, and every role that each can become (`SET ROLE`), itself first of all: its roles, and the logins that
-- are members of them. Logins of a control plane are none of them: ours, and others that pass policies and write the access
-- row. By the grants themselves: pg_has_role, which knows of changes that this statement does not see yet, holds a role that
-- becomes a superuser meanwhile, for whichever database, for a member of every role.
CREATE OR REPLACE FUNCTION tenancy.becomes(application text) RETURNS TABLE (client oid, role oid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH RECURSIVE admitted AS MATERIALIZED (
        SELECT a.role FROM tenancy.admitted(application) a
    ),
    member (oid) AS (
        SELECT a.role FROM admitted a
        UNION
        SELECT g.member FROM pg_auth_members g JOIN member m ON m.oid = g.roleid
    ),
    taken (client, role) AS (
        SELECT r.oid, r.oid FROM pg_roles r JOIN member USING (oid)
        WHERE r.rolname <> session_user
          AND (r.oid IN (SELECT a.role FROM admitted a)
               OR (r.rolcanlogin
                   AND (r.rolsuper OR NOT r.rolbypassrls OR NOT has_table_privilege(r.oid, 'tenancy.access', 'INSERT'))))
        UNION
        SELECT t.client, g.roleid FROM pg_auth_members g JOIN taken t ON t.role = g.member
    )
    SELECT t.client, t.role FROM taken t
$$;

-- The first client of the application that no policy binds, by itself or as a role that it can become; null where all are
-- bound. Before PostgreSQL 16 whoever has CREATEROLE makes itself a member of any role that is no superuser; whoever reads or
-- writes the server's files, or runs programs there, has the tables' files; REPLICATION hands out those, and every change; and
-- reading or writing all data reaches pg_statistic, where values of the rows are, and `access`.
CREATE OR REPLACE FUNCTION tenancy.unbound(application text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH past (role, how) AS (
        VALUES ('pg_execute_server_program', 'reaches the files of the database past every policy'),
            ('pg_read_server_files', 'reaches the files of the database past every policy'),
            ('pg_write_server_files', 'reaches the files of the database past every policy'),
            ('pg_read_all_data', 'reads what the planner keeps of every tenant''s rows'),
            ('pg_write_all_data', 'writes the access rows')
    )
    SELECT c.rolname::text || CASE WHEN r.oid <> c.oid THEN ', as ' || r.rolname::text ELSE '' END || CASE
            WHEN r.rolsuper THEN ' (superuser)'
            WHEN r.rolbypassrls THEN ' (BYPASSRLS)'
            WHEN p.how IS NOT NULL THEN ' (' || p.how || ')'
            WHEN r.rolreplication THEN ' (REPLICATION, which copies the whole database)'
            ELSE ' (CREATEROLE, which before PostgreSQL 16 makes it a member of every role, ours too)'
        END
    FROM tenancy.becomes(application) b JOIN pg_roles c ON c.oid = b.client JOIN pg_roles r ON r.oid = b.role
    LEFT JOIN past p ON p.role = r.rolname
    WHERE r.rolsuper OR r.rolbypassrls OR r.rolreplication OR p.how IS NOT NULL
       OR (r.rolcreaterole AND current_setting('server_version_num')::integer < 160000)
    ORDER BY c.rolname <> application, r.oid <> c.oid, c.rolname, r.rolname LIMIT 1
$$;

-- Says that a view is to show rows whatever their tenants' state, as one with statistics over all tenants.
CREATE OR REPLACE FUNCTION tenancy.permit(permitted regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = permitted AND c.relkind IN ('v', 'm')) THEN
        RAISE EXCEPTION '% is no view', permitted;
    END IF;
    INSERT INTO tenancy.permitted (relation) VALUES (permitted) ON CONFLICT DO NOTHING;
END
$$;

-- The columns of some tables that say whose a row is: tenant_id, and what it is generated from.
CREATE OR REPLACE FUNCTION tenancy.says_whose(asked oid[]) RETURNS TABLE (relation oid, number smallint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.attrelid, a.attnum FROM pg_attribute a
    WHERE a.attrelid = ANY (asked) AND a.attname = 'tenant_id' AND NOT a.attisdropped
    UNION
    SELECT a.attrelid, p.refobjsubid::smallint
    FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    JOIN pg_depend p ON p.classid = d.tableoid AND p.objid = d.oid
        AND p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid NOT IN (0, a.attnum)
    WHERE a.attrelid = ANY (asked) AND a.attname = 'tenant_id' AND a.attgenerated <> ''
$$;

-- What leads the application past the policies of protected tables, and how. Tables above them that are not protected. Views: rows are
-- asked for as the owner of the view right above the table, unless that is an invoker's; what stands above it changes nothing. A
-- materialised view is a copy that no policy filters, whoever made it. And foreign keys, whose actions ask no policy. In this language
-- a session plans it once.
CREATE OR REPLACE FUNCTION tenancy.passages(application text) RETURNS TABLE (relation oid, what text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE family AS MATERIALIZED (
        SELECT f.relation, bool_or(f.is_part) AND NOT bool_and(c.relrowsecurity AND c.relforcerowsecurity) AS is_open_part
        FROM (SELECT f.relation, f.parent IS NOT NULL FROM tenancy.family() f
              UNION ALL
              SELECT d.relation, true FROM tenancy.detached() d) AS f (relation, is_part)
        JOIN pg_class c ON c.oid = f.relation GROUP BY f.relation
    ),
    taken AS MATERIALIZED (
        SELECT DISTINCT r.oid
        FROM tenancy.becomes(application) b JOIN pg_roles c ON c.oid = b.client JOIN pg_roles r ON r.oid = b.role
        WHERE NOT c.rolsuper AND NOT c.rolbypassrls AND NOT r.rolsuper AND NOT r.rolbypassrls
    ),
    -- What is asked for as a table above a partition is asked for with the rights and policies of that table alone.
    above (relation, base) AS (
        SELECT i.inhparent, f.relation FROM family f JOIN pg_inherits i ON i.inhrelid = f.relation
        WHERE i.inhparent NOT IN (SELECT t.relation FROM family t)
        UNION
        SELECT i.inhparent, a.base FROM above a JOIN pg_inherits i ON i.inhrelid = a.relation
    ),
    -- Each view, or table with a rule, and what is right below it. Those of PostgreSQL's own have smaller numbers. A copy that only has
    -- a table's number in it has none of its rows.
    view AS MATERIALIZED (
        SELECT DISTINCT v.oid, d.refobjid AS below, v.relkind,
            v.relkind = 'm' AND v.relispopulated AND position(':relid ' || d.refobjid || ' ' IN r.ev_action::text) > 0 AS is_filled,
            o.oid AS owner, o.rolname, o.rolsuper, o.rolbypassrls,
            -- Its other rules act as its owner.
            r.ev_type = '1' AND EXISTS (
                SELECT 1 FROM pg_options_to_table(v.reloptions) p
                WHERE p.option_name = 'security_invoker' AND p.option_value::boolean) AS is_invokers
        FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class JOIN pg_roles o ON o.oid = v.relowner
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid <> v.oid
        WHERE r.oid >= 16384
    ),
    shown (relation, base, through, why) AS (
        (SELECT f.relation, f.relation, NULL::oid, NULL::text COLLATE "C" FROM family f
         UNION ALL
         SELECT a.relation, min(a.base), a.relation, min(a.base)::regclass || ' is below it: `SELECT tenancy.protect('
             || quote_literal(a.relation::regclass::text) || ')`'
         FROM above a GROUP BY a.relation)
        UNION
        SELECT v.oid, s.base, coalesce(s.through, CASE WHEN passed.why IS NOT NULL THEN v.oid END), coalesce(s.why, passed.why)
        FROM shown s JOIN view v ON v.below = s.relation
        JOIN family f ON f.relation = s.base,
        LATERAL (SELECT CASE
            WHEN v.relkind = 'm' THEN 'a copy that no policy filters'
            WHEN s.relation <> s.base OR v.is_invokers THEN NULL
            WHEN v.rolsuper THEN 'its owner ' || v.rolname || ' is superuser'
            WHEN v.rolbypassrls THEN 'its owner ' || v.rolname || ' has BYPASSRLS'
            WHEN f.is_open_part THEN s.base::regclass || ' is a partition that is not protected'
            WHEN EXISTS (
                SELECT 1 FROM pg_policy p, unnest(p.polroles) AS given (role)
                WHERE p.polrelid = s.base AND p.polpermissive AND role <> 0 AND pg_has_role(v.owner, role, 'USAGE'))
            THEN 'its owner ' || v.rolname || ' has a policy of its own there'
        END) AS passed (why)
        -- No right below it is asked for when a view is made: one whose owner has none shows nothing, and a copy was never filled.
        WHERE v.is_invokers OR v.is_filled
           OR has_any_column_privilege(v.owner, v.below, 'SELECT, INSERT, UPDATE') OR has_table_privilege(v.owner, v.below, 'DELETE')
    ),
    says_whose AS MATERIALIZED (
        SELECT w.relation, w.number FROM tenancy.says_whose(ARRAY(SELECT f.relation FROM family f)) w
    ),
    -- Keys that say whose a row is, and refer to what is not protected; or to rows of a protected table, whosever they are.
    outward AS MATERIALIZED (
        SELECT DISTINCT k.oid, k.conrelid, k.conname, k.confrelid, k.conkey, k.confkey, k.confupdtype,
            -- 'n' and 'd' may be of some columns alone.
            CASE WHEN EXISTS (
                SELECT 1 FROM says_whose w
                WHERE w.relation = k.conrelid AND w.number = ANY (coalesce(nullif(k.confdelsetcols, '{}'), k.conkey)))
            THEN k.confdeltype ELSE 'a' END AS deletes
        FROM says_whose w JOIN pg_constraint k ON k.conrelid = w.relation AND w.number = ANY (k.conkey)
        WHERE k.contype = 'f' AND k.conparentid = 0
          AND NOT EXISTS (
              SELECT 1 FROM unnest(k.conkey, k.confkey) AS pair (ours, theirs)
              JOIN says_whose o ON o.relation = k.conrelid AND o.number = pair.ours
              JOIN says_whose t ON t.relation = k.confrelid AND t.number = pair.theirs)
    ),
    -- Columns whose update changes tenant_id, at whatever distance.
    leads (base, key, relation, number) AS (
        SELECT l.conrelid, l.conname, l.confrelid, pair.theirs
        FROM outward l, unnest(l.conkey, l.confkey) AS pair (ours, theirs)
        -- CASCADE changes the column that goes with the one above; the others change all.
        WHERE l.confupdtype IN ('n', 'd')
           OR (l.confupdtype = 'c' AND pair.ours IN (SELECT w.number FROM says_whose w WHERE w.relation = l.conrelid))
        UNION
        SELECT l.base, l.key, k.confrelid, pair.theirs
        FROM leads l JOIN pg_constraint k ON k.conrelid = l.relation, unnest(k.conkey, k.confkey) AS pair (ours, theirs)
        WHERE k.contype = 'f' AND k.conparentid = 0 AND l.number = ANY (k.conkey)
          AND (k.confupdtype IN ('n', 'd') OR (k.confupdtype = 'c' AND pair.ours = l.number))
          AND k.confrelid NOT IN (SELECT t.relation FROM family t)
    ),
    -- Tables whose rows, once removed, leave tenant_id empty, or another's. One that takes the rows along leads no further.
    empties (base, key, relation) AS (
        SELECT l.conrelid, l.conname, l.confrelid FROM outward l WHERE l.deletes IN ('n', 'd')
        UNION
        SELECT e.base, e.key, k.confrelid
        FROM empties e JOIN pg_constraint k ON k.conrelid = e.relation
        WHERE k.contype = 'f' AND k.confdeltype = 'c' AND k.conparentid = 0
          AND k.confrelid NOT IN (SELECT t.relation FROM family t)
    )
    (SELECT DISTINCT ON (s.relation) s.relation,
        CASE WHEN t.relkind = 'm' AND t.oid = s.relation THEN s.why
            ELSE 'past every policy' || CASE WHEN t.oid = s.relation THEN '' ELSE ' through ' || t.oid::regclass END || ': ' || s.why END
    FROM shown s JOIN pg_class t ON t.oid = s.through
    JOIN pg_class c ON c.oid = s.relation
    WHERE NOT EXISTS (SELECT 1 FROM tenancy.permitted p WHERE p.relation IN (s.relation, s.through))
      AND EXISTS (SELECT 1 FROM taken WHERE has_any_column_privilege(taken.oid, s.relation, 'SELECT, INSERT, UPDATE')
                                         OR has_table_privilege(taken.oid, s.relation, 'DELETE, TRUNCATE'))
      -- A function that was given its statements as such (BEGIN ATOMIC) goes to what they are about by its number.
      AND (EXISTS (SELECT 1 FROM taken WHERE has_schema_privilege(taken.oid, c.relnamespace, 'USAGE'))
           OR EXISTS (
               SELECT 1 FROM pg_depend d JOIN taken ON has_function_privilege(taken.oid, d.objid, 'EXECUTE')
               WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.relation))
    ORDER BY s.relation, s.through <> s.relation, s.through)
    UNION ALL
    SELECT DISTINCT l.base, 'foreign key ' || quote_ident(l.key) || ': an update of ' || at.relation::regclass || w.whose || 'changes tenant_id'
    FROM leads l, LATERAL (
        SELECT l.relation WHERE EXISTS (SELECT 1 FROM taken WHERE has_column_privilege(taken.oid, l.relation, l.number, 'UPDATE'))
        UNION ALL
        -- 4 is UPDATE.
        SELECT v.oid FROM view v
        WHERE v.below = l.relation AND v.relkind = 'v' AND NOT v.is_invokers AND has_any_column_privilege(v.owner, l.relation, 'UPDATE')
          AND pg_relation_is_updatable(v.oid, true) & 4 <> 0
          AND EXISTS (SELECT 1 FROM taken WHERE has_any_column_privilege(taken.oid, v.oid, 'UPDATE'))
    ) AS at (relation),
    LATERAL (SELECT CASE WHEN l.relation IN (SELECT t.relation FROM family t)
        THEN ', where it is not about tenant_id, ' ELSE ', which is not protected, ' END) AS w (whose)
    UNION ALL
    SELECT DISTINCT e.base, 'foreign key ' || quote_ident(e.key) || ': a removal from ' || at.relation::regclass || w.whose
        || 'empties tenant_id, or makes it another''s'
    FROM empties e, LATERAL (
        SELECT e.relation WHERE EXISTS (SELECT 1 FROM taken WHERE has_table_privilege(taken.oid, e.relation, 'DELETE'))
        UNION ALL
        -- 16 is DELETE.
        SELECT v.oid FROM view v
        WHERE v.below = e.relation AND v.relkind = 'v' AND NOT v.is_invokers AND has_table_privilege(v.owner, e.relation, 'DELETE')
          AND pg_relation_is_updatable(v.oid, true) & 16 <> 0
          AND EXISTS (SELECT 1 FROM taken WHERE has_table_privilege(taken.oid, v.oid, 'DELETE'))
    ) AS at (relation),
    LATERAL (SELECT CASE WHEN e.relation IN (SELECT t.relation FROM family t)
        THEN ', where it is not about tenant_id, ' ELSE ', which is not protected, ' END) AS w (whose);
END
$$;

-- Tables that no longer are as `protect` makes them, each with what is first amiss, and what leads past their policies; null where
-- all are. A partition counts where the
-- application may use it by its own name: the policies of the table above do not bind it then. Policies that narrow, and
-- those for roles that the application cannot become, are others' business. Beyond the four rights that policies bind, the
-- application may have none: TRUNCATE takes everybody's rows, REFERENCES tells which keys there are, a trigger runs as
-- whoever writes, who purges too, and an owner can switch everything off. To compile this takes longer than to run it.
CREATE OR REPLACE FUNCTION tenancy.unprotected(application text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH family AS (
        SELECT f.relation, f.parent IS NOT NULL AS is_part FROM tenancy.family() f
    ),
    client AS (
        SELECT DISTINCT r.oid FROM tenancy.becomes(application) b JOIN pg_roles r ON r.oid = b.client
        WHERE NOT r.rolsuper AND NOT r.rolbypassrls
    ),
    taken AS (
        SELECT DISTINCT r.oid FROM tenancy.becomes(application) b JOIN client ON client.oid = b.client JOIN pg_roles r ON r.oid = b.role
        WHERE NOT r.rolsuper AND NOT r.rolbypassrls
    ),
    reached AS (
        SELECT f.relation FROM family f
        WHERE NOT f.is_part
           OR EXISTS (SELECT 1 FROM taken WHERE has_any_column_privilege(taken.oid, f.relation, 'SELECT, INSERT, UPDATE')
                                             OR has_table_privilege(taken.oid, f.relation, 'DELETE'))
    ),
    granted (relation, role, what) AS (
        SELECT f.relation, a.grantee, a.privilege_type FROM family f JOIN pg_class c ON c.oid = f.relation, aclexplode(c.relacl) a
        WHERE a.privilege_type IN ('REFERENCES', 'TRIGGER', 'TRUNCATE')
        UNION ALL
        SELECT f.relation, a.grantee, a.privilege_type
        FROM family f JOIN pg_attribute c ON c.attrelid = f.relation, aclexplode(c.attacl) a
        WHERE a.privilege_type = 'REFERENCES'
        UNION ALL
        SELECT f.relation, c.relowner, 'OWNERSHIP' FROM family f JOIN pg_class c ON c.oid = f.relation
    ),
    -- Of the clients that have what was granted to a role, or to everybody, one is named.
    holder AS (
        SELECT DISTINCT ON (g.role) g.role, r.rolname
        FROM (SELECT DISTINCT granted.role FROM granted) g
        JOIN client ON g.role = 0 OR pg_has_role(client.oid, g.role, 'MEMBER')
        JOIN pg_roles r ON r.oid = client.oid
        ORDER BY g.role, r.rolname <> application, r.rolname
    ),
    policy AS (
        SELECT p.polrelid, p.polname, p.polpermissive, p.polroles,
            -- A column of another type of text is cast.
            replace(concat_ws(' ', p.polcmd, p.polpermissive, p.polroles, 'using', pg_get_expr(p.polqual, p.polrelid),
                'check', pg_get_expr(p.polwithcheck, p.polrelid)), '(tenant_id)::text', 'tenant_id') AS says
        FROM pg_policy p
        -- To write out another's takes a lock on its table, which its owner may hold against us.
        WHERE p.polrelid IN (SELECT f.relation FROM family f UNION ALL SELECT 'tenancy.probe'::regclass)
    ),
    model AS (SELECT polname, says FROM policy WHERE polrelid = 'tenancy.probe'::regclass),
    difference (relation, what) AS (
        SELECT c.oid, 'row-level security' FROM reached r JOIN pg_class c ON c.oid = r.relation
        WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)
        UNION ALL
        SELECT g.relation, h.rolname || ' has ' || string_agg(DISTINCT g.what, ', ') FROM granted g JOIN holder h USING (role)
        GROUP BY g.relation, h.rolname
        UNION ALL
        SELECT d.relation, 'was a partition of ' || d.parent || ': `SELECT tenancy.protect(' || named || ')` or `SELECT tenancy.release('
            || named || ')`'
        FROM tenancy.detached() d, quote_literal(d.relation::text) AS named
        -- One that nobody reaches, as between a migration's DETACH and its DROP, is a purge's business alone.
        WHERE EXISTS (SELECT 1 FROM taken WHERE has_any_column_privilege(taken.oid, d.relation, 'SELECT, INSERT, UPDATE')
                                             OR has_table_privilege(taken.oid, d.relation, 'DELETE, TRUNCATE'))
           OR NOT EXISTS (
               SELECT 1 FROM pg_attribute a
               WHERE a.attrelid = d.relation AND a.attname = 'tenant_id' AND NOT a.attisdropped)
        UNION ALL
        SELECT f.relation, l.what FROM tenancy.loose() l JOIN family f ON f.relation = l.relation
        UNION ALL
        SELECT r.relation, 'policy ' || m.polname FROM reached r CROSS JOIN model m
        WHERE NOT EXISTS (
            SELECT 1 FROM policy p WHERE p.polrelid = r.relation AND p.polname = m.polname AND p.says = m.says)
        UNION ALL
        SELECT r.relation, 'policy ' || p.polname FROM reached r JOIN policy p ON p.polrelid = r.relation
        WHERE p.polpermissive
          AND NOT EXISTS (SELECT 1 FROM model m WHERE m.polname = p.polname)
          AND EXISTS (
              SELECT 1 FROM unnest(p.polroles) AS given (role)
              WHERE role = 0 OR EXISTS (SELECT 1 FROM client WHERE pg_has_role(client.oid, role, 'MEMBER')))
        UNION ALL
        SELECT p.relation, p.what FROM tenancy.passages(application) p
    )
    -- First that which nothing else tells of: all that follows is about the table that was there before.
    SELECT coalesce(
        (SELECT named || CASE WHEN named ~ '^[0-9]'
                THEN ' (the number of one that is gone: protect the one in its place, then `SELECT tenancy.release('
                ELSE ' (another than the one that was protected; where it has no tenants'' rows: `SELECT tenancy.release('
            END || quote_literal(named) || ')`)'
         FROM tenancy.replaced() AS named WHERE named IS NOT NULL),
        (SELECT string_agg(n.relation::regclass || ' (' || n.what || ')', '; ' ORDER BY n.place) FILTER (WHERE n.place <= 5)
            || CASE WHEN count(*) > 5 THEN '; and ' || count(*) - 5 || ' more' ELSE '' END
            || CASE WHEN bool_or(c.relkind = 'v') THEN '; views: `ALTER VIEW v SET (security_invoker = true)`, or an owner whom '
                'policies bind, or, where it is meant so, `SELECT tenancy.permit(''v'')`' ELSE '' END
            || CASE WHEN bool_or(c.relkind = 'm') THEN '; materialised views: revoke the application''s rights there, or, where it is '
                'meant so, `SELECT tenancy.permit(''v'')`' ELSE '' END
         FROM (SELECT d.relation, min(d.what) AS what, row_number() OVER (ORDER BY d.relation) AS place
               FROM difference d GROUP BY d.relation) n JOIN pg_class c ON c.oid = n.relation))
$$;

-- Fails as a statement about a table did, and says where. In our words (TN002) where somebody is to do something about it.
CREATE OR REPLACE FUNCTION tenancy.fail(relation regclass, code text, words text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    us text := quote_ident(current_user);
    at_schema name;
    at_table name;
    remedy text;
BEGIN
    SELECT n.nspname, c.relname,
        concat_ws('; ',
            CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN format('GRANT USAGE ON SCHEMA %I TO %s', n.nspname, us) END,
            CASE WHEN NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE'))
                THEN format('GRANT SELECT, DELETE ON %s TO %s', relation, us) END)
    INTO at_schema, at_table, remedy
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'tenant_id' AND NOT a.attisdropped)
        AND at_table IS NOT NULL
    THEN
        RAISE EXCEPTION '%: its policies ask tenancy.resolve, and it has no column tenant_id, so nobody can tell whose its rows are: add '
            'one, then protect it; or, where they are nobody''s, have its policies ask something else', relation
        USING ERRCODE = 'TN002';
    END IF;
    IF code = '42501' AND remedy <> '' THEN
        RAISE EXCEPTION '%: %: `%`, or as its owner `SELECT tenancy.protect(%)`', relation, words, remedy, quote_literal(relation::text)
        USING ERRCODE = 'TN002';
    END IF;
    -- Us no policy binds: it is whoever a rule or a function there acts as.
    IF code = '42501' AND (SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles r WHERE r.rolname = current_user) THEN
        IF words LIKE 'query would be affected by row-level security%' THEN
            RAISE EXCEPTION '%: a rule, or a SECURITY DEFINER function of a trigger there, acts as an owner whom policies bind: have the '
                'function (of a rule: the table) owned by a role of its own with BYPASSRLS (%)', relation, words
            USING ERRCODE = 'TN002';
        END IF;
        RAISE EXCEPTION '%: what runs there when a row goes lacks a right (%): grant it to %, or to the owner of the rule''s table or of '
            'the SECURITY DEFINER function that does it', relation, words, us
        USING ERRCODE = 'TN002';
    END IF;
    SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', c.oid::regclass) INTO remedy
    FROM pg_class c
    WHERE c.oid IN (SELECT relation UNION ALL SELECT p.relid FROM pg_partition_tree(relation) p)
      AND c.relkind = 'r' AND c.relreplident <> 'f'
      AND NOT EXISTS (
          SELECT 1 FROM pg_index i
          WHERE i.indrelid = c.oid AND ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident)))
    -- The one that it failed at, of many partitions.
    ORDER BY position('"' || c.relname || '"' in words) = 0, c.oid LIMIT 1;
    IF code = '55000' AND words LIKE '%replica identity%' AND remedy IS NOT NULL THEN
        RAISE EXCEPTION '%: %: `%`, or give it a primary key', relation, words, remedy USING ERRCODE = 'TN002';
    END IF;
    IF code = '27000' THEN
        RAISE EXCEPTION '%: %: have the trigger run AFTER DELETE', relation, words USING ERRCODE = 'TN002';
    END IF;
    -- An application's words may quote rows.
    IF code = 'P0001' THEN
        RAISE EXCEPTION '%: a trigger or a rule there refuses to let them go; its words are in our log', relation
        USING ERRCODE = 'TN002', DETAIL = words;
    END IF;
    -- One that is gone meanwhile has no name.
    IF at_table IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = words;
    END IF;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = words, SCHEMA = at_schema, TABLE = at_table;
END
$$;

-- Locks a table as a statement about it will, so that its name stays its own until the end: a statement that waits for a lock goes
-- to whatever has the name by then, which whoever owns the schema could have put there.
CREATE OR REPLACE FUNCTION tenancy.hold(held regclass, mode text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named text := held::text;
BEGIN
    -- A foreign one takes no lock: its rows are elsewhere.
    IF (SELECT c.relkind <> 'f' FROM pg_class c WHERE c.oid = held) THEN
        EXECUTE format('LOCK TABLE %s IN %s MODE', named, mode);
    END IF;
    IF to_regclass(named) IS DISTINCT FROM held THEN
        RAISE EXCEPTION '% was replaced while we waited for it', named USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- In which order a tenant's rows go: what refers to other rows before these. Else a foreign key's action would empty tenant_id there,
-- or make it another's, and no purge would find that row again; and a trigger that lets no row go before its parts would stop all.
-- Tables that refer to each other in a circle are one step; `behind` are all that refer to it, at whatever distance, also by way of
-- tables that are not ours. `is_at_once` says that a key within the circle would do so: no row of it may go without the others.
-- `is_wary` says that one of those behind it would do so, or that triggers or rules are there: a removal may do more than it says.
CREATE OR REPLACE FUNCTION tenancy.removal() RETURNS TABLE (together regclass[], behind regclass[], is_at_once boolean, is_wary boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE ours AS MATERIALIZED (
        SELECT t::oid AS relation FROM tenancy.tenant_tables() AS t
    ),
    -- With what goes along with it.
    part (relation, root) AS (
        SELECT o.relation, o.relation FROM ours o
        UNION
        SELECT i.inhrelid, p.root FROM part p JOIN pg_inherits i ON i.inhparent = p.relation
    ),
    key AS MATERIALIZED (
        SELECT DISTINCT k.conrelid, k.confrelid FROM pg_constraint k WHERE k.contype = 'f'
    ),
    reached (root, relation) AS (
        SELECT p.root, k.conrelid FROM part p JOIN key k ON k.confrelid = p.relation
        UNION
        SELECT r.root, k.conrelid FROM reached r JOIN key k ON k.confrelid = r.relation
    ),
    after (root, other) AS MATERIALIZED (
        SELECT DISTINCT r.root, p.root FROM reached r JOIN part p ON p.relation = r.relation WHERE p.root <> r.root
    ),
    mutual AS MATERIALIZED (
        SELECT a.root, a.other FROM after a JOIN after back ON back.root = a.other AND back.other = a.root
    ),
    says_whose AS MATERIALIZED (
        SELECT w.relation, w.number FROM tenancy.says_whose(ARRAY(SELECT p.relation FROM part p)) w
    ),
    -- Tables whose tenant_id a removal at the end of a way through `reached` changes, by that end.
    emptied (relation, root) AS MATERIALIZED (
        SELECT DISTINCT ours.root, r.root
        FROM pg_constraint k JOIN part ours ON ours.relation = k.conrelid
        JOIN says_whose w ON w.relation = k.conrelid AND w.number = ANY (coalesce(nullif(k.confdelsetcols, '{}'), k.conkey))
        JOIN reached r ON r.relation = k.conrelid
        WHERE k.contype = 'f' AND k.confdeltype IN ('n', 'd')
    ),
    busy (root) AS (
        SELECT p.root FROM part p JOIN pg_trigger t ON t.tgrelid = p.relation WHERE NOT t.tgisinternal
        UNION
        SELECT p.root FROM part p JOIN pg_rewrite r ON r.ev_class = p.relation
    ),
    others AS (
        SELECT a.root, array_agg(a.other) AS all_of_them FROM after a GROUP BY a.root
    ),
    step AS (
        SELECT o.relation, coalesce(n.all_of_them, '{}') AS others,
            ARRAY(SELECT o.relation UNION SELECT m.other FROM mutual m WHERE m.root = o.relation ORDER BY 1) AS circle
        FROM ours o LEFT JOIN others n ON n.root = o.relation
    )
    SELECT s.circle::regclass[],
        CASE WHEN cardinality(s.circle) = 1 THEN s.others ELSE ARRAY(SELECT unnest(s.others) EXCEPT SELECT unnest(s.circle)) END::regclass[],
        EXISTS (SELECT 1 FROM emptied e WHERE e.root = ANY (s.circle) AND e.relation = ANY (s.circle)),
        EXISTS (SELECT 1 FROM emptied e WHERE e.root = ANY (s.circle)) OR EXISTS (SELECT 1 FROM busy b WHERE b.root = ANY (s.circle))
    FROM step s
    WHERE s.relation = s.circle[1]
    -- What refers to something has fewer behind it than that, or as many where both are in one circle.
    ORDER BY cardinality(s.others), s.relation;
END
$$;

-- Removes all rows of a tenant from tables that may refer to each other, in one statement, and answers how many went.
CREATE OR REPLACE FUNCTION tenancy.remove_at_once(together regclass[], purged text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    gone bigint;
BEGIN
    IF cardinality(together) = 1 THEN
        EXECUTE format('DELETE FROM %s WHERE tenant_id = $1', together[1]) USING purged;
        GET DIAGNOSTICS gone = ROW_COUNT;
        RETURN gone;
    END IF;
    EXECUTE (
        SELECT 'WITH ' || string_agg(format('gone_%s AS (DELETE FROM %s WHERE tenant_id = $1 RETURNING 1)', n, t), ', ')
            || ' SELECT ' || string_agg(format('(SELECT count(*) FROM gone_%s)', n), ' + ')
        FROM unnest(together) WITH ORDINALITY AS one (t, n))
    INTO gone USING purged;
    RETURN gone;
END
$$;

-- Whether a tenant has rows in one of these tables.
CREATE OR REPLACE FUNCTION tenancy.has_rows(together regclass[], asked text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    relation regclass;
    is_there boolean;
BEGIN
    FOREACH relation IN ARRAY together LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s WHERE tenant_id = $1)', relation) INTO is_there USING asked;
        IF is_there THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;

-- One step of a removal: up to so many rows of each of its tables, or all where there is no limit. Answers how many went, and whether
-- there may be more: others have to go first, or something refers to them that is no step before this one.
CREATE OR REPLACE FUNCTION tenancy.remove_some(
    together regclass[], behind regclass[], is_at_once boolean, is_wary boolean, occupied regclass[], purged text, most integer,
    OUT gone bigint, OUT is_left boolean
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    relation regclass := together[1];
    went bigint;
BEGIN
    gone := 0;
    -- A trigger may have put rows where there were none any more.
    is_left := behind && occupied OR (is_wary AND tenancy.has_rows(behind, purged));
    IF is_left THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM tenancy.hold(t, 'ROW EXCLUSIVE') FROM unnest(together) AS t;
    EXCEPTION WHEN OTHERS THEN
        PERFORM tenancy.fail(relation, SQLSTATE, SQLERRM);
    END;
    IF most IS NULL THEN
        BEGIN
            gone := tenancy.remove_at_once(together, purged);
        EXCEPTION
            WHEN integrity_constraint_violation THEN
                is_left := true;
            WHEN OTHERS THEN
                PERFORM tenancy.fail(relation, SQLSTATE, SQLERRM);
        END;
    ELSIF NOT is_at_once THEN
        FOREACH relation IN ARRAY together LOOP
            BEGIN
                EXECUTE format(
                    'DELETE FROM %1$s WHERE tenant_id = $1 AND ctid = ANY (ARRAY('
                    'SELECT ctid FROM %1$s WHERE tenant_id = $1 LIMIT $2))', relation)
                USING purged, most;
                GET DIAGNOSTICS went = ROW_COUNT;
                gone := gone + went;
                is_left := is_left OR went >= most;
            EXCEPTION
                WHEN integrity_constraint_violation THEN
                    is_left := true;
                WHEN OTHERS THEN
                    PERFORM tenancy.fail(relation, SQLSTATE, SQLERRM);
            END;
        END LOOP;
    END IF;
    is_left := is_left OR (is_wary AND tenancy.has_rows(together, purged));
END
$$;

-- Removes up to so many of a tenant's rows from each table whose rows nobody refers to any more, and answers how many went. Where none
-- goes that way, rows of a table, or of tables in a circle, refer to each other: these are emptied of them at once. Fails rather than see
-- less than everything, so nothing stays behind unseen.
CREATE OR REPLACE FUNCTION tenancy.purge_batch(purged text, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    -- The same for both rounds: to find it out takes longer than to go through it.
    steps CURSOR FOR SELECT * FROM tenancy.removal();
    step record;
    most integer;
    gone bigint;
    is_left boolean;
    total bigint := 0;
    occupied regclass[];
BEGIN
    -- What is put off to the commit would fail there, where nobody can say at which table.
    SET CONSTRAINTS ALL IMMEDIATE;
    OPEN steps;
    -- No limit is null.
    FOREACH most IN ARRAY ARRAY[rows_max, NULL] LOOP
        EXIT WHEN total > 0;
        occupied := '{}';
        MOVE ABSOLUTE 0 IN steps;
        LOOP
            FETCH steps INTO step;
            EXIT WHEN NOT FOUND;
            SELECT r.gone, r.is_left INTO gone, is_left
            FROM tenancy.remove_some(step.together, step.behind, step.is_at_once, step.is_wary, occupied, purged, most) r;
            total := total + gone;
            IF is_left THEN
                occupied := occupied || step.together;
            END IF;
        END LOOP;
    END LOOP;
    CLOSE steps;
    RETURN total;
END
$$;

-- The first table that still has rows of a tenant; null where none has. Sees everything or fails.
CREATE OR REPLACE FUNCTION tenancy.leftover(purged text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    relation regclass;
    is_there boolean;
BEGIN
    FOR relation IN SELECT tenancy.tenant_tables() LOOP
        BEGIN
            PERFORM tenancy.hold(relation, 'ACCESS SHARE');
            is_there := tenancy.has_rows(ARRAY[relation], purged);
        EXCEPTION WHEN OTHERS THEN
            PERFORM tenancy.fail(relation, SQLSTATE, SQLERRM);
        END;
        IF is_there THEN
            RETURN relation::text;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Where rows of a tenant stay although `purge_batch` removes none any more, and what keeps them; null where none is left. Rows
-- that are only kept by the tenant's own in another table are not the cause: what keeps those is.
CREATE OR REPLACE FUNCTION tenancy.kept(purged text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    step record;
    relation regclass;
    referring regclass;
    found_schema text;
    found_table text;
    found_key text;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    FOR step IN SELECT * FROM tenancy.removal() LOOP
        relation := step.together[1];
        BEGIN
            PERFORM tenancy.hold(t, 'ROW EXCLUSIVE') FROM unnest(step.together) AS t;
            CONTINUE WHEN NOT tenancy.has_rows(step.together, purged);
            PERFORM tenancy.remove_at_once(step.together, purged);
            IF tenancy.has_rows(step.together, purged) THEN
                RETURN relation || ': DELETE leaves them and fails with no error, so a trigger or a rule keeps them';
            END IF;
        EXCEPTION
          -- From PostgreSQL 18 on, RESTRICT has a code of its own.
          WHEN foreign_key_violation OR restrict_violation THEN
            GET STACKED DIAGNOSTICS
                found_schema = SCHEMA_NAME, found_table = TABLE_NAME, found_key = CONSTRAINT_NAME;
            referring := to_regclass(format('%I.%I', found_schema, found_table));
            -- No table is named where a trigger of the application raised it.
            RETURN relation || coalesce(': rows of ' || referring || ' refer to them (foreign key ' || quote_ident(found_key) || ')',
                ': a trigger refuses to let them go');
          WHEN OTHERS THEN
            PERFORM tenancy.fail(relation, SQLSTATE, SQLERRM);
        END;
    END LOOP;
    RETURN NULL;
END
$$;

-- Purges a tenant whom the registry has forgotten, all of it at once, and gives its id free; answers how many rows went. By
-- its uid, so that it cannot meet the tenant that has the id now.
CREATE OR REPLACE FUNCTION tenancy.forget(forgotten text, whose uuid) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    gone bigint;
    total bigint := 0;
    relation text := tenancy.replaced();
    why text;
BEGIN
    IF relation IS NOT NULL THEN
        RAISE EXCEPTION '% is another table than the one that was protected: protect or release it, then forget', relation;
    END IF;
    -- First: nobody is let in, or takes the id over, until this is done.
    DELETE FROM tenancy.access a WHERE a.tenant_id = forgotten AND a.uid = whose;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the access row of % is not that of the tenant with uid %', forgotten, whose;
    END IF;
    LOOP
        gone := tenancy.purge_batch(forgotten, NULL);
        EXIT WHEN gone = 0;
        total := total + gone;
    END LOOP;
    why := tenancy.kept(forgotten);
    IF why IS NOT NULL THEN
        RAISE EXCEPTION 'rows of % stay in %', forgotten, why;
    END IF;
    RETURN total;
END
$$;

-- The first table in which whoever asks sees any row; null where none is seen.
CREATE OR REPLACE FUNCTION tenancy.visible() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass;
    is_seen boolean;
BEGIN
    FOR relation IN SELECT tenancy.tenant_tables() LOOP
        CONTINUE WHEN NOT has_table_privilege(relation, 'SELECT')
            OR NOT has_schema_privilege((SELECT relnamespace FROM pg_class WHERE oid = relation), 'USAGE');
        PERFORM tenancy.hold(relation, 'ACCESS SHARE');
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', relation) INTO is_seen;
        IF is_seen THEN
            RETURN relation::text;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tenancy FROM PUBLIC;
-- It does what everybody may do with a right of theirs; control planes of versions before have it that way, too.
GRANT EXECUTE ON FUNCTION tenancy.hold(regclass, text) TO PUBLIC;
SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('tenancy.path'), false);
