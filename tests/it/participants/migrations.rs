//! The roles of an application's migrations, its triggers and its reports, as the manual sets them up.

use tenantry::domain::lifecycle::Desired;
use tokio_postgres::Client;

use super::postgres::{Application, connect, tries};
use super::{bring, tenant, told};

impl Application {
    /// The set-up of the manual: `ROLE_owner`, to whom everything belongs; and `ROLE_migrator`, who logs in for migrations.
    async fn with_roles_of_the_manual(&self) -> Client {
        let role = &self.role;
        let make = format!(
            "CREATE ROLE {role}_owner NOLOGIN;
             CREATE ROLE {role}_migrator LOGIN BYPASSRLS PASSWORD 'pass'; GRANT {role}_owner TO {role}_migrator;
             CREATE SCHEMA shop AUTHORIZATION {role}_owner; GRANT USAGE ON SCHEMA shop TO {role};
             GRANT USAGE ON SCHEMA tenancy TO {role}_owner;
             GRANT EXECUTE ON FUNCTION tenancy.protect(regclass) TO {role}_owner;
             GRANT INSERT ON tenancy.protected TO {role}_owner"
        );
        self.admin.batch_execute(&make).await.unwrap();
        let (_, place) = self.url.rsplit_once('@').unwrap();
        let migrator = connect(&format!("postgres://{role}_migrator:pass@{place}")).await;
        let first = format!(
            "CREATE TABLE shop.bill (tenant_id text NOT NULL, bill_id int PRIMARY KEY, amount int);
             CREATE TABLE shop.line (tenant_id text NOT NULL, bill_id int);
             SELECT tenancy.protect('shop.bill'); SELECT tenancy.protect('shop.line');
             ALTER TABLE shop.bill OWNER TO {role}_owner; ALTER TABLE shop.line OWNER TO {role}_owner;
             GRANT SELECT, INSERT, UPDATE, DELETE ON shop.bill, shop.line TO {role};
             INSERT INTO shop.bill VALUES ('acme', 1, 10), ('other', 2, 20); INSERT INTO shop.line VALUES ('acme', 1)"
        );
        migrator.batch_execute(&first).await.unwrap();
        migrator
    }

    async fn number(&self, query: &str) -> i64 {
        self.admin.query_one(query, &[]).await.unwrap().get(0)
    }
}

/// What PostgreSQL refuses statements with.
async fn refused(client: &Client, statements: &str) -> String {
    let error = client.batch_execute(statements).await.expect_err(statements);
    error.as_db_error().unwrap().message().to_owned()
}

#[tokio::test]
async fn migrations_change_every_tenants_rows_and_swap_tables_with_the_roles_of_the_manual() {
    let application = Application::new("").await;
    let (target, role, acme) = (&application.target, &application.role, tenant("acme"));
    let migrator = application.with_roles_of_the_manual().await;
    bring(target, &acme, Desired::Suspended, 1).await;
    let change = "UPDATE shop.bill SET amount = amount + 1;
        ALTER TABLE shop.line ADD CONSTRAINT of FOREIGN KEY (bill_id) REFERENCES shop.bill";
    migrator.batch_execute(change).await.unwrap();
    let swap = format!(
        "BEGIN;
         LOCK TABLE shop.bill IN SHARE ROW EXCLUSIVE MODE;
         CREATE TABLE shop.bill_new (tenant_id text NOT NULL, bill_id bigint PRIMARY KEY, amount int);
         SELECT tenancy.protect('shop.bill_new');
         INSERT INTO shop.bill_new SELECT * FROM shop.bill;
         ALTER TABLE shop.line DROP CONSTRAINT of; DROP TABLE shop.bill; ALTER TABLE shop.bill_new RENAME TO bill;
         ALTER TABLE shop.line ADD CONSTRAINT of FOREIGN KEY (bill_id) REFERENCES shop.bill;
         ALTER TABLE shop.bill OWNER TO {role}_owner;
         GRANT SELECT, INSERT, UPDATE, DELETE ON shop.bill TO {role};
         CREATE VIEW shop.bills AS SELECT * FROM shop.bill; GRANT SELECT ON shop.bills TO {role};
         COMMIT"
    );
    migrator.batch_execute(&swap).await.unwrap();
    let sum = "SELECT sum(amount) FROM shop.bill";
    assert_eq!(application.number(sum).await, 32, "every row was changed and came over");
    // The view still is the migrator's, whom no policy binds.
    let why = target.observe(&acme).await.unwrap().amiss.unwrap();
    assert!(why.contains(&format!("shop.bills (past every policy: its owner {role}_migrator has")), "{why}");
    migrator.batch_execute(&format!("ALTER VIEW shop.bills OWNER TO {role}_owner")).await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
    let client = application.client().await;
    let claim = "SELECT set_config('tenancy.tenant', 'acme', false)";
    client.execute(claim, &[]).await.unwrap();
    for (state, generation, seen) in [(Desired::Active, 2, 1_i64), (Desired::Archived, 3, 0)] {
        assert_eq!(bring(target, &acme, state, generation).await, Some(state));
        let rows = "SELECT count(*) FROM shop.bills JOIN shop.bill USING (bill_id)";
        assert_eq!(client.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), seen, "{state}");
    }
    assert_eq!(bring(target, &acme, Desired::Deleted, 4).await, Some(Desired::Deleted));
    assert_eq!(application.number("SELECT count(*) FROM shop.bill").await, 1, "the neighbour's");
}

#[tokio::test]
async fn an_owner_whom_policies_bind_is_refused_rather_than_shown_no_rows() {
    let application = Application::new("").await;
    let role = &application.role;
    let migrator = application.with_roles_of_the_manual().await;
    migrator.batch_execute(&format!("SET ROLE {role}_owner")).await.unwrap();
    for statement in [
        "UPDATE shop.bill SET amount = 0",
        "CREATE TABLE shop.copy AS SELECT * FROM shop.bill",
        "ALTER TABLE shop.line ADD FOREIGN KEY (bill_id) REFERENCES shop.bill",
    ] {
        assert_eq!(
            refused(&migrator, statement).await,
            "permission denied for function resolve",
            "{statement}"
        );
    }
    // Why the manual says not to grant it: nothing is refused then, and nothing is seen.
    let grant = format!("GRANT EXECUTE ON FUNCTION tenancy.resolve(text) TO {role}_owner");
    application.admin.batch_execute(&grant).await.unwrap();
    let changed = migrator.execute("UPDATE shop.bill SET amount = 0", &[]).await.unwrap();
    assert_eq!(changed, 0);
}

#[tokio::test]
async fn a_trigger_that_writes_to_a_protected_table_works_at_a_purge_as_a_role_that_no_policy_binds() {
    let application = Application::new("").await;
    let (target, admin, role) = (&application.target, &application.admin, &application.role);
    let acme = tenant("acme");
    let migrator = application.with_roles_of_the_manual().await;
    bring(target, &acme, Desired::Active, 1).await;
    let trigger = format!(
        "CREATE TABLE shop.audit (tenant_id text NOT NULL, what text); SELECT tenancy.protect('shop.audit');
         ALTER TABLE shop.audit OWNER TO {role}_owner;
         CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
             $$ BEGIN INSERT INTO shop.audit VALUES (old.tenant_id, tg_op); RETURN coalesce(new, old); END $$;
         REVOKE EXECUTE ON FUNCTION shop.note() FROM PUBLIC;
         CREATE TRIGGER note BEFORE UPDATE OR DELETE ON shop.bill FOR EACH ROW EXECUTE FUNCTION shop.note()"
    );
    migrator.batch_execute(&trigger).await.unwrap();
    let client = application.client().await;
    let update = "BEGIN; SET LOCAL tenancy.tenant = 'acme'; UPDATE shop.bill SET amount = 0; COMMIT";
    let owner = format!("ALTER FUNCTION shop.note() OWNER TO {role}_owner");
    admin.batch_execute(&owner).await.unwrap();
    assert_eq!(refused(&client, update).await, "permission denied for function resolve");
    client.batch_execute("ROLLBACK").await.unwrap();
    // A role for the function alone; with EXECUTE on `resolve` instead, the application is served and no purge ends.
    let own = format!(
        "CREATE ROLE {role}_triggers NOLOGIN; GRANT USAGE ON SCHEMA shop, tenancy TO {role}_triggers;
         GRANT INSERT ON shop.audit TO {role}_triggers; GRANT EXECUTE ON FUNCTION tenancy.resolve(text) TO {role}_triggers;
         ALTER FUNCTION shop.note() OWNER TO {role}_triggers"
    );
    admin.batch_execute(&own).await.unwrap();
    client.batch_execute(update).await.unwrap();
    bring(target, &acme, Desired::Archived, 2).await;
    let (_, words) = told(target.apply(&acme, Desired::Deleted, 3).await);
    assert!(words.contains("acts as an owner whom policies bind"), "{words}");
    let unbound = format!(
        "REVOKE EXECUTE ON FUNCTION tenancy.resolve(text) FROM {role}_triggers; ALTER ROLE {role}_triggers BYPASSRLS"
    );
    admin.batch_execute(&unbound).await.unwrap();
    bring(target, &acme, Desired::Active, 4).await;
    client.batch_execute(update).await.unwrap();
    assert_eq!(application.number("SELECT count(*) FROM shop.audit").await, 2);
    bring(target, &acme, Desired::Archived, 5).await;
    assert_eq!(bring(target, &acme, Desired::Deleted, 6).await, Some(Desired::Deleted));
    assert_eq!(
        application.number("SELECT count(*) FROM shop.audit").await,
        0,
        "what it wrote at the purge went too"
    );
}

#[tokio::test]
async fn a_reporting_role_sees_every_tenant_with_bypassrls_or_a_policy_of_its_own() {
    let application = Application::new("").await;
    let (target, admin, role) = (&application.target, &application.admin, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Suspended, 1).await;
    let make = format!(
        "CREATE ROLE {role}_reporting LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {role}_reporting"
    );
    admin.batch_execute(&make).await.unwrap();
    let (_, place) = application.url.rsplit_once('@').unwrap();
    let reporting = connect(&format!("postgres://{role}_reporting:pass@{place}")).await;
    let count = "SELECT count(*) FROM document";
    assert_eq!(refused(&reporting, count).await, "permission denied for function resolve");
    for (right, back) in [
        (
            format!("CREATE POLICY reporting ON document FOR SELECT TO {role}_reporting USING (true)"),
            "DROP POLICY reporting ON document".to_owned(),
        ),
        (
            format!("ALTER ROLE {role}_reporting BYPASSRLS"),
            format!("ALTER ROLE {role}_reporting NOBYPASSRLS"),
        ),
    ] {
        admin.batch_execute(&right).await.unwrap();
        let seen: i64 = reporting.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!((seen, target.observe(&acme).await.unwrap().amiss), (5, None), "{right}");
        assert_eq!(tries(&mut application.client().await, &acme).await, (0, false), "{right}");
        admin.batch_execute(&back).await.unwrap();
    }
}
