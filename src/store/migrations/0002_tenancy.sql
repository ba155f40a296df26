-- The access row that row-level security asks, and a demo table that shows it at work. An application's own tables
-- follow the same template.
CREATE SCHEMA tenancy;

CREATE TABLE tenancy.access (
    tenant_id text PRIMARY KEY,
    uid uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('ACTIVE', 'READ_ONLY', 'SUSPENDED', 'ARCHIVED', 'DELETED')),
    generation bigint NOT NULL
);

-- The tenant of this session where its state allows the kind of access ('r' or 'w'), else null. Called once a
-- statement, because policies wrap it in a subquery.
CREATE FUNCTION tenancy.resolve(kind text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT a.tenant_id FROM tenancy.access a
        WHERE a.tenant_id = nullif(current_setting('tenancy.tenant', true), '')
          AND (a.state = 'ACTIVE' OR (kind = 'r' AND a.state = 'READ_ONLY'))
    );
END
$$;
REVOKE ALL ON FUNCTION tenancy.resolve(text) FROM PUBLIC;

-- Roles belong to the whole cluster, so another database of it may be making the same one right now.
DO $$
BEGIN
    CREATE ROLE tenantry_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

CREATE TABLE tenancy.demo_document (
    tenant_id text NOT NULL,
    document_id bigint GENERATED ALWAYS AS IDENTITY,
    title text NOT NULL,
    PRIMARY KEY (tenant_id, document_id)
);
ALTER TABLE tenancy.demo_document ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_reads ON tenancy.demo_document FOR SELECT TO tenantry_app
    USING (tenant_id = (SELECT tenancy.resolve('r')));
CREATE POLICY tenant_inserts ON tenancy.demo_document FOR INSERT TO tenantry_app
    WITH CHECK (tenant_id = (SELECT tenancy.resolve('w')));
CREATE POLICY tenant_updates ON tenancy.demo_document FOR UPDATE TO tenantry_app
    USING (tenant_id = (SELECT tenancy.resolve('w'))) WITH CHECK (tenant_id = (SELECT tenancy.resolve('w')));
CREATE POLICY tenant_deletes ON tenancy.demo_document FOR DELETE TO tenantry_app
    USING (tenant_id = (SELECT tenancy.resolve('w')));
GRANT USAGE ON SCHEMA tenancy TO tenantry_app;
GRANT EXECUTE ON FUNCTION tenancy.resolve(text) TO tenantry_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.demo_document TO tenantry_app;
-- So that the registry's own role can act as an ordinary client when it verifies.
GRANT tenantry_app TO CURRENT_USER;
