//! What happens between the server and its database when the wire breaks, freezes or lags, and when one change is bad.

use std::time::{Duration, Instant};

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::proto::v1;
use tonic::{Code, Request, Status};

use crate::support::proxy::{Cut, Flow, Proxy};
use crate::support::{Replica, Setup, empty_database, metrics, new_tenant, page, reason};

fn no_targets() -> Setup {
    Setup { no_targets: true, ..Setup::default() }
}

/// A replica whose database is behind a wire that can be cut.
async fn wired() -> (Replica, Proxy) {
    let direct = empty_database().await;
    let mut seeding = Replica::on(&direct, &no_targets()).await;
    seeding.seed_tiers().await;
    seeding.stop().await;
    let (proxy, url) = Proxy::start(&direct).await;
    let mut replica = Replica::on(&url, &no_targets()).await;
    replica.database_url = direct;
    (replica, proxy)
}

fn create(tenant_id: &str, request_id: &str) -> v1::CreateTenantRequest {
    v1::CreateTenantRequest {
        tenant: Some(new_tenant(tenant_id)),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

async fn sql(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// How many events the log has of a subject, and whether it is dense.
async fn events(url: &str, subject: &str) -> i64 {
    let row = sql(url)
        .await
        .query_one(
            "SELECT count(*) FILTER (WHERE subject = $1), count(*) = max(revision), \
             max(revision) = (SELECT revision FROM log_head) FROM log",
            &[&subject],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(1) && row.get::<_, bool>(2), "the log is dense up to its head");
    row.get(0)
}

#[tokio::test]
async fn a_connection_cut_at_the_commit_neither_loses_nor_doubles_the_change() {
    let (mut replica, proxy) = wired().await;
    for (number, cut) in [Cut::BeforeCommit, Cut::AfterCommit].into_iter().cycle().take(6).enumerate() {
        let id = format!("cut{number}");
        let request = create(&id, &uuid::Uuid::now_v7().to_string());
        proxy.cut_at_commit(&id, cut);
        let made = replica.tenants.create_tenant(request.clone()).await;
        let made = made.unwrap_or_else(|error| panic!("{cut:?}: {error:?}")).into_inner();
        assert_eq!(usize::try_from(proxy.sprung()).unwrap(), number + 1, "{cut:?}: the trap closed");
        let again = replica.tenants.create_tenant(request).await.unwrap().into_inner();
        assert_eq!(again, made, "{cut:?}: the kept answer");
        let row = sql(&replica.database_url)
            .await
            .query_one("SELECT count(*) FROM tenant WHERE tenant_id = $1", &[&id])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 1, "{cut:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_caller_whose_server_lost_the_commit_hears_the_kept_answer_from_another_replica() {
    let (replica, proxy) = wired().await;
    let mut other = Replica::on(&replica.database_url, &no_targets()).await;
    let request = create("lost", &uuid::Uuid::now_v7().to_string());
    proxy.cut_at_commit("lost", Cut::AfterCommit);
    let mut tenants = replica.tenants.clone();
    let asked = tokio::spawn({
        let request = request.clone();
        async move { tenants.create_tenant(request).await }
    });
    while proxy.sprung() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The first server hears nothing from its database any more.
    proxy.flow(Flow::Frozen);
    let made = other.tenants.create_tenant(request).await.unwrap().into_inner();
    assert_eq!(made.tenant_id, "lost");
    let first = asked.await.unwrap();
    assert!(first.is_err() || first.unwrap().into_inner() == made, "unknown, or the same");
    assert_eq!(
        other
            .tenants
            .get_tenant(v1::GetTenantRequest { tenant_id: "lost".into() })
            .await
            .unwrap()
            .into_inner(),
        made
    );
    proxy.flow(Flow::Open);
    replica.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_leaves_reads_answered_writes_refused_in_time_and_nothing_doubled() {
    let (mut replica, proxy) = wired().await;
    replica.tenants.create_tenant(create("before", "")).await.unwrap();
    proxy.flow(Flow::Frozen);
    let requests: Vec<_> =
        (0..8).map(|number| create(&format!("frozen{number}"), &uuid::Uuid::now_v7().to_string())).collect();
    for round in 0..2 {
        let asked: Vec<_> = requests
            .iter()
            .map(|request| {
                let (mut tenants, request) = (replica.tenants.clone(), request.clone());
                tokio::spawn(async move {
                    let start = Instant::now();
                    (tenants.create_tenant(request).await, start.elapsed())
                })
            })
            .collect();
        for answer in asked {
            let (answer, took) = answer.await.unwrap();
            let error: Status = answer.unwrap_err();
            assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
            assert!(took < Duration::from_millis(2_500), "round {round}: told after {took:?}");
        }
        assert_eq!(replica.get("before").await.tenant_id, "before", "reads go on from the view");
    }
    let mut latest = Request::new(v1::GetTenantRequest { tenant_id: "before".into() });
    latest.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    assert_eq!(replica.tenants.get_tenant(latest).await.unwrap_err().code(), Code::Unavailable);
    let probe = page(&replica, "/readyz").await;
    assert!(probe.starts_with("HTTP/1.1 200") && probe.contains("writes fail, reads go on"), "{probe}");
    proxy.flow(Flow::Open);
    let thawed = Instant::now();
    for request in &requests {
        while let Err(error) = replica.tenants.create_tenant(request.clone()).await {
            assert_eq!(error.code(), Code::Unavailable, "{error:?}");
            assert!(thawed.elapsed() < Duration::from_secs(10), "it recovers within 10 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for number in 0..8 {
        let made = replica.get(&format!("frozen{number}")).await;
        assert_eq!(events(&replica.database_url, &made.tenant_id).await, 1);
    }
    replica.stop().await;
}

#[tokio::test]
async fn cutting_every_connection_again_and_again_loses_nothing() {
    let (replica, proxy) = wired().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let mut tenants = replica.tenants.clone();
        writers.spawn(async move {
            for number in 0..15 {
                let request = create(&format!("c{writer}-{number}"), &uuid::Uuid::now_v7().to_string());
                while let Err(error) = tenants.create_tenant(request.clone()).await {
                    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
                }
            }
        });
    }
    // Each pause is longer than the one before: on a busy machine a connection must live long enough, some time, for a
    // change to be made over it.
    let mut pause = Duration::from_millis(15);
    while !writers.is_empty() {
        tokio::select! {
            done = writers.join_next() => done.unwrap().unwrap(),
            () = tokio::time::sleep(pause) => {
                proxy.cut();
                pause += Duration::from_micros(500);
            }
        }
    }
    let row = sql(&replica.database_url)
        .await
        .query_one(
            "SELECT count(*), count(DISTINCT subject), max(revision) FROM log WHERE subject LIKE 'c%'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (60, 60));
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_change_hurts_only_itself() {
    let replica = Replica::start(&no_targets()).await;
    // Valid for the server, and refused by the database: what a bug of ours would look like.
    sql(&replica.database_url)
        .await
        .batch_execute(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'poisoned: %', NEW.tenant_id; END $$; \
             CREATE TRIGGER poison BEFORE INSERT ON tenant FOR EACH ROW \
             WHEN (NEW.tenant_id LIKE 'poison%') EXECUTE FUNCTION poison()",
        )
        .await
        .unwrap();
    let asked: Vec<_> = (0..64)
        .map(|number| {
            let id = if number % 16 == 7 { format!("poison{number}") } else { format!("good{number}") };
            let mut tenants = replica.tenants.clone();
            tokio::spawn(async move {
                let answer = tenants.create_tenant(create(&id, "")).await;
                (id, answer)
            })
        })
        .collect();
    for answer in asked {
        let (id, answer) = answer.await.unwrap();
        if id.starts_with("poison") {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), Code::Internal);
            assert!(!error.message().contains("poisoned"), "the database's words stay in the log");
            assert_eq!(events(&replica.database_url, &id).await, 0);
        } else {
            answer.unwrap_or_else(|error| panic!("{id}: {error:?}"));
            assert_eq!(events(&replica.database_url, &id).await, 1);
        }
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_replica_that_lags_reads_what_it_has_and_waits_only_where_asked() {
    let (mut lagging, proxy) = wired().await;
    let mut ahead = Replica::on(&lagging.database_url, &no_targets()).await;
    ahead.tenants.create_tenant(create("seen", "")).await.unwrap();
    let mut latest = Request::new(v1::GetTenantRequest { tenant_id: "seen".into() });
    latest.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    lagging.tenants.get_tenant(latest).await.unwrap();
    proxy.flow(Flow::FollowerHeld);
    let made = ahead.tenants.create_tenant(create("unseen", "")).await.unwrap();
    let token = made.metadata().get("tenantry-revision").unwrap().clone();
    let ask = || v1::GetTenantRequest { tenant_id: "unseen".into() };
    let error = lagging.tenants.get_tenant(ask()).await.unwrap_err();
    assert_eq!(reason(&error), "TENANT_NOT_FOUND", "a plain read is of the view");
    let mut bound = Request::new(ask());
    bound.metadata_mut().insert("tenantry-min-revision", token.clone());
    let error = lagging.tenants.get_tenant(bound).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "VIEW_NOT_READY"));
    proxy.flow(Flow::Open);
    let mut bound = Request::new(ask());
    bound.metadata_mut().insert("tenantry-min-revision", token);
    assert_eq!(lagging.tenants.get_tenant(bound).await.unwrap().into_inner(), made.into_inner());
    lagging.stop().await;
    ahead.stop().await;
}

/// That writes are refused for what is so, and reads go on.
async fn assert_read_only(replica: &mut Replica) {
    let begun = Instant::now();
    let error = replica.tenants.create_tenant(create("refused", "")).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
    assert!(error.message().contains("read-only") && !error.message().contains("reached"), "{error:?}");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    assert_eq!(replica.get("before").await.tenant_id, "before");
    let probe = page(replica, "/readyz").await;
    assert!(probe.starts_with("HTTP/1.1 200") && probe.contains("read-only; writes fail"), "{probe}");
    assert!(metrics(replica).await.contains("tenantry_database_read_only 1"));
}

async fn until_read_only(replica: &Replica, is_read_only: bool) {
    let wanted = format!("tenantry_database_read_only {}", u8::from(is_read_only));
    let begun = Instant::now();
    while !metrics(replica).await.contains(&wanted) {
        assert!(begun.elapsed() < Duration::from_secs(15), "{wanted} is never told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_said_to_be_read_only() {
    let postgres = tokio::task::spawn_blocking(|| PrivatePostgres::start(&Options::ephemeral()));
    let postgres = postgres.await.unwrap().unwrap();
    let url = postgres.url();
    let mut replica = Replica::on(&url, &no_targets()).await;
    replica.seed_tiers().await;
    replica.tenants.create_tenant(create("before", "")).await.unwrap();
    let admin = sql(&url).await;
    let set = async |value: &str| {
        let statements = [
            "SET default_transaction_read_only = off".to_owned(),
            format!("ALTER SYSTEM SET default_transaction_read_only = {value}"),
            "SELECT pg_reload_conf()".to_owned(),
        ];
        for statement in statements {
            admin.batch_execute(&statement).await.unwrap();
        }
    };
    // Open connections stay, and are of use to read.
    set("on").await;
    until_read_only(&replica, true).await;
    assert_read_only(&mut replica).await;
    let mut latest = Request::new(v1::GetTenantRequest { tenant_id: "before".into() });
    latest.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    replica.tenants.get_tenant(latest).await.unwrap();
    // As at a primary that was made a standby: every connection breaks, and none is of use any more.
    admin
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'tenantry' AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_read_only(&mut replica).await;
    set("off").await;
    until_read_only(&replica, false).await;
    replica.tenants.create_tenant(create("after", "")).await.unwrap();
    let probe = page(&replica, "/readyz").await;
    assert!(!probe.contains("read-only"), "{probe}");
    replica.stop().await;
    tokio::task::spawn_blocking(move || postgres.stop()).await.unwrap().unwrap();
}
