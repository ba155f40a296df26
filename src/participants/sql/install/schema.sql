-- What an application's database needs so that its rows follow a tenant's state. Safe to run again; `install = true` of a
-- target runs it where the schema is missing.
--
-- The tables of the application follow by `SELECT tenancy.protect('schema.table')` for each table that has a column
-- `tenant_id text`. An application's transaction says whose it is: `SELECT set_config('tenancy.tenant', $1, true)`.
CREATE SCHEMA IF NOT EXISTS tenancy;

CREATE TABLE IF NOT EXISTS tenancy.access (
    tenant_id text PRIMARY KEY,
    uid uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('ACTIVE', 'READ_ONLY', 'SUSPENDED', 'ARCHIVED', 'DELETED')),
    generation bigint NOT NULL
);

-- The tenant of this session where its state allows the kind of access ('r' read, 'w' write, 'a' read from the archive),
-- else null. Called once a statement, because policies wrap it in a subquery.
CREATE OR REPLACE FUNCTION tenancy.resolve(kind text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
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
    CREATE ROLE tenantry_archive NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- Turns a table's row-level security on and has it ask the access row: for everybody, the owner too.
CREATE OR REPLACE FUNCTION tenancy.protect(protected regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
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
END
$$;

-- Where an ordinary client is tried. It is empty but inside the transactions that try, which are rolled back.
CREATE UNLOGGED TABLE IF NOT EXISTS tenancy.probe (tenant_id text NOT NULL);
DO $$
BEGIN
    PERFORM tenancy.protect('tenancy.probe');
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
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
        EXECUTE format('GRANT EXECUTE ON FUNCTION tenancy.resolve(text), tenancy.tenant_tables(), tenancy.visible() '
            'TO %I', member);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.probe TO %I', member);
    END LOOP;
    IF NOT pg_has_role(current_user, admitted, 'MEMBER') THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', admitted);
    END IF;
END
$$;

-- The tables with tenants' rows: those whose policies ask `resolve`.
CREATE OR REPLACE FUNCTION tenancy.tenant_tables() RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT p.polrelid::regclass
    FROM pg_policy p
    WHERE p.polrelid <> 'tenancy.probe'::regclass
      AND coalesce(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
          LIKE '%tenancy.resolve(%'
$$;

-- Removes up to so many of a tenant's rows from each table, and answers how many went. A row that others refer to waits
-- for them: the next call finds it. Where no table gives any that way, rows of a table refer to each other, and each table
-- is emptied of them in one statement. Fails rather than see less than everything, so nothing stays behind unseen.
CREATE OR REPLACE FUNCTION tenancy.purge_batch(purged text, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
DECLARE
    relation regclass;
    most integer;
    gone bigint;
    total bigint := 0;
BEGIN
    -- No limit is null.
    FOREACH most IN ARRAY ARRAY[rows_max, NULL] LOOP
        EXIT WHEN total > 0;
        FOR relation IN SELECT tenancy.tenant_tables() LOOP
            BEGIN
                EXECUTE format(
                    'DELETE FROM %1$s WHERE tenant_id = $1 AND ctid = ANY (ARRAY('
                    'SELECT ctid FROM %1$s WHERE tenant_id = $1 LIMIT $2))', relation)
                USING purged, most;
                GET DIAGNOSTICS gone = ROW_COUNT;
                total := total + gone;
            EXCEPTION WHEN foreign_key_violation THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
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
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s WHERE tenant_id = $1)', relation)
        INTO is_there USING purged;
        IF is_there THEN
            RETURN relation::text;
        END IF;
    END LOOP;
    RETURN NULL;
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
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', relation) INTO is_seen;
        IF is_seen THEN
            RETURN relation::text;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tenancy FROM PUBLIC;
