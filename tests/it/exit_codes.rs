//! How commands end: what is refused before it is asked, what takes too long, and by which class they fail.

use std::time::{Duration, Instant};

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tenantry::services::lifecycle::BULK_VERBS;
use tokio::io::AsyncReadExt as _;

use crate::command_line::tenantry;
use crate::support::{Replica, Setup, empty_database, new_tenant, sql};

/// As a script has them whose variable is not set.
#[tokio::test]
async fn what_names_nothing_is_refused_before_it_is_asked() {
    let mut verbs = BULK_VERBS.map(|verb| verb.as_str().to_lowercase().replace('_', "-")).to_vec();
    verbs.dedup();
    let verbs = verbs.join(", ");
    for (arguments, words) in [
        (&["tenant", "start-migration", "acme", "--to-region", ""][..], "--to-region"),
        (&["tenant", "start-migration", "acme", "--to-cell", ""], "--to-cell"),
        (&["bulk", "start", "start-migration", "--filter", "tenant_id:*", "--to-region", ""], "--to-region"),
        (&["bulk", "start", "start-migration", "--filter", "tenant_id:*", "--to-cell", ""], "--to-cell"),
        (&["bulk", "start", "suspend", "--filter", "tenant_id:*", "--concurrent-max", "0"], "1..=1000"),
        (&["bulk", "start", "suspend", "--filter", "tenant_id:*", "--concurrent-max", "1001"], "1..=1000"),
        (&["bulk", "start", "frobnicate", "--filter", "tenant_id:*"], &verbs),
    ] {
        let (code, said) = tenantry(arguments).await;
        assert!(code == Some(2) && said.contains(words), "{arguments:?}: {code:?} {said}");
    }
}

#[tokio::test]
async fn what_is_no_number_changes_nothing() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let server = format!("http://{}", replica.server.grpc);
    let at = |arguments: &[&'static str]| {
        let arguments: Vec<String> = arguments
            .iter()
            .chain(&["--server"])
            .map(|text| (*text).to_owned())
            .chain([server.clone()])
            .collect();
        async move { tenantry(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let (code, said) = at(&["tenant", "create", "acme", "--tier", "gold", "--sla-target", "0.9"]).await;
    assert_eq!(code, Some(0), "{said}");
    for arguments in [
        ["tenant", "update", "acme", "--sla-target", "nan"].as_slice(),
        &["tenant", "update", "acme", "--sla-target", "inf"],
        &["tier", "create", "t1", "--sla-target", "NaN"],
        &["tier", "update", "gold", "--sla-target", "nan"],
        &[
            "health",
            "report",
            "acme",
            "--latency-p95-ms",
            "nan",
            "--error-rate",
            "0",
            "--query-success-rate",
            "1",
            "--storage-utilization",
            "0",
        ],
    ] {
        let (code, said) = at(arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("must be a number, such as 0.999"), "{arguments:?}: {said}");
    }
    assert_eq!(replica.get("acme").await.sla_target, Some(0.9));
    let (code, said) = at(&["tier", "create", "t1"]).await;
    assert!(code == Some(2) && said.contains("a tier needs --sla-target"), "{said}");
    let (code, said) = at(&["tier", "get", "t1"]).await;
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = at(&["tenant", "list", "--page-size", "many"]).await;
    assert!(code == Some(2) && said.contains("must be a whole number"), "{said}");

    let (code, said) = at(&["tier", "update", "gold", "--rank", "7", "--etag", "stale"]).await;
    assert_ne!(code, Some(0), "{said}");
    let (code, said) = at(&["tier", "get", "gold", "-o", "json"]).await;
    assert_eq!(code, Some(0), "{said}");
    let tier: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_ne!(tier["rank"], 7, "{said}");
    let etag: &'static str = tier["etag"].as_str().unwrap().to_owned().leak();
    let (code, said) = at(&["tier", "update", "gold", "--rank", "7", "--etag", etag]).await;
    assert_eq!(code, Some(0), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_timeout_bounds_the_whole_command_and_not_each_call_of_it() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let settings = vec![("cascade.apply_deadline", "30s".to_owned())];
    let setup = Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let server = format!("http://{}", replica.server.grpc);
    let begun = Instant::now();
    let (code, said) =
        tenantry(&["tenant", "suspend", "finance", "--timeout", "2", "--server", &server]).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("not done in 2 s, the --timeout; operation "), "{said}");
    assert!(said.contains(" goes on by itself: tenantry operation watch "), "{said}");
    let (code, said) = tenantry(&["tenant", "watch", "--timeout", "1", "--server", &server]).await;
    assert!(code == Some(6) && said.contains("not done in 1 s"), "{code:?} {said}");
    let (code, said) = tenantry(&["tenant", "watch", "--timeout", "0.3", "--server", &server]).await;
    assert!(code == Some(6) && said.contains("not done in 0.3 s"), "{code:?} {said}");
    stub.set_fault(&tenant.uid, None);
    replica.stop().await;
}

#[tokio::test]
async fn commands_of_the_server_end_with_the_exit_code_of_their_failures_class() {
    let url = empty_database().await;
    let serve = ["serve", "--insecure-no-auth", "--http-listen", "127.0.0.1:0", "--database-url"];
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    let with = |url, more: &[&'static str]| [&serve[..], &[url], more].concat();
    let free = ["--grpc-listen", "127.0.0.1:0"];
    for (arguments, wanted, words) in [
        (with(nowhere, &["--database-pool-size", "0"]), 2, "must be a whole number"),
        (
            with(nowhere, &["--grpc-listen", "127.0.0.1:7", "--http-listen", "127.0.0.1:7"]),
            2,
            "are both 127.0.0.1:7",
        ),
        (with(nowhere, &free), 6, "cannot be reached"),
        (with(&url, &free), 4, "schema version 0"),
        (vec!["migrate"], 2, "database.url is not set"),
        (vec!["migrate", "--database-url", nowhere], 6, "cannot be reached"),
        (
            vec!["migrate", "--database-url", "postgres://u:s3c@db/r?sslmode=allow"],
            2,
            "`sslmode` that is none of",
        ),
        (
            vec!["migrate", "--database-url", "postgres://u:s3c@db/r?SSLMODE=prefer"],
            2,
            "`sslmode` with capitals",
        ),
        (vec!["migrate", "--database-url", "host=db sslmode=prefer sslmode=require"], 2, "`sslmode` twice"),
        (vec!["migrate", "--database-url", "postgres://db/r?sslrootcert=ca.pem"], 2, "`ca_file` beside it"),
        (vec!["config", "--log-format", "xml"], 2, "must be one of"),
        (vec!["dev", "--seed-catalogue", "gold"], 2, "must be one of"),
    ] {
        let (code, said) = tenantry(&arguments).await;
        assert_eq!(code, Some(wanted), "{arguments:?}: {said}");
        assert!(said.contains(words) && !said.contains("s3c"), "{arguments:?}: {said}");
    }
    let replica = Replica::on(&url, &Setup { no_targets: true, ..Setup::default() }).await;
    let taken = replica.server.grpc.to_string();
    let (code, said) = tenantry(&[&serve[..], &[&url, "--grpc-listen", &taken]].concat()).await;
    assert!(code == Some(4) && said.contains("somebody is listening there already"), "{code:?} {said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_was() {
    for table in ["tenant (id integer)", "schema_migration (version text)"] {
        let url = empty_database().await;
        sql(&url, &format!("CREATE TABLE {table}")).await;
        for arguments in
            [vec!["migrate"], vec!["serve", "--insecure-no-auth", "--grpc-listen", "127.0.0.1:0"]]
        {
            let (code, said) = tenantry(&[&arguments[..], &["--database-url", &url]].concat()).await;
            let unmade = arguments[0] == "serve" && table.starts_with("tenant");
            let wanted = if unmade { "schema version 0" } else { "give Tenantry a database of its own" };
            assert!(code == Some(4) && said.contains(wanted), "{table} {arguments:?}: {code:?} {said}");
        }
        let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let tables: String = client.query_one(tables, &[]).await.unwrap().get(0);
        assert_eq!(tables, table.split(' ').next().unwrap());
    }
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_it_lacks_and_not_that_nothing_is_reached() {
    let url = empty_database().await;
    let role = format!("guest_{}", uuid::Uuid::now_v7().simple());
    sql(&url, &format!("CREATE ROLE {role} LOGIN PASSWORD 'guest'")).await;
    let guest = {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else { panic!("no TCP") };
        let (port, name) = (config.get_ports()[0], config.get_dbname().unwrap());
        format!("postgres://{role}:guest@{host}:{port}/{name}")
    };
    let serve =
        ["serve", "--insecure-no-auth", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let assert_refused = async |arguments: &[&str], lacks: &str| {
        let (code, said) = tenantry(&[arguments, &["--database-url", &guest]].concat()).await;
        assert_eq!(code, Some(5), "{arguments:?}: {said}");
        assert!(said.contains(lacks) && said.contains(&role), "{arguments:?}: {said}");
        assert!(!said.contains("cannot be reached") && !said.contains(":guest@"), "{arguments:?}: {said}");
    };
    sql(&url, "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC").await;
    assert_refused(&["migrate"], "permission denied for schema public").await;
    Replica::on(&url, &Setup { no_targets: true, ..Setup::default() }).await.stop().await;
    assert_refused(&serve, "permission denied for table schema_migration").await;
    assert_refused(&["migrate"], "permission denied for").await;
    let name = url.rsplit_once('/').unwrap().1;
    sql(&url, &format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")).await;
    assert_refused(&serve, "permission denied for database").await;
    sql(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else_is_not_reached() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
        }
    });
    let (code, said) = tenantry(&["stats", "--server", &server]).await;
    assert_eq!(code, Some(6), "{said}");
}

#[tokio::test]
async fn a_ca_file_without_a_certificate_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate\n").unwrap();
    let path = file.path().to_str().unwrap();
    let (code, said) = tenantry(&["stats", "--server", "https://127.0.0.1:1", "--ca-file", path]).await;
    assert!(code == Some(2) && said.contains("holds no certificate in PEM"), "{code:?} {said}");
}

#[tokio::test]
async fn a_move_that_children_follow_ends_with_what_became_of_them() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("holding").await;
    let child = v1::Tenant { parent: "holding".into(), ..new_tenant("hr") };
    let request = v1::CreateTenantRequest { tenant: Some(child), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    let child = replica.settled("hr").await;
    let server = format!("http://{}", replica.server.grpc);
    let at = |verb: &'static str| {
        let server = server.clone();
        async move { tenantry(&["tenant", verb, "holding", "--children", "follow", "--server", &server]).await }
    };
    stub.set_fault(&child.uid, Some(Fault::Refusing));
    let (code, said) = at("suspend").await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("holding is SUSPENDED "), "{said}");
    assert!(said.contains("its children follow, as bulk operation "), "{said}");
    assert!(said.contains("1 of 1 tenants need an operator"), "{said}");
    stub.set_fault(&child.uid, None);
    let operation_id = replica.get("hr").await.operation_id;
    let retry = v1::RetryTargetRequest { operation_id, target: "cache".into(), ..Default::default() };
    replica.lifecycle.retry_target(retry).await.unwrap();
    assert_eq!(replica.settled("hr").await.status(), v1::TenantStatus::Suspended);
    let (code, said) = at("activate").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(replica.settled("hr").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_operation_whose_tenants_wait_for_others_that_need_an_operator_is_not_followed_for_ever() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("held").await;
    replica.tenant("free").await;
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let suspend = v1::SuspendTenantRequest { tenant_id: "held".into(), wait, ..Default::default() };
    let open = replica.lifecycle.suspend_tenant(suspend).await.unwrap().into_inner();
    assert_eq!(open.state(), v1::OperationState::NeedsOperator, "{open:?}");
    let server = format!("http://{}", replica.server.grpc);
    let start = ["bulk", "start", "start-migration", "--filter", "tenant_id:*", "--server", &server];
    let start = [&start[..], &["--to-region", "me-south-1", "--timeout", "60"]].concat();
    let (code, said) = tenantry(&start).await;
    assert_eq!(code, Some(7), "{said}");
    let why = format!("held: waits for operation {} (SUSPEND), which needs an operator", open.operation_id);
    assert!(said.contains("1 of 2 tenants need an operator: ") && said.contains(&why), "{said}");
    assert_eq!(replica.settled("free").await.status(), v1::TenantStatus::Migrating);
    replica.stop().await;
}
