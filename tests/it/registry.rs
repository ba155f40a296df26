//! `TenantRegistry`, as its callers see it.

use tenantry::proto::v1;
use tonic::Code;

use crate::support::{Replica, Setup, fields, new_tenant, reason};

#[tokio::test]
async fn a_tenant_is_made_provisioned_and_read_back() {
    let mut replica = Replica::start(&Setup::default()).await;
    let made = replica.create("finance").await.unwrap();
    assert_eq!(made.status(), v1::TenantStatus::Provisioning);
    assert!(!made.operation_id.is_empty());
    let tenant = replica.settled("finance").await;
    assert_eq!(tenant.status(), v1::TenantStatus::Active);
    assert_eq!(tenant.access(), v1::TenantAccess::Full);
    assert_eq!(tenant.health_score, 100);
    assert_eq!(tenant.limits.len(), 1);
    assert_eq!(tenant.limits[0].source(), v1::LimitSource::Tier);
    let names = tenant.resource_names.unwrap();
    assert!(names.database_schema.starts_with("t_") && names.cache_prefix.ends_with(':'));
    replica.stop().await;
}

#[tokio::test]
async fn without_targets_a_tenant_is_active_at_once() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    assert_eq!(replica.create("finance").await.unwrap().status(), v1::TenantStatus::Active);
    replica.stop().await;
}

#[tokio::test]
async fn a_second_tenant_of_the_same_id_is_refused() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let error = replica.create("finance").await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::AlreadyExists, "TENANT_EXISTS"));
    replica.stop().await;
}

#[tokio::test]
async fn every_field_at_fault_is_named_at_once() {
    let mut replica = Replica::start(&Setup::default()).await;
    let tenant = v1::Tenant { tenant_id: "Bad Id".into(), time_zone: "Mars".into(), ..new_tenant("x") };
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    let error = replica.tenants.create_tenant(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(fields(&error), ["tenant.tenant_id", "tenant.time_zone"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_another_body_is_refused() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let request = v1::CreateTenantRequest {
        tenant: Some(new_tenant("finance")),
        request_id: "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b".to_owned(),
        ..Default::default()
    };
    let first = replica.tenants.create_tenant(request.clone()).await.unwrap().into_inner();
    let again = replica.tenants.create_tenant(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, again);
    let mut other = request;
    other.tenant.as_mut().unwrap().display_name = "Another".to_owned();
    let error = replica.tenants.create_tenant(other).await.unwrap_err();
    assert_eq!(reason(&error), "REQUEST_ID_REUSED");
    assert_eq!(fields(&error), ["request_id"]);
    replica.stop().await;
}

#[tokio::test]
async fn an_update_changes_what_the_mask_names_and_refuses_a_lost_one() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let before = replica.tenant("finance").await;
    let update = |owner: &str, etag: &str| v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant {
            tenant_id: "finance".into(),
            owner: owner.into(),
            display_name: "ignored".into(),
            etag: etag.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["owner".into()] }),
        ..Default::default()
    };
    let after =
        replica.tenants.update_tenant(update("ada@example.com", &before.etag)).await.unwrap().into_inner();
    assert_eq!((after.owner.as_str(), after.display_name.as_str()), ("ada@example.com", "A tenant"));
    assert_ne!(after.etag, before.etag);
    assert_eq!(replica.get("finance").await, after);
    let error = replica.tenants.update_tenant(update("bob@example.com", &before.etag)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    replica.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_ordered_and_paged() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for n in 0..7 {
        let tenant = v1::Tenant { region: format!("r{}", n % 2), ..new_tenant(&format!("t{n}")) };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
    }
    let mut list = v1::ListTenantsRequest {
        page_size: 2,
        filter: "region = \"r0\" AND status = ACTIVE".into(),
        order_by: "tenant_id desc".into(),
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = replica.tenants.list_tenants(list.clone()).await.unwrap().into_inner();
        assert_eq!(page.total_size, 4);
        seen.extend(page.tenants.into_iter().map(|tenant| tenant.tenant_id));
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["t6", "t4", "t2", "t0"]);
    let mut forged = list;
    forged.filter = "region = \"r1\"".into();
    let error = replica.tenants.list_tenants(forged).await.unwrap_err();
    assert_eq!(reason(&error), "INVALID_PAGE_TOKEN");
    replica.stop().await;
}

#[tokio::test]
async fn a_parent_must_exist_and_make_no_circle() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("top").await;
    let below = v1::Tenant { parent: "top".into(), ..new_tenant("below") };
    let request = v1::CreateTenantRequest { tenant: Some(below), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    let parent = |of: &str, parent: &str| v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { tenant_id: of.into(), parent: parent.into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["parent".into()] }),
        ..Default::default()
    };
    let error = replica.tenants.update_tenant(parent("top", "below")).await.unwrap_err();
    assert_eq!(reason(&error), "PARENT_CYCLE");
    let error = replica.tenants.update_tenant(parent("top", "nobody")).await.unwrap_err();
    assert_eq!(reason(&error), "PARENT_NOT_FOUND");
    replica.stop().await;
}

#[tokio::test]
async fn a_batch_answers_for_each_item() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let item = |tenant| v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    let mut requests: Vec<_> = (0..300).map(|n| item(new_tenant(&format!("t{n}")))).collect();
    requests.push(item(new_tenant("t0")));
    requests.push(item(v1::Tenant { tier: "none".into(), ..new_tenant("x") }));
    requests.push(item(v1::Tenant { tier: "Not An Id".into(), ..new_tenant("y") }));
    let response =
        replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await.unwrap();
    let codes: Vec<i32> = response
        .into_inner()
        .results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            v1::batch_create_tenants_response::result::Outcome::Tenant(_) => 0,
            v1::batch_create_tenants_response::result::Outcome::Error(error) => error.code,
        })
        .collect();
    assert!(codes[..300].iter().all(|code| *code == 0), "of the two t0 the first is made");
    let refused = [Code::AlreadyExists, Code::NotFound, Code::InvalidArgument].map(|code| code as i32);
    assert_eq!(codes[300..], refused);
    replica.stop().await;
}

#[tokio::test]
async fn a_fault_of_an_item_is_named_from_the_batch_whoever_found_it() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let named = |id: &str, tier: &str| {
        let names = v1::ResourceNames { vector_namespace: "shared".into(), ..Default::default() };
        let tenant = v1::Tenant { resource_names: Some(names), tier: tier.into(), ..new_tenant(id) };
        v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }
    };
    replica.tenants.create_tenant(named("first", "gold")).await.unwrap();
    // One is found while it is decoded, the other by the registry.
    let requests = vec![named("second", "Not An Id"), named("third", "gold")];
    let answer =
        replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await.unwrap();
    let messages: Vec<_> = answer
        .into_inner()
        .results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            v1::batch_create_tenants_response::result::Outcome::Tenant(tenant) => tenant.tenant_id,
            v1::batch_create_tenants_response::result::Outcome::Error(error) => error.message,
        })
        .collect();
    assert!(messages[0].starts_with("requests[0].tenant.tier: "), "{messages:?}");
    assert!(messages[1].starts_with("requests[1].tenant.resource_names.vector_namespace: "), "{messages:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_batch_holds_parents_and_children_in_any_order() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let item = |id: &str, parent: &str| v1::CreateTenantRequest {
        tenant: Some(v1::Tenant { parent: parent.into(), ..new_tenant(id) }),
        ..Default::default()
    };
    let requests =
        vec![item("leaf", "branch"), item("branch", "root"), item("root", ""), item("lost", "nowhere")];
    let answer =
        replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await.unwrap();
    let made: Vec<_> = answer
        .into_inner()
        .results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            v1::batch_create_tenants_response::result::Outcome::Tenant(tenant) => tenant.tenant_id,
            v1::batch_create_tenants_response::result::Outcome::Error(error) => error.code.to_string(),
        })
        .collect();
    assert_eq!(made, ["leaf", "branch", "root", &(Code::NotFound as i32).to_string()]);
    replica.stop().await;
}

/// One commit a level took longer than a call may take on a busy machine.
#[tokio::test]
async fn a_batch_whose_parents_form_a_chain_is_made_at_once_or_refused_from_the_fault_on() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let item = |level: usize| {
        let parent = if level == 0 { String::new() } else { format!("level-{}", level - 1) };
        // The levels below it have a parent that is not made.
        let tier = if level == 700 { "none" } else { "gold" };
        let tenant = v1::Tenant { parent, tier: tier.into(), ..new_tenant(&format!("level-{level}")) };
        v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }
    };
    let batch = |validate_only: bool| {
        let requests =
            (0..1_000).rev().map(|level| v1::CreateTenantRequest { validate_only, ..item(level) }).collect();
        v1::BatchCreateTenantsRequest { requests }
    };
    for validate_only in [true, false] {
        let answer = replica.tenants.batch_create_tenants(batch(validate_only)).await.unwrap().into_inner();
        for (level, result) in answer.results.into_iter().rev().enumerate() {
            let code = match result.outcome.unwrap() {
                v1::batch_create_tenants_response::result::Outcome::Tenant(_) => Code::Ok,
                v1::batch_create_tenants_response::result::Outcome::Error(error) => Code::from(error.code),
            };
            let wanted = if level < 700 { Code::Ok } else { Code::NotFound };
            assert_eq!(code, wanted, "level {level}, validate_only {validate_only}");
        }
    }
    replica.stop().await;
}

#[tokio::test]
async fn an_id_that_a_batch_takes_is_not_free_for_what_is_only_tried_behind_it() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let item = |tenant_id: &str, validate_only| v1::CreateTenantRequest {
        tenant: Some(new_tenant(tenant_id)),
        validate_only,
        ..Default::default()
    };
    let requests =
        vec![item("a", true), item("a", true), item("b", false), item("b", true), item("a", false)];
    let answer = replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await;
    let codes =
        answer.unwrap().into_inner().results.into_iter().map(|result| match result.outcome.unwrap() {
            v1::batch_create_tenants_response::result::Outcome::Tenant(_) => Code::Ok,
            v1::batch_create_tenants_response::result::Outcome::Error(error) => Code::from(error.code),
        });
    let wanted = [Code::Ok, Code::AlreadyExists, Code::Ok, Code::AlreadyExists, Code::Ok];
    assert_eq!(codes.collect::<Vec<_>>(), wanted);
    replica.stop().await;
}

/// 150 tenants at the documented limits were one answer of 5 MB, which no client takes by default; a million of them ended
/// in INTERNAL.
#[tokio::test]
async fn a_page_ends_before_an_answer_is_too_large_and_the_next_one_goes_on() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let annotations: std::collections::BTreeMap<_, _> =
        (0..8).map(|number| (format!("k{number}"), "x".repeat(4_000))).collect();
    for chunk in 0..3 {
        let item = |number: usize| v1::CreateTenantRequest {
            tenant: Some(v1::Tenant {
                annotations: annotations.clone(),
                ..new_tenant(&format!("t{number:03}"))
            }),
            ..Default::default()
        };
        let requests = (chunk * 50..chunk * 50 + 50).map(item).collect();
        replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await.unwrap();
    }
    let mut request = v1::ListTenantsRequest { page_size: 1_000, ..Default::default() };
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = replica.tenants.list_tenants(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.total_size, 150);
        seen.extend(page.tenants.into_iter().map(|tenant| tenant.tenant_id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, 2);
    assert_eq!(seen, (0..150).map(|number| format!("t{number:03}")).collect::<Vec<_>>());
    replica.stop().await;
}

#[tokio::test]
async fn a_watch_tells_the_snapshot_then_the_changes_and_resumes() {
    use v1::watch_tenants_response::ChangeType;
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let request = v1::WatchTenantsRequest { initial_snapshot: true, ..Default::default() };
    let mut watch = replica.tenants.watch_tenants(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.r#type(), ChangeType::Initial);
    let marker = watch.message().await.unwrap().unwrap();
    assert_eq!(marker.r#type(), ChangeType::InitialEnd);
    replica.tenant("legal").await;
    let changed = watch.message().await.unwrap().unwrap();
    assert_eq!(
        (changed.r#type(), changed.tenant.unwrap().tenant_id.as_str()),
        (ChangeType::Changed, "legal")
    );
    let resume = v1::WatchTenantsRequest { start_revision: marker.revision, ..Default::default() };
    let mut resumed = replica.tenants.watch_tenants(resume).await.unwrap().into_inner();
    assert_eq!(resumed.message().await.unwrap().unwrap().tenant.unwrap().tenant_id, "legal");
    let ahead = v1::WatchTenantsRequest { start_revision: 1_000_000, ..Default::default() };
    assert_eq!(reason(&replica.tenants.watch_tenants(ahead).await.unwrap_err()), "INVALID_REVISION");
    replica.stop().await;
}

#[tokio::test]
async fn statistics_count_what_is_there() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for (id, region) in [("a", "eu"), ("b", "eu"), ("c", "")] {
        let tenant = v1::Tenant { region: region.into(), ..new_tenant(id) };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
    }
    let counts = replica.tenants.get_statistics(v1::GetStatisticsRequest {}).await.unwrap().into_inner();
    assert_eq!(counts.total, 3);
    assert_eq!(counts.by_region, [("eu".to_owned(), 2), ("unset".to_owned(), 1)].into());
    assert_eq!(counts.by_status["active"], 3);
    assert_eq!(counts.by_status.len(), 6);
    assert!((counts.average_health_score - 100.0).abs() < f64::EPSILON);
    replica.stop().await;
}

#[tokio::test]
async fn a_deleted_tenant_is_there_and_says_that_it_takes_nothing() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let tenant_id = || "finance".to_owned();
    let lifecycle = &mut replica.lifecycle;
    let suspend = v1::SuspendTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    lifecycle.suspend_tenant(suspend).await.unwrap();
    let archive = v1::ArchiveTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    lifecycle.archive_tenant(archive).await.unwrap();
    let delete = v1::DeleteTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    lifecycle.delete_tenant(delete).await.unwrap();
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Deleted);
    let signals = v1::Signals {
        latency_p95_ms: Some(1.0),
        error_rate: Some(0.0),
        query_success_rate: Some(1.0),
        storage_utilization: Some(0.5),
    };
    let report =
        v1::ReportSignalsRequest { tenant_id: tenant_id(), signals: Some(signals), ..Default::default() };
    let error = replica.health.report_signals(report).await.unwrap_err();
    assert_eq!(reason(&error), "ILLEGAL_TRANSITION");
    assert_eq!(error.message(), "a deleted tenant takes no signals; undelete it first");
    replica.stop().await;
}
