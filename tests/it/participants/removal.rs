//! In which order a purge removes what tables refer to.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, TenantRef};

use super::postgres::{Application, at};
use super::{bring, tenant, told};

/// A table for each, protected.
async fn with_tables(application: &Application, tables: &[(&str, &str)]) {
    for (name, columns) in tables {
        let make = format!("CREATE TABLE {name} ({columns}); SELECT tenancy.protect('{name}')");
        application.admin.batch_execute(&make).await.unwrap();
    }
}

async fn number(application: &Application, query: &str) -> i64 {
    application.admin.query_one(query, &[]).await.unwrap().get(0)
}

/// Purges a tenant in batches of ten rows, and answers what that said where it failed.
async fn purge(application: &Application, tenant: &TenantRef) -> Result<(), (FailureKind, String)> {
    let target = at(&application.url, &format!(", role = \"{}\", batch = 10", application.role));
    if let Err(failure) = target.apply(tenant, Desired::Deleted, 2).await {
        return Err(told(Err(failure)));
    }
    assert_eq!(bring(&target, tenant, Desired::Deleted, 2).await, Some(Desired::Deleted));
    Ok(())
}

/// Whether by the column itself, or by one that it is generated from: the row would be nobody's, or the neighbour's.
#[tokio::test]
async fn rows_whose_tenant_a_foreign_key_would_empty_or_change_are_removed_before_the_row_that_they_refer_to()
{
    let application = Application::new("").await;
    let tables = [
        ("customer", "tenant_id text PRIMARY KEY"),
        ("note", "tenant_id text REFERENCES customer ON DELETE SET NULL, body text"),
        ("memo", "tenant_id text DEFAULT 'hr' REFERENCES customer ON DELETE SET DEFAULT, body text"),
        ("org", "id text PRIMARY KEY, tenant_id text GENERATED ALWAYS AS (id) STORED"),
        (
            "file",
            "org text REFERENCES org ON DELETE SET NULL, tenant_id text GENERATED ALWAYS AS (org) STORED",
        ),
        // By way of a table that is nobody's.
        ("first", "tenant_id text UNIQUE"),
    ];
    with_tables(&application, &tables).await;
    let detour = "CREATE TABLE link (first text UNIQUE REFERENCES first (tenant_id) ON DELETE CASCADE);
        CREATE TABLE last (tenant_id text REFERENCES link (first) ON DELETE SET NULL); SELECT tenancy.protect('last')";
    application.admin.batch_execute(detour).await.unwrap();
    let acme = tenant("acme");
    for tenant in [&acme, &tenant("hr")] {
        let id = tenant.tenant_id.as_str();
        let fill = format!(
            "INSERT INTO customer VALUES ('{id}'); INSERT INTO org VALUES ('{id}'); INSERT INTO first VALUES ('{id}');
             INSERT INTO link VALUES ('{id}');
             INSERT INTO note SELECT '{id}', 'x' FROM generate_series(1, 25); INSERT INTO memo TABLE note;
             INSERT INTO file SELECT '{id}' FROM generate_series(1, 25); INSERT INTO last SELECT '{id}' FROM generate_series(1, 25)"
        );
        application
            .admin
            .batch_execute(&fill.replace(
                "INSERT INTO memo TABLE note",
                &format!("INSERT INTO memo SELECT * FROM note WHERE tenant_id = '{id}'"),
            ))
            .await
            .unwrap();
        bring(&application.target, tenant, Desired::Suspended, 1).await;
    }
    purge(&application, &acme).await.unwrap();
    for table in ["note", "memo", "file", "last"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(&application, &count).await, 25, "{table}: the neighbour's, and no more");
        let theirs = format!("{count} WHERE tenant_id = 'hr'");
        assert_eq!(number(&application, &theirs).await, 25, "{table}");
    }
}

/// As Django makes every foreign key.
#[tokio::test]
async fn a_foreign_key_that_is_put_off_to_the_commit_hinders_no_purge_of_many_rows_and_is_named_where_a_neighbour_refers()
 {
    let application = Application::new("").await;
    let tables = [
        ("author", "id int PRIMARY KEY, tenant_id text NOT NULL"),
        (
            "book",
            "id int PRIMARY KEY, tenant_id text NOT NULL, author int NOT NULL REFERENCES author DEFERRABLE INITIALLY DEFERRED",
        ),
    ];
    with_tables(&application, &tables).await;
    let (acme, admin) = (tenant("acme"), &application.admin);
    let fill = "INSERT INTO author SELECT n, 'acme' FROM generate_series(1, 3) n;
        INSERT INTO book SELECT n, 'acme', 1 + n % 3 FROM generate_series(1, 35) n;
        INSERT INTO author VALUES (4, 'hr'); INSERT INTO book VALUES (36, 'hr', 1)";
    admin.batch_execute(fill).await.unwrap();
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let (kind, words) = purge(&application, &acme).await.unwrap_err();
    let why = "rows of the tenant stay in public.author: rows of public.book refer to them (foreign key book_author_fkey)";
    assert_eq!((kind, words.as_str()), (FailureKind::Permanent, why));
    admin.batch_execute("UPDATE book SET author = 4 WHERE id = 36").await.unwrap();
    purge(&application, &acme).await.unwrap();
    assert_eq!(
        number(&application, "SELECT (SELECT count(*) FROM author) * 10 + (SELECT count(*) FROM book)").await,
        11
    );
}

#[tokio::test]
async fn tables_that_refer_to_each_other_in_a_circle_are_purged() {
    let application = Application::new("").await;
    let tables = [
        ("team", "id int PRIMARY KEY, tenant_id text NOT NULL, lead int"),
        ("member", "id int PRIMARY KEY, tenant_id text NOT NULL, team int NOT NULL REFERENCES team"),
        ("badge", "tenant_id text NOT NULL, member int NOT NULL REFERENCES member ON DELETE RESTRICT"),
        // Each would empty the other's tenant_id.
        ("left_side", "tenant_id text UNIQUE, id int UNIQUE, other text"),
        ("right_side", "tenant_id text UNIQUE REFERENCES left_side (tenant_id) ON DELETE SET NULL, id int"),
    ];
    with_tables(&application, &tables).await;
    let (acme, admin) = (tenant("acme"), &application.admin);
    let circle = "ALTER TABLE team ADD FOREIGN KEY (lead) REFERENCES member;
        ALTER TABLE left_side ADD FOREIGN KEY (tenant_id) REFERENCES right_side (tenant_id) ON DELETE SET NULL
            DEFERRABLE INITIALLY DEFERRED";
    admin.batch_execute(circle).await.unwrap();
    for (id, base) in [("acme", 0), ("hr", 100)] {
        let fill = format!(
            "BEGIN; INSERT INTO team SELECT {base} + n, '{id}' FROM generate_series(1, 15) n;
             INSERT INTO member SELECT {base} + n, '{id}', {base} + n FROM generate_series(1, 15) n;
             UPDATE team SET lead = id WHERE tenant_id = '{id}'; INSERT INTO badge SELECT tenant_id, id FROM member WHERE tenant_id = '{id}';
             INSERT INTO left_side VALUES ('{id}'); INSERT INTO right_side VALUES ('{id}'); COMMIT"
        );
        admin.batch_execute(&fill).await.unwrap();
    }
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    purge(&application, &acme).await.unwrap();
    for (table, rows) in [("team", 15), ("member", 15), ("badge", 15), ("left_side", 1), ("right_side", 1)] {
        assert_eq!(number(&application, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
        let theirs = format!("SELECT count(*) FROM {table} WHERE tenant_id = 'hr'");
        assert_eq!(number(&application, &theirs).await, rows, "{table}");
    }
}

#[tokio::test]
async fn a_table_that_lets_no_row_go_before_what_refers_to_it_is_purged_after_that() {
    let application = Application::new("").await;
    let tables = [
        ("zone", "id int PRIMARY KEY, tenant_id text NOT NULL"),
        (
            "area",
            "tenant_id text NOT NULL, zone int REFERENCES zone ON DELETE SET NULL, is_lost bool DEFAULT false, CHECK (zone IS NOT NULL OR is_lost)",
        ),
        ("bill", "id int PRIMARY KEY, tenant_id text NOT NULL"),
        ("line", "tenant_id text NOT NULL, bill int REFERENCES bill"),
    ];
    with_tables(&application, &tables).await;
    let guard = "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT 1 FROM public.line WHERE bill = OLD.id) THEN RAISE EXCEPTION 'it has lines'; END IF; RETURN OLD; END $$;
        CREATE TRIGGER guard BEFORE DELETE ON bill FOR EACH ROW EXECUTE FUNCTION guard();
        INSERT INTO zone VALUES (1, 'acme'); INSERT INTO area SELECT 'acme', 1 FROM generate_series(1, 25);
        INSERT INTO bill VALUES (1, 'acme'); INSERT INTO line SELECT 'acme', 1 FROM generate_series(1, 25)";
    application.admin.batch_execute(guard).await.unwrap();
    let acme = tenant("acme");
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    purge(&application, &acme).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM zone) + (SELECT count(*) FROM area) + (SELECT count(*) FROM bill) + (SELECT count(*) FROM line)";
    assert_eq!(number(&application, left).await, 0);
}

/// The log is empty when its turn comes, and has rows again when what it refers to goes.
#[tokio::test]
async fn what_a_trigger_writes_while_rows_are_removed_is_removed_before_what_it_refers_to() {
    let application = Application::new("").await;
    let tables = [
        ("customer", "tenant_id text PRIMARY KEY"),
        ("log", "tenant_id text REFERENCES customer ON DELETE SET NULL"),
        ("purchase", "tenant_id text REFERENCES customer"),
    ];
    with_tables(&application, &tables).await;
    let writes = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.log VALUES (OLD.tenant_id); RETURN OLD; END $$;
        CREATE TRIGGER note BEFORE DELETE ON purchase FOR EACH ROW EXECUTE FUNCTION note();
        INSERT INTO customer VALUES ('acme'); INSERT INTO purchase SELECT 'acme' FROM generate_series(1, 25)";
    application.admin.batch_execute(writes).await.unwrap();
    let acme = tenant("acme");
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    purge(&application, &acme).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM customer) + (SELECT count(*) FROM log) + (SELECT count(*) FROM purchase)";
    assert_eq!(number(&application, left).await, 0);
}

#[tokio::test]
async fn a_trigger_that_changes_what_goes_or_lets_nothing_go_is_named_with_what_mends_it() {
    let application = Application::new("").await;
    let (admin, acme) = (&application.admin, tenant("acme"));
    with_tables(
        &application,
        &[(
            "reply",
            "id int PRIMARY KEY, tenant_id text NOT NULL, above int REFERENCES reply, n int DEFAULT 0",
        )],
    )
    .await;
    let counts = "CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE public.reply SET n = n - 1 WHERE id = OLD.above; RETURN OLD; END $$;
        CREATE TRIGGER counts BEFORE DELETE ON reply FOR EACH ROW EXECUTE FUNCTION counts();
        INSERT INTO reply SELECT n, 'acme', CASE WHEN n > 1 THEN 1 END FROM generate_series(1, 8) n;
        UPDATE reply SET n = 7 WHERE id = 1";
    admin.batch_execute(counts).await.unwrap();
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let (kind, words) = purge(&application, &acme).await.unwrap_err();
    assert!(
        kind == FailureKind::Permanent && words.ends_with(": have the trigger run AFTER DELETE"),
        "{words}"
    );
    let forbids = "DROP TRIGGER counts ON reply; CREATE TRIGGER counts AFTER DELETE ON reply FOR EACH ROW EXECUTE FUNCTION counts();
        CREATE FUNCTION forbids() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'of secret %', OLD.id; END $$;
        CREATE TRIGGER forbids BEFORE DELETE ON reply FOR EACH ROW EXECUTE FUNCTION forbids()";
    admin.batch_execute(forbids).await.unwrap();
    let (kind, words) = purge(&application, &acme).await.unwrap_err();
    let why = "public.reply: a trigger or a rule there refuses to let them go; its words are in our log";
    assert!(kind == FailureKind::Permanent && words.ends_with(why), "{words}");
    admin.batch_execute("DROP TRIGGER forbids ON reply").await.unwrap();
    purge(&application, &acme).await.unwrap();
}

#[tokio::test]
async fn a_table_whose_policies_ask_for_the_tenant_and_that_has_no_tenants_column_is_said_to_have_none() {
    let application = Application::new("").await;
    let shared = "CREATE TABLE shared (what text); ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
        CREATE POLICY open ON shared USING ((SELECT tenancy.resolve('r')) IS NOT NULL)";
    application.admin.batch_execute(shared).await.unwrap();
    let acme = tenant("acme");
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let (_, words) = purge(&application, &acme).await.unwrap_err();
    assert!(
        words.contains("shared: its policies ask tenancy.resolve, and it has no column tenant_id"),
        "{words}"
    );
}

/// What one row takes along, or has searched, only the database knows.
#[tokio::test]
async fn a_batch_that_is_not_done_in_time_is_followed_by_smaller_ones_and_says_what_makes_it_slow() {
    let application = Application::new("").await;
    let tables = [
        ("slow", "id int PRIMARY KEY, tenant_id text NOT NULL"),
        ("part", "tenant_id text NOT NULL, slow int"),
    ];
    with_tables(&application, &tables).await;
    let fill = "ALTER TABLE part ADD CONSTRAINT of FOREIGN KEY (slow) REFERENCES slow;
        CREATE FUNCTION takes_time() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.05); RETURN OLD; END $$;
        CREATE TRIGGER takes_time BEFORE DELETE ON slow FOR EACH ROW EXECUTE FUNCTION takes_time();
        INSERT INTO slow SELECT n, 'acme' FROM generate_series(1, 60) n";
    application.admin.batch_execute(fill).await.unwrap();
    let acme = tenant("acme");
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let hurried = at(&application.url, &format!(", role = \"{}\", deadline = \"2s\"", application.role));
    let (kind, words) = told(hurried.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!(kind, FailureKind::Unknown, "{words}");
    for part in [
        "0 rows were removed",
        "1000 more",
        "fewer are tried next",
        "has the whole table searched, the largest tables': ",
        "public.part (slow)",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let mut attempts = 0;
    while hurried.apply(&acme, Desired::Deleted, 2).await.is_err() {
        attempts += 1;
        assert!(attempts < 10, "it gets on");
    }
    assert_eq!(number(&application, "SELECT count(*) FROM slow").await, 0);
}
