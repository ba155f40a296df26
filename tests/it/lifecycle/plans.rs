//! What is said of a move before it is made, or with it: of the targets, and of the tenants beside.

use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use super::many::{bulk, bulk_ended, make};
use super::schedule::in_seconds;
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup, reason};

fn seen(plan: &v1::Operation) -> Vec<(&str, v1::DesiredState, v1::PlannedChange)> {
    plan.targets.iter().map(|step| (step.target.as_str(), step.desired(), step.planned_change())).collect()
}

#[tokio::test]
async fn a_plan_for_later_looks_at_each_target_and_says_why_it_would_be_refused_as_things_are_now() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let mut replica = Replica::start(&Setup { stubs: vec![("cache", stub)], ..Setup::default() }).await;
    make(&mut replica, &["par"], "").await;
    make(&mut replica, &["kid"], "par").await;
    let at = Some(in_seconds(3_600));
    let plan = v1::SuspendTenantRequest { at, validate_only: true, wait: None, ..suspend("par") };
    let block = v1::SuspendTenantRequest { children: v1::ChildrenPolicy::Block.into(), ..plan.clone() };
    let plan = replica.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
    let each = |state, change| [("cache", state, change), ("postgres", state, change)];
    let suspended = each(v1::DesiredState::Suspended, v1::PlannedChange::Apply);
    assert_eq!(seen(&plan), suspended);
    assert_eq!(plan.targets[0].observed(), v1::DesiredState::Active);
    assert_eq!((plan.state(), plan.error.as_str()), (v1::OperationState::Scheduled, ""));
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    assert_eq!((seconds(plan.schedule_time), plan.finish_time), (seconds(at), None));

    let refused = "would be refused as things are now: ";
    let blocked = replica.lifecycle.suspend_tenant(block).await.unwrap().into_inner();
    assert_eq!(seen(&blocked), suspended);
    let why = format!("{refused}1 tenant below it has more access than SUSPENDED grants: kid");
    assert_eq!(blocked.error, why);
    let there = v1::ActivateTenantRequest { at, validate_only: true, wait: None, ..activate("par") };
    let there = replica.lifecycle.activate_tenant(there).await.unwrap().into_inner();
    assert_eq!(seen(&there), each(v1::DesiredState::Active, v1::PlannedChange::None));
    assert!(there.error.starts_with(refused) && there.error.contains("ActivateTenant"), "{there:?}");

    let server = format!("http://{}", replica.server.grpc);
    let later = ["tenant", "suspend", "par", "--validate-only", "--at", "+1h", "--server", &server];
    let at = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap().to_string();
    let later = later.map(|word| if word == "+1h" { at.as_str() } else { word });
    let (code, said) = tenantry(&later).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cache") && said.contains("what is shown is as things are now"), "{said}");
    let (code, said) = tenantry(&[&later[..], &["--children", "block"]].concat()).await;
    assert!(code == Some(0) && said.contains(&why), "{code:?} {said}");
    let (code, said) = tenantry(&[&later[..], &["--children", "follow"]].concat()).await;
    assert!(code == Some(0) && said.contains("tenants below that follow: 1 (kid)"), "{code:?} {said}");

    let list = v1::ListOperationsRequest { filter: "state = SCHEDULED".into(), ..Default::default() };
    assert_eq!(replica.lifecycle.list_operations(list).await.unwrap().into_inner().total_size, 0);
    replica.stop().await;
}

/// A deletion is refused now, and not at the time that it is planned for.
#[tokio::test]
async fn a_plan_for_later_goes_by_the_time_that_it_is_for() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let archive = v1::ArchiveTenantRequest {
        tenant_id: "finance".into(),
        retention: Some(prost_types::Duration { seconds: 1_800, nanos: 0 }),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    let delete = |at| v1::DeleteTenantRequest {
        tenant_id: "finance".into(),
        at,
        validate_only: true,
        ..Default::default()
    };
    let error = replica.lifecycle.delete_tenant(delete(None)).await.unwrap_err();
    assert_eq!(reason(&error), "RETENTION_NOT_OVER");
    let plan = replica.lifecycle.delete_tenant(delete(Some(in_seconds(3_600)))).await.unwrap().into_inner();
    assert_eq!((plan.targets.len(), plan.error.as_str()), (1, ""), "{plan:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_deletion_says_what_becomes_of_the_data_once_it_is_accepted_and_that_children_hold_that() {
    let mut replica = Replica::start(&Setup::default()).await;
    make(&mut replica, &["par", "alone"], "").await;
    make(&mut replica, &["kid"], "par").await;
    let server = format!("http://{}", replica.server.grpc);
    let command = async |words: &str| {
        let words: Vec<&str> = words.split(' ').chain(["--server", &server]).collect();
        tenantry(&words).await
    };
    for tenant in ["par", "alone"] {
        for verb in ["suspend", "archive"] {
            let (code, said) = command(&format!("tenant {verb} {tenant}")).await;
            assert_eq!(code, Some(0), "{said}");
        }
    }
    command("tenant archive alone --retention-days 9").await;
    for plan in ["", " --validate-only"] {
        let (code, said) = command(&format!("tenant delete alone{plan}")).await;
        assert!(code != Some(0) && said.contains("RETENTION_NOT_OVER"), "{code:?} {said}");
        assert!(!said.contains("removed for good"), "nothing becomes of it: {said}");
    }
    command("tenant archive alone --retention-days 0 --shorten-retention").await;
    let held = "as soon as no other tenant names it as its parent";
    for (words, expected, is_held) in [
        ("par --validate-only", "it can be undeleted for 30 days, then its data is removed for good", true),
        (
            "alone --validate-only",
            "it can be undeleted for 30 days, then its data is removed for good\n",
            false,
        ),
        ("alone --undelete-days 0 --validate-only", "its data is removed for good at once", false),
        ("par --undelete-days 0", "nothing brings it back; its data is removed for good", true),
    ] {
        let (code, said) = command(&format!("tenant delete {words}")).await;
        assert_eq!(code, Some(0), "{words}: {said}");
        assert!(said.contains(expected), "{words}: {said}");
        assert_eq!(said.contains(held), is_held, "{words}: {said}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn whoever_lets_in_a_tenant_below_one_that_is_locked_out_is_told() {
    let mut replica = Replica::start(&Setup::default()).await;
    make(&mut replica, &["par"], "").await;
    let server = format!("http://{}", replica.server.grpc);
    let command = async |words: &str| {
        let words: Vec<&str> = words.split(' ').chain(["--server", &server]).collect();
        tenantry(&words).await
    };
    let note = "note: its parent par is SUSPENDED\n";
    let told = async |words: &str, wanted: bool| {
        let (code, said) = command(words).await;
        assert_eq!((code, said.contains(note)), (Some(0), wanted), "{words}: {said}");
    };
    told("tenant create first --tier gold --parent par", false).await;
    told("tenant suspend first", false).await;
    told("tenant suspend par", false).await;
    told("tenant create second --tier gold --parent par", true).await;
    told("tenant activate first --validate-only", true).await;
    told("tenant activate first -o json", false).await;
    told("tenant suspend first", false).await;
    told("tenant activate first", true).await;
    for child in ["first", "second"] {
        assert_eq!(replica.get(child).await.status(), v1::TenantStatus::Active);
    }
    told("tenant activate par", false).await;
    replica.stop().await;
}

fn below(plan: &v1::Operation) -> Vec<String> {
    plan.followers.iter().map(|follower| format!("{} {}", follower.tenant_id, follower.error)).collect()
}

fn archive(tenant_id: &str, seconds: Option<i64>) -> v1::ArchiveTenantRequest {
    v1::ArchiveTenantRequest {
        tenant_id: tenant_id.into(),
        retention: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        wait: TEN_SECONDS,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_plan_names_those_below_whose_data_must_still_be_kept_at_its_time() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    make(&mut replica, &["par"], "").await;
    make(&mut replica, &["free", "kept"], "par").await;
    for tenant_id in ["par", "free", "kept"] {
        replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap();
        let seconds = (tenant_id == "kept").then_some(1_800);
        replica.lifecycle.archive_tenant(archive(tenant_id, seconds)).await.unwrap();
    }
    let plan = |at| v1::DeleteTenantRequest {
        tenant_id: "par".into(),
        children: v1::ChildrenPolicy::Follow.into(),
        validate_only: true,
        at,
        ..Default::default()
    };
    let now = replica.lifecycle.delete_tenant(plan(None)).await.unwrap().into_inner();
    assert_eq!(now.follower_count, 2, "{now:?}");
    let told = below(&now);
    assert!(
        told[0].starts_with("kept the tenant's data must be kept until ") && told[1] == "free ",
        "{told:?}"
    );
    let later = replica.lifecycle.delete_tenant(plan(Some(in_seconds(3_600)))).await.unwrap().into_inner();
    assert_eq!(below(&later), ["free ", "kept "], "it may be deleted by then");

    let server = format!("http://{}", replica.server.grpc);
    let delete = ["tenant", "delete", "par", "--children", "follow", "--validate-only", "--server", &server];
    let (code, said) = tenantry(&delete).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("tenants below that cannot follow:\n  kept: the tenant's data must be kept"),
        "{said}"
    );
    assert!(said.contains("tenants below that follow: 1 (free)"), "{said}");

    let asked = |validate_only| v1::StartBulkOperationRequest {
        validate_only,
        ..bulk(r#"parent = "par""#, v1::OperationVerb::Delete)
    };
    let plan = replica.lifecycle.start_bulk_operation(asked(true)).await.unwrap().into_inner();
    assert_eq!((plan.total, plan.failed, plan.waiting), (2, 1, 1), "{plan:?}");
    assert!(plan.error.starts_with("kept: the tenant's data must be kept until "), "{plan:?}");
    let started = replica.lifecycle.start_bulk_operation(asked(false)).await.unwrap().into_inner();
    let ended = bulk_ended(&mut replica, &started).await;
    assert_eq!((ended.succeeded, ended.failed, &ended.error), (1, 1, &plan.error), "as it was told");
    replica.stop().await;
}

/// What is purged at once is held by what is below it, so that its time can be over.
#[tokio::test]
async fn a_plan_names_those_below_that_can_no_longer_be_undeleted() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    make(&mut replica, &["par"], "").await;
    make(&mut replica, &["mid"], "par").await;
    make(&mut replica, &["leaf"], "mid").await;
    for (tenant_id, undelete_period) in [("par", None), ("mid", Some(prost_types::Duration::default()))] {
        replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap();
        replica.lifecycle.archive_tenant(archive(tenant_id, None)).await.unwrap();
        let tenant_id = tenant_id.to_owned();
        let delete =
            v1::DeleteTenantRequest { tenant_id, undelete_period, wait: TEN_SECONDS, ..Default::default() };
        replica.lifecycle.delete_tenant(delete).await.unwrap();
    }
    let plan = v1::UndeleteTenantRequest {
        tenant_id: "par".into(),
        children: v1::ChildrenPolicy::Follow.into(),
        validate_only: true,
        ..Default::default()
    };
    let plan = replica.lifecycle.undelete_tenant(plan).await.unwrap().into_inner();
    let told = below(&plan);
    assert!(told.len() == 1 && told[0].starts_with("mid the tenant could be undeleted until "), "{told:?}");
    replica.stop().await;
}
