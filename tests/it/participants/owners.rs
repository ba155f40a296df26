//! An application's database as it is kept with care: three accounts, of which none is a superuser. The target's has what the
//! manual lists, the tables' owner runs migrations, and the application has the rights that it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tokio_postgres::Client;

use super::postgres::{at, connect};
use super::{bring, tenant, told};
use crate::support::{empty_database, sql};

/// What the manual has the tables' owner granted.
const GRANTS: &str = "GRANT USAGE ON SCHEMA tenancy TO orders_owner; GRANT EXECUTE ON FUNCTION tenancy.protect(regclass), \
                      tenancy.release(text), tenancy.learn_names(), tenancy.detached() TO orders_owner; GRANT SELECT, INSERT, \
                      DELETE ON tenancy.protected TO orders_owner; GRANT SELECT, DELETE ON tenancy.part TO orders_owner";

const TABLES: &str = "
    CREATE TABLE app.orders (tenant_id text NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));
    CREATE TABLE app.log (tenant_id text NOT NULL, what text);
    CREATE TABLE app.ev (tenant_id text NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE app.ev_1 PARTITION OF app.ev FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE app.ev_2 PARTITION OF app.ev FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    SELECT tenancy.protect('app.orders'); SELECT tenancy.protect('app.orders'); SELECT tenancy.protect('app.log'); SELECT tenancy.protect('app.ev')";

struct Shop {
    url: String,
    /// The database as the target's user.
    target_url: String,
    target: Arc<dyn Participant>,
    /// The superuser.
    admin: Client,
    owner: Client,
    /// What the names of its roles begin with.
    name: String,
}

impl Shop {
    /// The application only adds to its log.
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("shop_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = empty_database().await;
        let (server, database) = url.rsplit_once('/').unwrap();
        let (_, place) = server.rsplit_once('@').unwrap();
        let accounts = format!(
            "CREATE ROLE {name}_plane LOGIN BYPASSRLS CREATEROLE PASSWORD 'pass'; CREATE ROLE {name}_owner LOGIN PASSWORD 'pass';
             GRANT CREATE ON DATABASE {database} TO {name}_plane; CREATE SCHEMA app AUTHORIZATION {name}_owner"
        );
        sql(&url, &accounts).await;
        let account = |who: &str| format!("postgres://{name}_{who}:pass@{place}/{database}");
        let target_url = account("plane");
        let target = at(&target_url, &format!(", install = true, role = \"{name}_app\""));
        bring(&target, &tenant("first"), Desired::Suspended, 1).await;
        sql(&url, &GRANTS.replace("orders_owner", &format!("{name}_owner"))).await;
        let owner = connect(&account("owner")).await;
        owner.batch_execute(TABLES).await.unwrap();
        let uses = format!(
            "GRANT USAGE ON SCHEMA app TO {name}_app; GRANT SELECT, INSERT ON app.log TO {name}_app;
             GRANT SELECT, INSERT, UPDATE, DELETE ON app.orders, app.ev TO {name}_app"
        );
        owner.batch_execute(&uses).await.unwrap();
        let admin = connect(&url).await;
        Self { url, target_url, target, admin, owner, name }
    }

    async fn fill(&self, tenant: &TenantRef) {
        let rows =
            "INSERT INTO app.orders VALUES ('T', 1), ('T', 2); INSERT INTO app.log VALUES ('T', 'made');
            INSERT INTO app.ev VALUES ('T', '2026-01-05'), ('T', '2026-02-05')";
        self.admin
            .batch_execute(&rows.replace("'T'", &format!("'{}'", tenant.tenant_id.as_str())))
            .await
            .unwrap();
        bring(&self.target, tenant, Desired::Archived, 1).await;
    }

    async fn count(&self, table: &str) -> i64 {
        self.admin.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    }

    /// That a purge of the tenant stops, and what it says.
    async fn stuck(&self, tenant: &TenantRef) -> String {
        let (kind, words) = told(self.target.apply(tenant, Desired::Deleted, 2).await);
        assert_eq!(kind, FailureKind::Permanent, "{words}");
        words
    }

    async fn purged(&self, tenant: &TenantRef) {
        assert_eq!(bring(&self.target, tenant, Desired::Deleted, 2).await, Some(Desired::Deleted));
    }
}

/// Text without its line breaks.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_grants_of_an_owner_are_those_of_the_manual() {
    assert!(flowing(include_str!("../../../docs/targets/postgres.md")).contains(GRANTS), "{GRANTS}");
}

#[tokio::test]
async fn rows_of_a_table_to_which_the_application_only_adds_are_purged() {
    let (shop, acme) = (Shop::new().await, tenant("acme"));
    shop.fill(&acme).await;
    shop.purged(&acme).await;
    assert_eq!(shop.count("app.log").await, 0);
    assert_eq!(shop.target.observe(&acme).await.unwrap().amiss, None);
    let may =
        format!("SELECT has_function_privilege('{}_owner', 'tenancy.resolve(text)', 'EXECUTE')", shop.name);
    assert!(
        !shop.admin.query_one(&may, &[]).await.unwrap().get::<_, bool>(0),
        "that is nobody's but clients'"
    );
}

#[tokio::test]
async fn whoever_may_write_the_access_row_is_granted_the_removal_of_rows_and_a_superuser_nothing() {
    let shop = Shop::new().await;
    let name = &shop.name;
    // As where the schema was run by hand, for another account than the one that owns it.
    let other = format!(
        "CREATE ROLE {name}_second LOGIN BYPASSRLS; GRANT INSERT ON tenancy.access TO {name}_second;
         CREATE ROLE {name}_root SUPERUSER; GRANT INSERT ON tenancy.access TO {name}_root"
    );
    shop.admin.batch_execute(&other).await.unwrap();
    let made = "CREATE TABLE app.bill (tenant_id text); SELECT tenancy.protect('app.bill')";
    shop.owner.batch_execute(made).await.unwrap();
    let granted = "SELECT string_agg(DISTINCT a.grantee::regrole::text || ' ' || a.privilege_type, ', ')
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'app.bill'::regclass AND a.grantee <> c.relowner";
    let granted: String = shop.admin.query_one(granted, &[]).await.unwrap().get(0);
    let expected =
        format!("{name}_plane DELETE, {name}_plane SELECT, {name}_second DELETE, {name}_second SELECT");
    assert_eq!(granted, expected);
}

#[tokio::test]
async fn a_purge_says_which_right_to_which_table_is_missing_and_what_grants_it() {
    let (shop, acme) = (Shop::new().await, tenant("acme"));
    shop.fill(&acme).await;
    let plane = format!("{}_plane", shop.name);
    let revoke = format!(
        "REVOKE ALL ON app.log FROM {plane}; REVOKE USAGE ON SCHEMA app FROM {plane}, {}_app; REVOKE ALL ON app.ev FROM {plane}",
        shop.name
    );
    shop.owner.batch_execute(&revoke).await.unwrap();
    let mut granted = String::new();
    while let Err(failure) = shop.target.apply(&acme, Desired::Deleted, 2).await {
        let words = failure.message;
        assert!(words.contains("permission denied for"), "{words}");
        let remedy = words.split('`').nth(1).unwrap();
        assert!(!granted.contains(remedy), "{words}");
        shop.owner.batch_execute(remedy).await.unwrap();
        granted = format!("{granted}; {remedy}");
    }
    for grant in [
        format!("GRANT USAGE ON SCHEMA app TO {plane}"),
        format!("GRANT SELECT, DELETE ON app.log TO {plane}"),
    ] {
        assert!(granted.contains(&grant), "{granted}");
    }
    shop.purged(&acme).await;
    // What an earlier version protected gets the grants when it is protected again.
    shop.owner.batch_execute(&format!("REVOKE ALL ON app.log FROM {plane}")).await.unwrap();
    let hr = tenant("hr");
    shop.fill(&hr).await;
    assert!(shop.stuck(&hr).await.contains("SELECT tenancy.protect('app.log')"));
    shop.owner.execute("SELECT tenancy.protect('app.log')", &[]).await.unwrap();
    shop.purged(&hr).await;
}

#[tokio::test]
async fn a_detached_partition_that_no_client_reaches_hinders_no_change_and_is_purged() {
    let (shop, acme, hr) = (Shop::new().await, tenant("acme"), tenant("hr"));
    let app = format!("{}_app", shop.name);
    for tenant in [&acme, &hr] {
        shop.fill(tenant).await;
    }
    shop.owner.batch_execute("ALTER TABLE app.ev DETACH PARTITION app.ev_1").await.unwrap();
    let (kai, generation) = (tenant("kai"), 1);
    assert_eq!(bring(&shop.target, &kai, Desired::Active, generation).await, Some(Desired::Active));
    assert_eq!(bring(&shop.target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
    for tenant in [&kai, &acme] {
        assert_eq!(shop.target.observe(tenant).await.unwrap().amiss, None);
    }
    let words = shop.stuck(&hr).await;
    assert!(words.contains(&format!("GRANT SELECT, DELETE ON app.ev_1 TO {}_plane", shop.name)), "{words}");
    // What a client reaches past all policies is named, with what the owner can do.
    shop.owner.batch_execute(&format!("GRANT SELECT ON app.ev_1 TO {app}")).await.unwrap();
    let why = shop.target.observe(&kai).await.unwrap().amiss.unwrap_or_default();
    assert!(why.contains("app.ev_1 (was a partition of app.ev: "), "{why}");
    shop.owner.execute("SELECT tenancy.protect('app.ev_1')", &[]).await.unwrap();
    assert_eq!(shop.target.observe(&kai).await.unwrap().amiss, None);
    shop.purged(&hr).await;
    assert_eq!(shop.count("app.ev_1 WHERE tenant_id = 'hr'").await, 0);
    // A schema that is brought up to date leaves an owner what the manual has it granted.
    let again = at(&shop.target_url, &format!(", install = true, role = \"{app}\""));
    assert_eq!(again.observe(&kai).await.unwrap().amiss, None);
    // One that is only archived elsewhere and dropped.
    let archived = "ALTER TABLE app.ev DETACH PARTITION app.ev_2; SELECT tenancy.release('app.ev_2'); DROP TABLE app.ev_2";
    shop.owner.batch_execute(archived).await.unwrap();
    assert_eq!(bring(&shop.target, &kai, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn an_audit_trigger_that_policies_bind_is_named_and_does_its_work_with_a_role_of_its_own() {
    let (shop, acme) = (Shop::new().await, tenant("acme"));
    shop.fill(&acme).await;
    let trigger = "CREATE FUNCTION app.audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN INSERT INTO app.log VALUES (old.tenant_id, 'removed'); RETURN NULL; END $$;
        CREATE TRIGGER audit AFTER DELETE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.audit()";
    shop.owner.batch_execute(trigger).await.unwrap();
    let words = shop.stuck(&acme).await;
    for part in ["app.orders: ", "SECURITY DEFINER", "for table \"log\"", "a role of its own with BYPASSRLS"]
    {
        assert!(words.contains(part), "{words}");
    }
    let recipe = "CREATE ROLE audit_writer NOLOGIN BYPASSRLS; GRANT USAGE ON SCHEMA app TO audit_writer; \
                  GRANT INSERT ON app.log TO audit_writer; ALTER FUNCTION app.audit() OWNER TO audit_writer";
    assert!(flowing(include_str!("../../../docs/targets/postgres.md")).contains(recipe), "{recipe}");
    let recipe = recipe.replace("audit_writer", &format!("{}_audit_writer", shop.name));
    shop.admin.batch_execute(&recipe).await.unwrap();
    shop.purged(&acme).await;
    assert_eq!((shop.count("app.orders").await, shop.count("app.log").await), (0, 0));
    // A trigger that acts as whoever removes rows, and lacks a right, is another matter.
    let hr = tenant("hr");
    shop.fill(&hr).await;
    let invoked = "CREATE TABLE app.note (what text); ALTER FUNCTION app.audit() SECURITY INVOKER;
        CREATE OR REPLACE FUNCTION app.audit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO app.note VALUES ('removed'); RETURN NULL; END $$";
    shop.admin.batch_execute(invoked).await.unwrap();
    let words = shop.stuck(&hr).await;
    let expected = format!(
        "app.orders: what runs there when a row goes lacks a right (permission denied for table note): grant it to {}_plane",
        shop.name
    );
    assert!(words.contains(&expected), "{words}");
}

#[tokio::test]
async fn a_table_whose_tenants_column_is_no_text_or_has_another_name_is_told_what_to_add() {
    let shop = Shop::new().await;
    let made = "CREATE TABLE app.named (org_id uuid NOT NULL, what text); CREATE TABLE app.typed (tenant_id uuid NOT NULL)";
    shop.owner.batch_execute(made).await.unwrap();
    let mut remedies = Vec::new();
    for table in ["app.named", "app.typed"] {
        let refused =
            shop.owner.execute(&format!("SELECT tenancy.protect('{table}')"), &[]).await.unwrap_err();
        let words = refused.as_db_error().unwrap().message().to_owned();
        assert!(words.contains(&format!("{table} has no column tenant_id of a text type")), "{words}");
        remedies.push(words.split('`').nth(1).unwrap().to_owned());
    }
    let added = "ADD tenant_id text GENERATED ALWAYS AS ('t-' || org_id::text) STORED";
    assert_eq!(remedies[0], format!("ALTER TABLE app.named {added}"));
    let renamed = "ALTER TABLE app.typed RENAME tenant_id TO org_id; ALTER TABLE app.typed ";
    assert_eq!(remedies[1], format!("{renamed}{added}"));
    let app = format!("{}_app", shop.name);
    for (table, remedy) in ["app.named", "app.typed"].iter().zip(&remedies) {
        let protected = format!(
            "{remedy}; SELECT tenancy.protect('{table}'); GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {app}"
        );
        shop.owner.batch_execute(&protected).await.unwrap();
    }
    // As the application has it: its tenants' names are their numbers.
    let uuid = "0b5ff2c4-5d0c-4f58-9be1-3c6e1f2a7d11";
    let acme = tenant(&format!("t-{uuid}"));
    bring(&shop.target, &acme, Desired::Active, 1).await;
    let client = connect(&shop.url).await;
    let id = acme.tenant_id.as_str();
    let inserts = format!(
        "SET ROLE {app}; BEGIN; SET LOCAL tenancy.tenant = '{id}';
         INSERT INTO app.named (org_id) VALUES ('{uuid}'); INSERT INTO app.typed (org_id) VALUES ('{uuid}'); COMMIT"
    );
    client.batch_execute(&inserts).await.unwrap();
    assert_eq!(shop.count("app.named").await, 1);
    bring(&shop.target, &acme, Desired::Suspended, 2).await;
    let refused = client.batch_execute(&inserts).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("row-level security"), "{refused}");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(bring(&shop.target, &acme, Desired::Deleted, 3).await, Some(Desired::Deleted));
    assert_eq!(shop.count("app.named").await + shop.count("app.typed").await, 0);
}
