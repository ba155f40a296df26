//! What leads past the policies of tables that are protected as they should be: views, copies and foreign keys.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::overreach::is_named_until;
use super::postgres::Application;
use super::{bring, tenant, told};

impl Application {
    /// Roles of its own server-wide name: an owner of views whom no policy binds, and one whom they bind.
    async fn with_owners_of_views(&self) {
        let role = &self.role;
        let make = format!(
            "CREATE ROLE {role}_flyway BYPASSRLS; CREATE ROLE {role}_owner;
             GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}_flyway, {role}_owner"
        );
        self.admin.batch_execute(&make).await.unwrap();
    }

    /// What a client sees in a view, without saying whose it is.
    async fn sees(&self, view: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {view}");
        self.client().await.query_one(&count, &[]).await.unwrap().get(0)
    }

    async fn amiss(&self, tenant: &tenantry::participants::TenantRef) -> Option<String> {
        self.target.observe(tenant).await.unwrap().amiss
    }
}

#[tokio::test]
async fn a_view_that_shows_a_suspended_tenants_rows_since_no_policy_binds_its_owner_is_named() {
    let application = Application::new("").await;
    application.with_owners_of_views().await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    for (right, who) in [
        ("SELECT", format!("{role}_flyway has BYPASSRLS")),
        ("UPDATE", format!("{role}_flyway has BYPASSRLS")),
        ("SELECT", format!("{role}_boss is superuser")),
    ] {
        let owner = who.split(' ').next().unwrap();
        let make = format!(
            "CREATE VIEW shown AS SELECT * FROM document;
             DO $$ BEGIN CREATE ROLE {role}_boss SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER VIEW shown OWNER TO {owner}; GRANT {right} ON shown TO {role}"
        );
        for (mended, seen) in [
            ("ALTER VIEW shown SET (security_invoker = true)".to_owned(), 0),
            (format!("ALTER VIEW shown OWNER TO {role}_owner"), 0),
            (format!("REVOKE ALL ON shown FROM {role}"), -1),
        ] {
            let named = format!("public.shown (past every policy: its owner {who}); views: `ALTER VIEW ");
            is_named_until(&application, &acme, (make.clone(), named, mended.clone())).await;
            if right == "SELECT" && seen >= 0 {
                assert_eq!(application.sees("shown").await, seen, "{mended}");
            }
            admin.batch_execute("DROP VIEW shown").await.unwrap();
        }
    }
}

#[tokio::test]
async fn views_of_views_copies_and_views_of_partitions_are_named_by_what_they_really_show() {
    let application = Application::new("").await;
    application.with_owners_of_views().await;
    let (role, acme) = (&application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    let inner =
        format!("CREATE VIEW inside AS SELECT * FROM document; ALTER VIEW inside OWNER TO {role}_flyway");
    for (made, named, back) in [
        (
            format!(
                "{inner}; GRANT SELECT ON inside TO {role}_owner; CREATE VIEW shown AS SELECT * FROM inside;
                 ALTER VIEW shown OWNER TO {role}_owner"
            ),
            format!("public.shown (past every policy through public.inside: its owner {role}_flyway"),
            "DROP VIEW inside CASCADE",
        ),
        (
            "CREATE MATERIALIZED VIEW shown AS SELECT * FROM document".to_owned(),
            "public.shown (a copy that no policy filters".to_owned(),
            "DROP MATERIALIZED VIEW shown",
        ),
        (
            format!(
                "CREATE MATERIALIZED VIEW copy AS SELECT * FROM document; GRANT SELECT ON copy TO {role}_owner;
                 CREATE VIEW shown AS SELECT * FROM copy; ALTER VIEW shown OWNER TO {role}_owner"
            ),
            "public.shown (past every policy through public.copy: a copy that".to_owned(),
            "DROP MATERIALIZED VIEW copy CASCADE",
        ),
        (
            format!(
                "CREATE TABLE shown (tenant_id text); ALTER TABLE shown OWNER TO {role}_flyway; INSERT INTO shown VALUES ('x');
                 CREATE RULE r AS ON DELETE TO shown DO ALSO SELECT d.tenant_id FROM document d"
            ),
            format!("public.shown (past every policy: its owner {role}_flyway has BYPASSRLS"),
            "DROP TABLE shown",
        ),
        (
            format!(
                "ALTER TABLE visit DETACH PARTITION visit_2026; CREATE VIEW shown AS SELECT * FROM visit_2026;
                 GRANT SELECT ON visit_2026 TO {role}_owner; ALTER VIEW shown OWNER TO {role}_owner"
            ),
            "public.shown (past every policy: public.visit_2026 is a partition".to_owned(),
            "DROP VIEW shown; ALTER TABLE visit ATTACH PARTITION visit_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        ),
        (
            format!("CREATE VIEW shown AS SELECT * FROM visit_2025; ALTER VIEW shown OWNER TO {role}_owner"),
            "public.shown (past every policy: public.visit_2025 is a partition".to_owned(),
            "DROP VIEW shown",
        ),
        (
            format!(
                "CREATE VIEW shown AS SELECT * FROM document; ALTER VIEW shown OWNER TO {role}_owner;
                 CREATE POLICY staff ON document FOR SELECT TO {role}_owner USING (true)"
            ),
            format!("public.shown (past every policy: its owner {role}_owner has a policy of its own"),
            "DROP VIEW shown; DROP POLICY staff ON document",
        ),
    ] {
        let made = format!("{made}; GRANT SELECT ON shown TO {role}");
        is_named_until(&application, &acme, (made.clone(), named, back.to_owned())).await;
        application.admin.batch_execute(&made).await.unwrap();
        assert!(application.sees("shown").await > 0, "it does show them: {made}");
        application.admin.batch_execute(back).await.unwrap();
    }
}

#[tokio::test]
async fn a_view_of_another_owner_above_an_invokers_view_is_no_fault() {
    let application = Application::new("").await;
    application.with_owners_of_views().await;
    let (role, acme) = (&application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    // Right above the table stands an invoker's: nothing further up changes whose rights count there.
    let harmless = format!(
        "CREATE VIEW inside AS SELECT * FROM document; ALTER VIEW inside OWNER TO {role}_flyway; ALTER VIEW inside SET (security_invoker = true); CREATE VIEW shown AS SELECT * FROM inside;
         ALTER VIEW shown OWNER TO {role}_flyway; GRANT SELECT ON shown TO {role};
         CREATE VIEW for_staff AS SELECT * FROM document"
    );
    application.admin.batch_execute(&harmless).await.unwrap();
    assert_eq!((application.amiss(&acme).await, application.sees("shown").await), (None, 0));
}

#[tokio::test]
async fn a_view_that_is_meant_to_show_every_tenant_is_permitted_by_name() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let make = format!(
        "CREATE VIEW totals AS SELECT tenant_id, count(*) FROM document GROUP BY 1; GRANT SELECT ON totals TO {role}"
    );
    admin.batch_execute(&make).await.unwrap();
    let why = application.amiss(&acme).await.unwrap();
    assert!(why.contains("public.totals (past every policy"), "{why}");
    admin
        .batch_execute("SELECT tenancy.permit('public.totals'); SELECT tenancy.permit('totals')")
        .await
        .unwrap();
    assert_eq!(application.amiss(&acme).await, None);
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
    // Another view of that name is another view; and nothing else is permitted that way.
    admin.batch_execute(&format!("DROP VIEW totals; {make}")).await.unwrap();
    assert!(application.amiss(&acme).await.is_some_and(|why| why.contains("public.totals")));
    let table = admin.batch_execute("SELECT tenancy.permit('document')").await.unwrap_err();
    assert!(table.as_db_error().unwrap().message().contains("is no view"), "{table}");
    application.client().await.batch_execute("SELECT tenancy.permit('totals')").await.unwrap_err();
}

#[tokio::test]
async fn a_foreign_key_that_gives_a_tenants_rows_to_another_with_an_update_of_an_open_table_is_named() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let account = format!(
        "CREATE TABLE account (id text PRIMARY KEY, name text); INSERT INTO account SELECT DISTINCT tenant_id FROM document;
         GRANT SELECT, UPDATE (name) ON account TO {role}"
    );
    application.admin.batch_execute(&account).await.unwrap();
    let back =
        format!("ALTER TABLE document DROP CONSTRAINT whose; REVOKE UPDATE (id) ON account FROM {role}");
    for action in ["CASCADE", "SET NULL", "SET DEFAULT"] {
        let key = format!(
            "ALTER TABLE document ADD CONSTRAINT whose FOREIGN KEY (tenant_id) REFERENCES account ON UPDATE {action}"
        );
        application.admin.batch_execute(&key).await.unwrap();
        assert_eq!(application.amiss(&acme).await, None, "{action}: nobody may change the key");
        let named = "public.document (foreign key whose: an update of public.account, which is not protected, changes tenant_id)";
        let grant = format!("GRANT UPDATE (id) ON account TO {role}");
        is_named_until(&application, &acme, (grant, named.to_owned(), back.clone())).await;
    }
    // An update that is refused, and one of a table that is protected itself, harm nobody.
    let harmless = format!(
        "GRANT UPDATE ON account TO {role}; ALTER TABLE document ADD CONSTRAINT whose FOREIGN KEY (tenant_id) REFERENCES account;
         ALTER TABLE folder ADD UNIQUE (tenant_id, folder_id); ALTER TABLE document ADD FOREIGN KEY (tenant_id, folder_id)
         REFERENCES folder (tenant_id, folder_id) ON UPDATE CASCADE"
    );
    application.admin.batch_execute(&harmless).await.unwrap();
    assert_eq!(application.amiss(&acme).await, None);
}

/// By way of a column that `tenant_id` is generated from, of a table further up, and of a view over it.
#[tokio::test]
async fn a_foreign_key_that_leads_to_tenant_id_over_a_detour_is_named() {
    let application = Application::new("").await;
    application.with_owners_of_views().await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let tables = format!(
        "CREATE TABLE top (id text PRIMARY KEY, name text); CREATE TABLE mid (id text PRIMARY KEY REFERENCES top ON UPDATE CASCADE, name text);
         CREATE TABLE leaf (id text REFERENCES mid ON UPDATE CASCADE, tenant_id text GENERATED ALWAYS AS (id) STORED);
         SELECT tenancy.protect('leaf'); GRANT SELECT, UPDATE (name) ON top, mid TO {role}; GRANT SELECT, UPDATE ON top TO {role}_owner;
         CREATE VIEW tops AS SELECT * FROM top; ALTER VIEW tops OWNER TO {role}_owner;
         CREATE VIEW counts AS SELECT id, count(*) FROM top GROUP BY 1; ALTER VIEW counts OWNER TO {role}_owner; GRANT UPDATE ON counts TO {role}"
    );
    admin.batch_execute(&tables).await.unwrap();
    assert_eq!(application.amiss(&acme).await, None, "nobody may change a key");
    for place in ["mid", "top", "tops"] {
        let named = format!(
            "public.leaf (foreign key leaf_id_fkey: an update of public.{place}, which is not protected, changes tenant_id)"
        );
        let grant = format!("GRANT UPDATE ON {place} TO {role}");
        let back = format!("REVOKE UPDATE ON {place} FROM {role}; GRANT UPDATE (name) ON top, mid TO {role}");
        is_named_until(&application, &acme, (grant, named, back)).await;
    }
}

/// The rows would be a neighbour's, or nobody's, and no purge would find them.
#[tokio::test]
async fn a_foreign_key_that_empties_tenant_id_with_a_removal_from_an_open_table_is_named() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let tables = format!(
        "CREATE TABLE top (id text PRIMARY KEY); CREATE TABLE account (id text PRIMARY KEY REFERENCES top ON DELETE CASCADE);
         CREATE TABLE leaf (tenant_id text, note int); SELECT tenancy.protect('leaf'); GRANT SELECT ON top, account TO {role}"
    );
    application.admin.batch_execute(&tables).await.unwrap();
    for action in ["SET NULL", "SET DEFAULT", "SET NULL (tenant_id)"] {
        let key = format!(
            "ALTER TABLE leaf ADD CONSTRAINT whose FOREIGN KEY (tenant_id) REFERENCES account ON DELETE {action}"
        );
        application.admin.batch_execute(&key).await.unwrap();
        assert_eq!(application.amiss(&acme).await, None, "{action}: nobody may remove what it refers to");
        for place in ["account", "top"] {
            let named = format!(
                "public.leaf (foreign key whose: a removal from public.{place}, which is not protected, empties tenant_id, or makes it another's)"
            );
            let grant = format!("GRANT DELETE ON {place} TO {role}");
            let back = format!("REVOKE DELETE ON {place} FROM {role}");
            is_named_until(&application, &acme, (grant, named, back)).await;
        }
        application.admin.batch_execute("ALTER TABLE leaf DROP CONSTRAINT whose").await.unwrap();
    }
    // Where the rows go along, or another column is emptied, nothing becomes anybody's else.
    let harmless = format!(
        "GRANT DELETE ON account TO {role}; ALTER TABLE leaf ADD FOREIGN KEY (tenant_id) REFERENCES account ON DELETE CASCADE;
         ALTER TABLE account ADD n int, ADD UNIQUE (id, n);
         ALTER TABLE leaf ADD FOREIGN KEY (tenant_id, note) REFERENCES account (id, n) ON DELETE SET NULL (note)"
    );
    application.admin.batch_execute(&harmless).await.unwrap();
    assert_eq!(application.amiss(&acme).await, None);
}

#[tokio::test]
async fn a_foreign_key_from_tenant_id_to_another_column_of_a_protected_table_is_named() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let tables = "CREATE TABLE org (tenant_id text, id text PRIMARY KEY, UNIQUE (tenant_id, id)); SELECT tenancy.protect('org');
        CREATE TABLE memo (tenant_id text REFERENCES org (id) ON UPDATE CASCADE ON DELETE SET NULL); SELECT tenancy.protect('memo')";
    application.admin.batch_execute(tables).await.unwrap();
    for (right, named) in [
        ("UPDATE (id)", "an update of public.org, where it is not about tenant_id, changes tenant_id"),
        (
            "DELETE",
            "a removal from public.org, where it is not about tenant_id, empties tenant_id, or makes it another's",
        ),
    ] {
        let named = format!("public.memo (foreign key memo_tenant_id_fkey: {named})");
        let grant = format!("GRANT {right} ON org TO {role}");
        is_named_until(&application, &acme, (grant, named, format!("REVOKE {right} ON org FROM {role}")))
            .await;
    }
    // A tenant's own row leads to its own alone, also where both tell the tenant by another column.
    let harmless = format!(
        "DROP TABLE memo; GRANT UPDATE, DELETE ON org TO {role};
         CREATE TABLE memo (tenant_id text, org text, FOREIGN KEY (tenant_id, org) REFERENCES org (tenant_id, id) ON UPDATE CASCADE ON DELETE SET NULL);
         CREATE TABLE firm (id text PRIMARY KEY, tenant_id text GENERATED ALWAYS AS (id) STORED);
         CREATE TABLE work (firm text REFERENCES firm ON UPDATE CASCADE ON DELETE SET NULL, tenant_id text GENERATED ALWAYS AS (firm) STORED);
         SELECT tenancy.protect(t::regclass) FROM unnest(ARRAY['memo', 'firm', 'work']) AS t; GRANT UPDATE, DELETE ON firm TO {role}"
    );
    application.admin.batch_execute(&harmless).await.unwrap();
    assert_eq!(application.amiss(&acme).await, None);
}

/// Its statements were taken in when it was made, so nobody needs the schema's USAGE to run them.
#[tokio::test]
async fn a_view_in_a_schema_that_nobody_may_use_is_named_where_a_function_leads_to_it() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let view = format!(
        "CREATE SCHEMA hidden; CREATE VIEW hidden.v AS SELECT * FROM public.document; GRANT SELECT ON hidden.v TO {role}"
    );
    application.admin.batch_execute(&view).await.unwrap();
    assert_eq!(application.amiss(&acme).await, None, "nobody gets there");
    let function = "CREATE FUNCTION shown() RETURNS SETOF bigint LANGUAGE sql BEGIN ATOMIC SELECT document_id FROM hidden.v; END";
    let named = "hidden.v (past every policy: its owner ".to_owned();
    is_named_until(&application, &acme, (function.to_owned(), named, "DROP FUNCTION shown".to_owned())).await;
}

#[tokio::test]
async fn what_is_amiss_with_several_tables_is_told_at_once() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    admin.batch_execute(&format!("GRANT TRUNCATE ON folder, document TO {role}")).await.unwrap();
    let why = application.amiss(&acme).await.unwrap();
    let both =
        format!("public.folder ({role} has TRUNCATE); public.document ({role} has TRUNCATE); run that");
    assert!(why.contains(&both), "{why}");
    admin.batch_execute(&format!("REVOKE TRUNCATE ON folder, document FROM {role}")).await.unwrap();
    let many = format!(
        "DO $$ BEGIN FOR n IN 1..7 LOOP
             EXECUTE format('CREATE VIEW shown_%s AS SELECT * FROM document', n);
             EXECUTE format('GRANT SELECT ON shown_%s TO {role}', n);
         END LOOP; END $$;
         CREATE SCHEMA own AUTHORIZATION {role}_login; CREATE TABLE own.a (tenant_id text); CREATE TABLE own.b (tenant_id text);"
    );
    admin.batch_execute(&many).await.unwrap();
    let why = application.amiss(&acme).await.unwrap();
    let names: Vec<bool> = (1..=7).map(|n| why.contains(&format!("public.shown_{n} ("))).collect();
    assert_eq!(names, [true, true, true, true, true, false, false], "{why}");
    assert!(why.contains("; and 2 more; views: `ALTER VIEW"), "{why}");
    let fewer = "DO $$ BEGIN FOR n IN 1..7 LOOP EXECUTE format('DROP VIEW shown_%s', n); END LOOP; END $$;
        SELECT tenancy.protect('own.a'); SELECT tenancy.protect('own.b')";
    admin.batch_execute(fewer).await.unwrap();
    let (kind, words) = told(application.target.apply(&acme, Desired::Suspended, 2).await);
    let own = format!("own.a ({role}_login has OWNERSHIP of its schema); own.b ({role}_login has");
    assert_eq!((kind, words.contains(&own)), (FailureKind::Permanent, true), "{words}");
}

#[tokio::test]
async fn a_table_that_is_not_protected_above_a_partition_that_is_is_named() {
    let application = Application::new("").await;
    application.with_owners_of_views().await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    let tables = format!(
        "CREATE TABLE call (tenant_id text NOT NULL, year int) PARTITION BY LIST (year); CREATE TABLE call_1 (LIKE call);
         SELECT tenancy.protect('call_1'); INSERT INTO call_1 VALUES ('acme', 1); GRANT SELECT ON call TO {role}_owner;
         CREATE VIEW calls AS SELECT * FROM call; ALTER VIEW calls OWNER TO {role}_owner"
    );
    admin.batch_execute(&tables).await.unwrap();
    for (right, of, named) in [
        (
            "SELECT",
            "call",
            "public.call (past every policy: public.call_1 is below it: `SELECT tenancy.protect('public.call')`)",
        ),
        ("TRUNCATE", "call", "public.call (past every policy: public.call_1 is below it"),
        ("SELECT", "calls", "public.calls (past every policy through public.call: public.call_1 is below it"),
    ] {
        let made = format!(
            "ALTER TABLE call ATTACH PARTITION call_1 FOR VALUES IN (1); GRANT {right} ON {of} TO {role}"
        );
        let back = format!("REVOKE {right} ON {of} FROM {role}");
        is_named_until(&application, &acme, (made.clone(), named.to_owned(), back)).await;
        if right == "SELECT" {
            admin.batch_execute(&format!("GRANT {right} ON {of} TO {role}")).await.unwrap();
            assert_eq!(application.sees(of).await, 1, "it does show them");
            admin.batch_execute(&format!("REVOKE {right} ON {of} FROM {role}")).await.unwrap();
        }
        admin.batch_execute("ALTER TABLE call DETACH PARTITION call_1").await.unwrap();
    }
    let protect = format!(
        "ALTER TABLE call ATTACH PARTITION call_1 FOR VALUES IN (1); GRANT SELECT ON call, calls TO {role}; SELECT tenancy.protect('call')"
    );
    admin.batch_execute(&protect).await.unwrap();
    assert_eq!((application.amiss(&acme).await, application.sees("call").await), (None, 0));
}

/// PostgreSQL asks for no right below a view when it is made: whoever has none makes one that shows nothing, for everybody to read.
#[tokio::test]
async fn a_view_that_nobody_can_read_or_that_can_show_nothing_is_no_fault() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let schemas =
        format!("CREATE ROLE {role}_eve; CREATE SCHEMA eves AUTHORIZATION {role}_eve; CREATE SCHEMA hidden");
    admin.batch_execute(&schemas).await.unwrap();
    let of_eve = |schema: &str, kind: &str, table: &str, more: &str| {
        format!(
            "SET ROLE {role}_eve; CREATE {kind} eves.shown AS SELECT * FROM public.{table} {more};
             GRANT SELECT ON eves.shown TO PUBLIC; GRANT USAGE ON SCHEMA eves TO PUBLIC; RESET ROLE; GRANT USAGE ON SCHEMA {schema} TO {role}"
        )
    };
    for harmless in [
        of_eve("eves", "VIEW", "visit_2025", ""),
        of_eve("eves", "MATERIALIZED VIEW", "document", "WITH NO DATA"),
        // Filled, with nothing of the table but its number.
        format!("CREATE MATERIALIZED VIEW hidden.shown AS SELECT 'document'::regclass AS r; GRANT USAGE ON SCHEMA hidden TO {role};
             ALTER MATERIALIZED VIEW hidden.shown OWNER TO {role}_eve; GRANT SELECT ON hidden.shown TO {role}"),
        // Nobody of the application finds it.
        format!("CREATE VIEW hidden.shown AS SELECT * FROM document; GRANT SELECT ON hidden.shown TO {role}"),
    ] {
        admin.batch_execute(&harmless).await.unwrap();
        assert_eq!(application.amiss(&acme).await, None, "{harmless}");
        admin.batch_execute("DROP SCHEMA hidden, eves CASCADE").await.unwrap();
        admin
            .batch_execute(&format!("CREATE SCHEMA eves AUTHORIZATION {role}_eve; CREATE SCHEMA hidden"))
            .await
            .unwrap();
    }
    let named = "eves.shown (a copy that no policy filters); materialised views: revoke the application's rights there, or,";
    let made = format!(
        "{}; GRANT SELECT ON document TO {role}_eve; ALTER ROLE {role}_eve BYPASSRLS; REFRESH MATERIALIZED VIEW eves.shown",
        of_eve("eves", "MATERIALIZED VIEW", "document", "WITH NO DATA")
    );
    is_named_until(&application, &acme, (made, named.to_owned(), "DROP SCHEMA eves CASCADE".to_owned()))
        .await;
    let client = application.client().await;
    let own = "CREATE TEMP VIEW mine AS SELECT * FROM public.visit_2025; GRANT SELECT ON mine TO PUBLIC";
    client.batch_execute(own).await.unwrap();
    assert_eq!(
        application.amiss(&acme).await,
        None,
        "a temporary view of a table that its owner may not read"
    );
}
