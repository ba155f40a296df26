//! Rows that cannot be read, as another version or somebody by hand may leave them.

use std::time::Duration;

use tenantry::proto::v1;

use crate::support::{Replica, Setup, metrics, new_tenant, reason, sql};

fn setup() -> Setup {
    Setup { no_targets: true, ..Setup::default() }
}

fn boolean(flag_key: &str) -> v1::Flag {
    v1::Flag { flag_key: flag_key.into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() }
}

async fn create(replica: &mut Replica, flag_key: &str) {
    let request = v1::CreateFlagRequest { flag: Some(boolean(flag_key)), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
}

async fn get(replica: &mut Replica, flag_key: &str) -> Result<v1::Flag, tonic::Status> {
    let request = v1::GetFlagRequest { flag_key: flag_key.into() };
    replica.flags.get_flag(request).await.map(tonic::Response::into_inner)
}

/// Spoils a row as a change would that only a newer version can read.
async fn spoil(replica: &Replica, table: &str, garbage: &str, which: &str) {
    let statements = format!(
        "BEGIN; UPDATE log_head SET revision = revision + 1;
         UPDATE {table} SET {garbage}, revision = (SELECT revision FROM log_head) WHERE {which};
         COMMIT"
    );
    sql(&replica.database_url, &statements).await;
}

/// Waits until so many rows of a table are told to be unreadable.
async fn told(replica: &Replica, table: &str, count: usize) {
    let line = format!("tenantry_view_unreadable_rows{{table=\"{table}\"}} {count}");
    let none = format!("tenantry_view_unreadable_rows{{table=\"{table}\"}}");
    for _ in 0..200 {
        let text = metrics(replica).await;
        if text.contains(&line) || count == 0 && !text.contains(&none) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{table} {count}: {}", metrics(replica).await);
}

async fn readyz(replica: &Replica) -> String {
    let address = format!("http://{}/readyz", replica.server.http);
    let answer = reqwest::get(address).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn one_keeps_its_last_good_version_and_no_other_from_being_read_until_it_is_repaired() {
    let mut replica = Replica::start(&setup()).await;
    replica.tenant("finance").await;
    create(&mut replica, "search").await;
    let before = get(&mut replica, "search").await.unwrap();
    spoil(&replica, "flag", "kind = 'OF_ANOTHER_VERSION'", "flag_key = 'search'").await;
    told(&replica, "flag", 1).await;

    // The rest goes on, and what cannot be read is what it was.
    create(&mut replica, "later").await;
    assert!(get(&mut replica, "later").await.is_ok());
    assert_eq!(get(&mut replica, "search").await.unwrap(), before);
    assert!(readyz(&replica).await.contains("ready"));
    let update = || v1::UpdateFlagRequest {
        flag: Some(v1::Flag { owner: "core".into(), ..boolean("search") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["owner".into()] }),
        ..Default::default()
    };
    let error = replica.flags.update_flag(update()).await.unwrap_err();
    assert_eq!(reason(&error), "ROW_UNREADABLE");
    assert!(error.message().contains("flag search"), "{error:?}");

    // One that starts now has never seen it.
    let mut new = Replica::on(&replica.database_url, &setup()).await;
    told(&new, "flag", 1).await;
    assert_eq!(reason(&get(&mut new, "search").await.unwrap_err()), "ROW_UNREADABLE");
    assert!(get(&mut new, "later").await.is_ok());
    assert!(readyz(&new).await.contains("ready"));

    // Repaired by hand, without a new revision.
    sql(&replica.database_url, "UPDATE flag SET kind = 'RELEASE' WHERE flag_key = 'search'").await;
    for replica in [&mut replica, &mut new] {
        told(replica, "flag", 0).await;
        let repaired = get(replica, "search").await.unwrap();
        assert_eq!(
            v1::Flag { revision: 0, etag: String::new(), ..repaired },
            v1::Flag { revision: 0, etag: String::new(), ..before.clone() }
        );
    }
    new.flags.update_flag(update()).await.unwrap();
    replica.stop().await;
    new.stop().await;
}

/// A server with a row in every table.
async fn with_everything() -> Replica {
    let mut replica = Replica::start(&setup()).await;
    replica.tenant("finance").await;
    create(&mut replica, "search").await;
    let signals = v1::Signals {
        latency_p95_ms: Some(5.0),
        error_rate: Some(0.5),
        query_success_rate: Some(0.5),
        storage_utilization: Some(0.5),
    };
    let report = v1::ReportSignalsRequest {
        tenant_id: "finance".into(),
        signals: Some(signals),
        ..Default::default()
    };
    replica.health.report_signals(report).await.unwrap();
    let segment = v1::Segment { segment_name: "eu".into(), logic: "true".into(), ..Default::default() };
    let request = v1::CreateSegmentRequest { segment: Some(segment), ..Default::default() };
    replica.flags.create_segment(request).await.unwrap();
    let tier = v1::SetTierDefaultRequest {
        flag_key: "search".into(),
        tier_id: "gold".into(),
        variant: "on".into(),
        ..Default::default()
    };
    replica.flags.set_tier_default(tier).await.unwrap();
    let own = v1::SetTenantOverrideRequest {
        flag_key: "search".into(),
        tenant_id: "finance".into(),
        variant: "on".into(),
        ..Default::default()
    };
    replica.flags.set_tenant_override(own).await.unwrap();
    let content = r#"{"flags": {}, "metadata": {"flagSetId": "shop"}}"#.to_owned();
    replica.flags.import_flags(v1::ImportFlagsRequest { content, ..Default::default() }).await.unwrap();
    let suspend = v1::SuspendTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    replica.lifecycle.suspend_tenant(suspend).await.unwrap();
    replica
}

#[tokio::test]
async fn of_every_table_one_stands_alone_on_a_running_replica_and_on_a_new_one() {
    let mut replica = with_everything().await;
    let tables = [
        ("flag", "variants = '[1e400]'", "flag_key = 'search'"),
        ("segment", "segment_name = ' '", "segment_name = 'eu'"),
        ("tier_default", "variant = NULL, rollout = '5'", "tier_id = 'gold'"),
        ("tenant_override", "variant = NULL, rollout = '[]'", "tenant_id = 'finance'"),
        ("flag_file", "create_time = 'infinity'", "file_name = 'shop'"),
        ("operation", "verb = 'DISSOLVE'", "tenant_id = 'finance'"),
        ("tier", "limits = '7'", "tier_id = 'silver'"),
        ("tenant_health", "score = 32000", "tenant_id = 'finance'"),
        ("tenant", "isolation_model = 'CLOUD'", "tenant_id = 'finance'"),
    ];
    for (table, garbage, which) in tables {
        spoil(&replica, table, garbage, which).await;
        told(&replica, table, 1).await;
    }
    create(&mut replica, "later").await;
    replica.tenant("sales").await;
    assert_eq!(replica.get("finance").await.tenant_id, "finance", "as it was");
    let mut new = Replica::on(&replica.database_url, &setup()).await;
    for (table, ..) in tables {
        told(&new, table, 1).await;
    }
    assert!(get(&mut new, "later").await.is_ok());
    assert_eq!(new.get("sales").await.tenant_id, "sales");
    let request = v1::GetTenantRequest { tenant_id: "finance".into() };
    assert_eq!(reason(&new.tenants.get_tenant(request).await.unwrap_err()), "ROW_UNREADABLE");
    let again = v1::CreateTenantRequest { tenant: Some(new_tenant("finance")), ..Default::default() };
    assert_eq!(reason(&new.tenants.create_tenant(again).await.unwrap_err()), "ROW_UNREADABLE");
    let repair = "UPDATE tenant SET isolation_model = 'POOL' WHERE tenant_id = 'finance'";
    sql(&replica.database_url, repair).await;
    told(&new, "tenant", 0).await;
    assert_eq!(new.get("finance").await.tenant_id, "finance");
    replica.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn an_entry_of_the_log_that_cannot_be_read_hides_nothing_that_was_removed() {
    let mut replica = Replica::start(&setup()).await;
    create(&mut replica, "search").await;
    let removed = "BEGIN; UPDATE log_head SET revision = revision + 1; DELETE FROM flag;
        INSERT INTO log (revision, kind, subject, actor, request_id, entry)
        SELECT revision, 'flag_deleted', 'search', 'somebody', gen_random_uuid(), 'garbage' FROM log_head; COMMIT";
    sql(&replica.database_url, removed).await;
    for _ in 0..100 {
        if get(&mut replica, "search").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(reason(&get(&mut replica, "search").await.unwrap_err()), "FLAG_NOT_FOUND");
    create(&mut replica, "search").await;
    replica.stop().await;
}

/// Old operations are not in the view: they are read from their table.
#[tokio::test]
async fn one_old_operation_is_left_out_of_listings_and_no_other_with_it() {
    let settings = vec![("view.ended_operations", "100".to_owned())];
    let mut replica = Replica::start(&Setup { settings, ..setup() }).await;
    replica.tenant("finance").await;
    let mut made = Vec::new();
    for _ in 0..60 {
        let suspend = v1::SuspendTenantRequest { tenant_id: "finance".into(), ..Default::default() };
        made.push(replica.lifecycle.suspend_tenant(suspend).await.unwrap().into_inner().operation_id);
        let activate = v1::ActivateTenantRequest { tenant_id: "finance".into(), ..Default::default() };
        made.push(replica.lifecycle.activate_tenant(activate).await.unwrap().into_inner().operation_id);
    }
    let statements = format!(
        "UPDATE operation SET verb = 'DISSOLVE' WHERE operation_id IN ('{}', '{}')",
        made[0], made[7]
    );
    sql(&replica.database_url, &statements).await;
    for index in [0, 7] {
        let request = v1::GetOperationRequest { operation_id: made[index].clone() };
        let error = replica.lifecycle.get_operation(request).await.unwrap_err();
        assert_eq!(reason(&error), "ROW_UNREADABLE", "{error:?}");
        assert!(error.message().contains(&made[index]), "{error:?}");
    }
    let mut wanted: Vec<_> = made
        .iter()
        .enumerate()
        .filter(|(index, _)| ![0, 7].contains(index))
        .map(|(_, id)| id.clone())
        .collect();
    wanted.reverse();
    for page_size in [7, 1_000] {
        let mut request =
            v1::ListOperationsRequest { tenant_id: "finance".into(), page_size, ..Default::default() };
        let mut listed = Vec::new();
        loop {
            let page = replica.lifecycle.list_operations(request.clone()).await.unwrap().into_inner();
            listed.extend(page.operations.into_iter().map(|operation| operation.operation_id));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, wanted, "{page_size} a page");
    }
    replica.stop().await;
}
