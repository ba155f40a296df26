//! The set-up that docs/targets/postgres.md prints, typed as it is printed, on a server where nothing is yet.

use std::sync::Arc;

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{Participant, TenantRef};
use tokio_postgres::Client;

use super::postgres::{at, connect};
use super::{blocking, bring, tenant};
use crate::support::sql;

/// The page's statements, block after block.
fn printed() -> impl Iterator<Item = String> {
    let page = include_str!("../../../docs/targets/postgres.md");
    let blocks = page.split("```sql\n").skip(1).map(|text| text.split("```").next().unwrap_or_default());
    // The private server's superuser has that name.
    let named =
        |block: &str| block.replace("ROLE tenantry ", "ROLE plane ").replace("TO tenantry;", "TO plane;");
    blocks.map(move |block| named(block).replace('…', "pass"))
}

struct Typed {
    /// Stops with it.
    _server: PrivatePostgres,
    target: Arc<dyn Participant>,
    acme: TenantRef,
    admin: Client,
    app: Client,
    migrator: Client,
    /// What follows on the page.
    further: Box<dyn Iterator<Item = String>>,
}

/// What an application had that owned its tables, before it was brought under Tenantry.
const BEFORE: &str = "SET ROLE orders_app;
    CREATE TABLE app.orders (tenant_id text NOT NULL, id bigserial PRIMARY KEY, total int);
    INSERT INTO app.orders (tenant_id, total) VALUES ('acme', 1), ('acme', 2), ('hr', 3);
    CREATE TABLE app.log (tenant_id text NOT NULL, what text);
    CREATE FUNCTION app.audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
        $$ BEGIN INSERT INTO app.log VALUES (OLD.tenant_id, 'removed'); RETURN OLD; END $$;
    CREATE TRIGGER audit AFTER DELETE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.audit();
    CREATE VIEW app.v_orders AS SELECT * FROM app.orders;
    RESET ROLE";

/// Types the page up to the application's first transaction.
async fn typed() -> Typed {
    let server = blocking(|| PrivatePostgres::start(&Options::ephemeral()).expect("PostgreSQL starts")).await;
    sql(&server.url(), "CREATE DATABASE orders").await;
    let (place, _) =
        server.url().rsplit_once('/').map(|(place, name)| (place.to_owned(), name.len())).unwrap();
    let (_, host) = place.rsplit_once('@').unwrap();
    let account = |who: &str| format!("postgres://{who}:pass@{host}/orders");
    let admin = connect(&format!("{place}/orders")).await;
    let mut further = printed();
    let mut next = || further.next().unwrap();
    admin.batch_execute(&next()).await.unwrap();
    admin.batch_execute("CREATE SCHEMA app AUTHORIZATION orders_app").await.unwrap();
    admin.batch_execute(BEFORE).await.unwrap();
    admin.batch_execute(&next()).await.unwrap();
    let target = at(&account("plane"), ", role = \"orders_app\", install = true");
    let acme = tenant("acme");
    for tenant in [&acme, &tenant("hr")] {
        target.apply(tenant, Desired::Active, 1).await.unwrap();
    }
    admin.batch_execute(&next()).await.unwrap();
    let migrator = connect(&account("orders_migrator")).await;
    let protect = next();
    migrator.batch_execute(&protect).await.unwrap();
    migrator.batch_execute(&protect.replace("app.orders", "app.log")).await.unwrap();
    let app = connect(&account("orders_app")).await;
    Typed { _server: server, target, acme, admin, app, migrator, further: Box::new(further) }
}

impl Typed {
    fn next(&mut self) -> String {
        self.further.next().unwrap()
    }

    async fn number(&self, query: &str) -> i64 {
        self.admin.query_one(query, &[]).await.unwrap().get(0)
    }
}

/// Rows that a client of the application reads in a tenant's transaction.
async fn read(app: &Client, transaction: &str) -> usize {
    let answers = app.simple_query(transaction).await.unwrap();
    answers.iter().filter(|answer| matches!(answer, tokio_postgres::SimpleQueryMessage::Row(_))).count()
}

#[tokio::test]
async fn the_set_up_of_the_manual_works_as_it_is_printed_for_an_application_that_owned_its_tables() {
    let mut typed = typed().await;
    let (acme, transaction) = (typed.acme.clone(), typed.next());
    // The first row that comes back is what set_config answers.
    assert_eq!(read(&typed.app, &transaction).await, 1 + 2);
    assert_eq!(typed.target.observe(&acme).await.unwrap().amiss, None);

    let (invoice, swap) = (typed.next(), typed.next());
    assert!(invoice.contains("app.invoice") && swap.contains("app.orders_new"), "{invoice}{swap}");
    typed.migrator.batch_execute(&invoice).await.unwrap();
    let adds =
        "BEGIN; SET LOCAL tenancy.tenant = 'acme'; INSERT INTO app.invoice (tenant_id) VALUES ('acme');
        INSERT INTO app.orders (tenant_id) VALUES ('acme'); COMMIT";
    typed.app.batch_execute(adds).await.unwrap();
    let trigger = "CREATE TRIGGER audit AFTER DELETE ON app.orders_new FOR EACH ROW EXECUTE FUNCTION app.audit(); DROP TABLE";
    let swap = swap.replacen("DROP TABLE", &format!("DROP VIEW app.v_orders; {trigger}"), 1);
    typed.migrator.batch_execute(&swap).await.unwrap();
    typed.app.batch_execute(adds).await.unwrap();
    assert_eq!(typed.number("SELECT max(id) FROM app.orders").await, 5, "numbers go on");
    assert_eq!(typed.target.observe(&acme).await.unwrap().amiss, None, "a new table may stay the migrator's");

    bring(&typed.target, &acme, Desired::Suspended, 2).await;
    assert_eq!(read(&typed.app, &transaction).await, 1, "no row");
    let writer = typed.next();
    typed.admin.batch_execute(&writer).await.unwrap();
    assert_eq!(bring(&typed.target, &acme, Desired::Deleted, 3).await, Some(Desired::Deleted));
    let left = "SELECT (SELECT count(*) FROM app.orders) * 10 + (SELECT count(*) FROM app.invoice)";
    assert_eq!(typed.number(left).await, 10, "the neighbour's order");
    assert_eq!(read(&typed.app, &transaction.replace("acme", "hr")).await, 1 + 1);
    assert!(typed.further.next().is_none(), "every statement of the page was typed");
}
