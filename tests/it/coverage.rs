//! What must hold for everything there is of a kind, so that what is new is covered by itself.

use std::path::{Path, PathBuf};

use prost_reflect::prost_types::{MethodOptions, method_options::IdempotencyLevel};
use prost_reflect::{DescriptorPool, Value};

use crate::support::{Replica, Setup, listed_services};

#[test]
fn every_rpc_names_its_action_its_roles_and_whether_it_only_reads() {
    let pool = DescriptorPool::decode(tenantry::proto::DESCRIPTOR_SET).unwrap();
    let access = pool.get_extension_by_name("tenantry.v1.access").expect("the option is in the contract");
    let methods: Vec<_> = pool
        .services()
        .filter(|service| service.parent_file().package_name() == "tenantry.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() > 30, "the contract is read");
    for method in methods {
        let name = method.full_name();
        let options = method.options();
        assert!(options.has_extension(&access), "{name} has no (access) option");
        let value = options.get_extension(&access);
        let Value::Message(said) = &*value else { panic!("{name}: the option is a message") };
        let field = |field: &str| said.get_field_by_name(field).unwrap().into_owned();
        assert!(
            field("action").as_str().is_some_and(|action| action.contains('.')),
            "{name} names no action"
        );
        assert!(
            field("roles").as_list().is_some_and(|roles| !roles.is_empty()),
            "{name} may be called by nobody"
        );
        let reads = ["Get", "BatchGet", "List", "Watch", "Evaluate", "Explain", "Export"];
        let reads = reads.iter().any(|verb| method.name().starts_with(verb));
        assert_eq!(field("read_only").as_bool(), Some(reads), "{name}: read_only");
        let said = method.method_descriptor_proto().options.as_ref().map(MethodOptions::idempotency_level);
        assert_eq!(said == Some(IdempotencyLevel::NoSideEffects), reads, "{name}: idempotency_level");
        let request = method.input();
        let repeatable =
            request.get_field_by_name("request_id").is_some() || request.name().starts_with("Batch");
        assert_eq!(repeatable, !reads || request.name().starts_with("Batch"), "{name}: request_id");
    }
}

#[tokio::test]
async fn every_statement_is_valid_against_the_schema() {
    let replica = Replica::start(&Setup::default()).await;
    let (client, connection) =
        tokio_postgres::connect(&replica.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, "sql", &mut files);
    // What other databases than the registry's hold; the application's first, as the demo's stands on it.
    let schemas =
        ["participants/sql/install/schema.sql", "app/real_demo/sql/schema.sql"].map(|file| root.join(file));
    for schema in &schemas {
        client.batch_execute(&std::fs::read_to_string(schema).unwrap()).await.expect("the schema is made");
    }
    let [open, append] = ["open", "append"]
        .map(|end| std::fs::read_to_string(root.join(format!("store/sql/log/{end}.sql"))).unwrap());
    let mut prepared = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if schemas.contains(&file)
            || file.ends_with("log/open.sql")
            || file.ends_with("log/append.sql")
            || file.to_string_lossy().contains("migration")
        {
            continue;
        }
        let sql = if text.contains("changed AS (") { format!("{open}{text}{append}") } else { text };
        // What PostgreSQL cannot prepare, it can still parse and run.
        if sql.contains("SET plan_cache_mode") || sql.starts_with("SET ") || sql.starts_with("LISTEN ") {
            client
                .batch_execute(&format!("BEGIN; {sql}; ROLLBACK"))
                .await
                .unwrap_or_else(|error| panic!("{file:?}: {error:?}"));
        } else {
            client.prepare(&sql).await.unwrap_or_else(|error| panic!("{file:?}: {error:?}"));
        }
        prepared += 1;
    }
    assert!(prepared > 30, "only {prepared} statements were found");
    replica.stop().await;
}

/// It listed the participants' contract, the stubs' and flagd's, and calls of them were `METHOD_UNKNOWN`.
#[tokio::test]
async fn reflection_lists_what_the_listener_serves_and_nothing_else() {
    let ours = ["FeatureFlags", "Lifecycle", "TenantHealth", "TenantRegistry", "Tiers"];
    let mut expected: Vec<String> = ours.iter().map(|name| format!("tenantry.v1.{name}")).collect();
    expected.extend(["v1", "v1alpha"].map(|version| format!("grpc.reflection.{version}.ServerReflection")));
    expected.push("grpc.health.v1.Health".to_owned());
    let flagd = ["evaluation.v1", "evaluation.v2", "sync.v1"];
    let flagd = flagd.map(|name| {
        let service = if name.starts_with("sync") { "FlagSyncService" } else { "Service" };
        format!("flagd.{name}.{service}")
    });
    for shared in [false, true] {
        let mut setup = Setup::default();
        if shared {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            for key in ["server.grpc_listen", "openfeature.evaluation_listen", "openfeature.sync_listen"] {
                setup.settings.push((key, free.to_string()));
            }
        }
        let replica = Replica::start(&setup).await;
        let listed = listed_services(replica.channel.clone()).await;
        let mut wanted = expected.clone();
        wanted.extend(flagd.iter().filter(|_| shared).cloned());
        wanted.sort_unstable();
        assert_eq!(listed, wanted, "shared: {shared}");
        replica.stop().await;
    }
}

fn collect(folder: &Path, wanted: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, wanted, files);
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            files.push(path);
        }
    }
}

#[test]
fn every_alert_watches_a_metric_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let alerts = std::fs::read_to_string(root.join("deploy/alerts.yaml")).unwrap();
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let expressions = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let names: Vec<_> = expressions
        .flat_map(|expression| expression.split(|letter| !is_letter(letter)))
        .filter(|word| word.starts_with("tenantry_"))
        .collect();
    assert!(names.len() > 3, "the alerts are read: {names:?}");
    let mut files = Vec::new();
    collect(&root.join("src"), "rs", &mut files);
    let sources: String = files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    for name in names {
        assert!(sources.contains(&format!("\"{name}\"")), "nothing is called {name}");
    }
}
