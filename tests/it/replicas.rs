//! Two replicas on one database.

use tenantry::proto::{google, v1};
use tonic::{Code, Request};

use crate::support::{Replica, Setup, new_tenant, reason};

async fn two() -> (Replica, Replica) {
    let setup = Setup { no_targets: true, ..Setup::default() };
    let first = Replica::start(&setup).await;
    let second = Replica::on(&first.database_url, &setup).await;
    (first, second)
}

fn create(tenant_id: &str, request_id: &str) -> v1::CreateTenantRequest {
    v1::CreateTenantRequest {
        tenant: Some(new_tenant(tenant_id)),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_was_written_on_one_is_read_on_the_other_by_its_token() {
    let (mut first, mut second) = two().await;
    for number in 0..20 {
        let id = format!("t{number}");
        let made = first.tenants.create_tenant(create(&id, "")).await.unwrap();
        let token = made.metadata().get("tenantry-revision").unwrap().clone();
        let mut request = Request::new(v1::GetTenantRequest { tenant_id: id.clone() });
        request.metadata_mut().insert("tenantry-min-revision", token);
        assert_eq!(second.tenants.get_tenant(request).await.unwrap().into_inner(), made.into_inner());
        let id = format!("u{number}");
        first.tenants.create_tenant(create(&id, "")).await.unwrap();
        let mut request = Request::new(v1::GetTenantRequest { tenant_id: id });
        request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
        second.tenants.get_tenant(request).await.unwrap();
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_token_of_another_database_or_of_nothing_is_refused() {
    let (mut first, second) = two().await;
    for (token, code, wanted) in [
        ("0000000000000007-1", Code::FailedPrecondition, "EPOCH_MISMATCH"),
        ("nonsense", Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let mut request = Request::new(v1::GetTenantRequest { tenant_id: "x".into() });
        request.metadata_mut().insert("tenantry-min-revision", token.parse().unwrap());
        let error = first.tenants.get_tenant(request).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (code, wanted));
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_that_is_asked_of_both_at_once_gets_one_answer() {
    let (first, second) = two().await;
    for number in 0..30 {
        let request = create(&format!("t{number}"), &uuid::Uuid::now_v7().to_string());
        let mut asked = tokio::task::JoinSet::new();
        for place in 0..6 {
            let mut tenants = if place % 2 == 0 { first.tenants.clone() } else { second.tenants.clone() };
            let request = request.clone();
            asked.spawn(async move { tenants.create_tenant(request).await.unwrap().into_inner() });
        }
        let answers = asked.join_all().await;
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_request_repeated_on_the_other_replica_gets_the_same_answer() {
    let (mut first, mut second) = two().await;
    let request = create("finance", "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b");
    let made = first.tenants.create_tenant(request.clone()).await.unwrap().into_inner();
    assert_eq!(second.tenants.create_tenant(request).await.unwrap().into_inner(), made);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_leave_no_gap_and_both_views_equal_the_tables() {
    let (first, second) = two().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let mut tenants = if writer % 2 == 0 { first.tenants.clone() } else { second.tenants.clone() };
        let mut health = if writer % 3 == 0 { first.health.clone() } else { second.health.clone() };
        writers.spawn(async move {
            for number in 0..15 {
                let id = format!("w{writer}-{number}");
                tenants.create_tenant(create(&id, "")).await.unwrap();
                let update = v1::UpdateTenantRequest {
                    tenant: Some(v1::Tenant {
                        tenant_id: id.clone(),
                        owner: format!("o{number}"),
                        ..Default::default()
                    }),
                    update_mask: Some(prost_types::FieldMask { paths: vec!["owner".into()] }),
                    ..Default::default()
                };
                tenants.update_tenant(update).await.unwrap();
                let signals = v1::Signals {
                    latency_p95_ms: Some(600.0),
                    error_rate: Some(0.0),
                    query_success_rate: Some(1.0),
                    storage_utilization: Some(0.5),
                };
                let report =
                    v1::ReportSignalsRequest { tenant_id: id, signals: Some(signals), ..Default::default() };
                health.report_signals(report).await.unwrap();
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let (client, connection) =
        tokio_postgres::connect(&first.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one(
            "SELECT count(*), min(l.revision), max(l.revision), (SELECT revision FROM log_head), \
             (SELECT count(*) FROM request) FROM log l",
            &[],
        )
        .await
        .unwrap();
    let (count, least, most, head, requests): (i64, i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
    assert_eq!(
        (least, most, head, requests),
        (1, count, count, count),
        "dense, in order, each with its reply"
    );
    assert_eq!(count, 3 + 16 * 15 * 3);
    // A view loaded afresh is what the tables say.
    let fresh = Replica::on(&first.database_url, &Setup { no_targets: true, ..Setup::default() }).await;
    let patience = std::time::Duration::from_secs(5);
    let revision = fresh.server.registry.view.snapshot().unwrap().revision;
    let wanted = fresh.server.registry.view.snapshot().unwrap();
    for replica in [&first, &second] {
        let seen = replica.server.registry.view.at_least(revision, patience).await.unwrap();
        assert_eq!(seen.revision, wanted.revision);
        assert!(seen.tenants.iter().eq(wanted.tenants.iter()));
        assert!(seen.tiers.iter().eq(wanted.tiers.iter()));
    }
    for replica in [first, second, fresh] {
        replica.stop().await;
    }
}

/// A tenant with a value in every field, each of a kind that could come back from the database as something else.
fn full_tenant(tenant_id: &str) -> v1::Tenant {
    let texts =
        |prefix: &str| [(format!("{prefix}-b"), "2".into()), (format!("{prefix}-a"), "1".into())].into();
    v1::Tenant {
        description: "\u{e9} and e\u{301} are two spellings".into(),
        parent: "parent".into(),
        business_unit: "retail".into(),
        cost_center: "cc-1".into(),
        owner: "ada@example.com".into(),
        contacts: vec![v1::Contact {
            name: "Ada".into(),
            email: "ada@example.com".into(),
            role: "dpo".into(),
        }],
        limit_overrides: [
            ("storage_bytes".into(), v1::Limit { bound: Some(v1::limit::Bound::Value((1 << 53) + 1)) }),
            ("users".into(), v1::Limit { bound: Some(v1::limit::Bound::Unlimited(true)) }),
        ]
        .into(),
        sla_target: Some(-0.0),
        support_level: "24/7".into(),
        isolation_model: v1::IsolationModel::Silo.into(),
        region: "eu-west-1".into(),
        data_residency: "EU".into(),
        compliance_frameworks: vec!["SOX".into(), "GDPR".into()],
        data_classification: v1::DataClassification::Restricted.into(),
        encryption_key_ref: "kms://key".into(),
        resource_names: Some(v1::ResourceNames { bucket: "own-bucket".into(), ..Default::default() }),
        time_zone: "Asia/Kolkata".into(),
        currency_code: "INR".into(),
        monthly_budget: Some(google::r#type::Money { units: 12, nanos: 500_000_000, ..Default::default() }),
        labels: texts("label"),
        annotations: texts("note"),
        ..new_tenant(tenant_id)
    }
}

#[tokio::test]
async fn what_a_view_took_in_by_itself_is_what_the_tables_say() {
    let setup = Setup::default();
    let mut replica = Replica::start(&setup).await;
    replica.tenant("parent").await;
    for (tenant_id, sla_target) in [("odd", 0.1 + 0.2), ("zero", 0.0)] {
        let request = v1::CreateTenantRequest { tenant: Some(full_tenant(tenant_id)), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
        let update = v1::UpdateTenantRequest {
            tenant: Some(v1::Tenant { sla_target: Some(sla_target), ..full_tenant(tenant_id) }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["sla_target".into()] }),
            ..Default::default()
        };
        replica.settled(tenant_id).await;
        replica.tenants.update_tenant(update).await.unwrap();
        let signals = v1::Signals {
            latency_p95_ms: Some(1.0 / 3.0),
            error_rate: Some(-0.0),
            query_success_rate: Some(1.0),
            storage_utilization: Some(f64::MIN_POSITIVE),
        };
        let report = v1::ReportSignalsRequest {
            tenant_id: tenant_id.to_owned(),
            signals: Some(signals),
            ..Default::default()
        };
        replica.health.report_signals(report).await.unwrap();
    }
    replica.holds_what_the_tables_say(&setup).await;
    replica.stop().await;
}
