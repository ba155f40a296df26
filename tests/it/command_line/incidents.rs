//! What somebody reads while something is down, or has moved on.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;

use super::tenantry;
use crate::support::{Replica, Setup};

/// Two targets, one of which can be made to fail, for as long as it takes.
async fn with_cache() -> (Stub, Replica) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let settings = vec![("cascade.max_attempts", "20".to_owned())];
    let setup = Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() };
    (stub, Replica::start(&setup).await)
}

pub(super) async fn ask(replica: &Replica, arguments: &[&str]) -> (Option<i32>, String) {
    let server = format!("http://{}", replica.server.grpc);
    tenantry(&[arguments, &["--server", &server]].concat()).await
}

async fn operation(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let request = v1::GetOperationRequest { operation_id: operation_id.to_owned() };
    replica.lifecycle.get_operation(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn many_are_taken_back_retried_and_gone_on_with_while_a_target_is_down_and_nobody_waits() {
    let (cache, mut replica) = with_cache().await;
    for tenant_id in ["finance", "hr"] {
        replica.tenant(tenant_id).await;
    }
    cache.set_fault("", Some(Fault::Failing(u32::MAX)));
    let start = ["bulk", "start", "suspend", "--filter", "tier = \"gold\"", "--no-wait"];
    let (code, said) = ask(&replica, &start).await;
    assert_eq!(code, Some(0), "{said}");
    for tenant_id in ["finance", "hr"] {
        let id = loop {
            let id = replica.get(tenant_id).await.operation_id;
            if !id.is_empty() {
                break id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (code, said) = ask(&replica, &["operation", "retry", &id, "cache", "--no-wait"]).await;
        assert!(code == Some(0) && said.contains("RUNNING"), "{said}");
        let abort = ["operation", "abort", &id, "--reason", "incident 7", "--no-wait"];
        let (code, said) = ask(&replica, &abort).await;
        assert!(code == Some(0) && said.contains("REVERTING"), "{said}");
        let skip = ["operation", "skip", &id, "cache", "--reason", "it is gone", "--no-wait"];
        let (code, said) = ask(&replica, &skip).await;
        assert!(code == Some(0) && said.contains("it is gone"), "{said}");
        assert!(operation(&mut replica, &id).await.backward);
        replica.settled(tenant_id).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_suspension_of_a_tenant_that_is_being_made_is_refused_with_what_is_true() {
    let (cache, mut replica) = with_cache().await;
    cache.set_fault("", Some(Fault::Failing(u32::MAX)));
    let create = ["tenant", "create", "r3", "--tier", "gold", "--no-wait"];
    let (code, said) = ask(&replica, &create).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ask(&replica, &["tenant", "suspend", "r3"]).await;
    assert!(code == Some(4) && said.contains("(PROVISION)"), "{said}");
    assert!(
        said.contains("the tenant has no access before it is ACTIVE, and nothing may take over"),
        "{said}"
    );
    assert!(said.contains("or abort it (`tenantry operation abort "), "{said}");

    let later = ["bulk", "start", "suspend", "--filter", "tenant_id = \"r3\"", "--validate-only"];
    let (_, said) = ask(&replica, &later).await;
    assert!(said.lines().any(|line| line.split_whitespace().eq(["total", "1"])), "that waits for it: {said}");

    let id = replica.get("r3").await.operation_id;
    let (code, said) = ask(&replica, &["operation", "abort", &id, "--no-wait"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ask(&replica, &["tenant", "suspend", "r3"]).await;
    assert!(code == Some(4) && said.contains("is REVERTING"), "{said}");
    assert!(
        said.contains("the tenant has no access before it is ACTIVE, and nothing may take over"),
        "{said}"
    );
    assert!(!said.contains("less access") && !said.contains("abort it"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn whoever_is_refused_is_told_which_moves_may_take_over() {
    let (cache, mut replica) = with_cache().await;
    replica.tenant("finance").await;
    cache.set_fault("", Some(Fault::Failing(u32::MAX)));
    let refused = async |moves: &[&str], asked: &str, told: &str| {
        for verb in moves {
            ask(&replica, &["tenant", verb, "finance", "--no-wait"]).await;
        }
        let (code, said) = ask(&replica, &["tenant", asked, "finance"]).await;
        assert!(code == Some(4) && said.contains(told), "{moves:?} {asked}: {said}");
    };
    refused(&["suspend"], "archive", "only ActivateTenant may take over").await;
    refused(&["activate"], "archive", "only SuspendTenant or StartMigration may take over").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_suspension_during_the_end_of_a_migration_is_told_which_end_keeps_the_tenant_out() {
    let (cache, mut replica) = with_cache().await;
    replica.tenant("finance").await;
    let (code, said) = ask(&replica, &["tenant", "start-migration", "finance"]).await;
    assert_eq!(code, Some(0), "{said}");
    cache.set_fault("", Some(Fault::Failing(u32::MAX)));
    let (code, said) = ask(&replica, &["tenant", "finish-migration", "finance", "--no-wait"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ask(&replica, &["tenant", "suspend", "finance"]).await;
    let told = "only StartMigration or FinishMigration to SUSPENDED (`tenantry tenant finish-migration finance --suspended`) may take over";
    assert!(code == Some(4) && said.contains(told), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn whoever_suspends_a_tenant_whose_provisioning_is_stuck_on_its_way_back_is_told_what_lets_it_in_and_what_does_not()
 {
    let (cache, mut replica) = with_cache().await;
    cache.set_fault("", Some(Fault::Refusing));
    let (code, said) = ask(&replica, &["tenant", "create", "r4", "--tier", "gold"]).await;
    assert_eq!(code, Some(7), "{said}");
    let id = replica.get("r4").await.operation_id;
    let (code, said) = ask(&replica, &["tenant", "suspend", "r4"]).await;
    assert_eq!(code, Some(4), "{said}");
    let told = format!(
        "it cannot be aborted any more: `tenantry operation skip {id} TARGET` ends it as FAILED, without access, and \
         `tenantry operation retry {id} TARGET` provisions the tenant again and lets it in"
    );
    assert!(said.contains(&told), "{said}");
    let (code, said) = ask(&replica, &["operation", "abort", &id]).await;
    assert!(code == Some(4) && said.contains("POINT_OF_NO_RETURN"), "as it was told: {said}");
    let (_, said) = ask(&replica, &["operation", "skip", &id, "cache", "--reason", "it refuses"]).await;
    assert!(said.contains("FAILED"), "{said}");
    assert_eq!(replica.get("r4").await.status(), v1::TenantStatus::Provisioning);
    replica.stop().await;
}

#[tokio::test]
async fn what_went_wrong_before_a_retry_is_not_told_as_if_it_were_so_now() {
    let (cache, mut replica) = with_cache().await;
    let tenant = replica.tenant("finance").await;
    cache.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = ask(&replica, &["tenant", "suspend", "finance"]).await;
    assert!(code == Some(7) && said.contains("→ SUSPENDED: FAILED ("), "{said}");
    cache.set_fault(&tenant.uid, None);
    let pause = ["target", "pause", "cache", "--reason", "mended, tried in a moment"];
    let (code, said) = ask(&replica, &pause).await;
    assert_eq!(code, Some(0), "{said}");
    let id = replica.get("finance").await.operation_id;
    let (code, said) = ask(&replica, &["operation", "retry", &id, "cache"]).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("→ SUSPENDED, waits: the target is paused (last: "), "{said}");
    assert!(said.contains("LAST ERROR"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_list_of_targets_says_how_long_ago_the_last_error_of_each_was() {
    let (cache, mut replica) = with_cache().await;
    let tenant = replica.tenant("finance").await;
    cache.set_fault(&tenant.uid, Some(Fault::Failing(1)));
    let (code, said) = ask(&replica, &["tenant", "suspend", "finance"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (_, said) = ask(&replica, &["target", "list"]).await;
    let line = said.lines().find(|line| line.trim_start().starts_with("cache")).unwrap();
    assert!(line.contains(" s ago: "), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_look_that_finds_drift_names_the_target_that_could_not_be_asked_as_well() {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("orders", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let (cache, orders) = (stubs[0].1.clone(), stubs[1].1.clone());
    let mut replica = Replica::start(&Setup { stubs, ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    let held = cache.held(&tenant.uid).unwrap();
    cache.put(&tenant.uid, Held { state: Desired::Suspended, ..held });
    orders.set_fault("", Some(Fault::Hanging));
    let (code, said) = ask(&replica, &["tenant", "verify", "finance", "--validate-only"]).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("1 target drifted (cache), 1 target cannot be judged now (orders)"), "{said}");
    let (code, said) = ask(&replica, &["tenant", "verify", "finance", "--drift", "report"]).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("1 target cannot be judged now (orders)"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_repeated_request_says_that_the_tenant_has_moved_on_since_and_by_what() {
    let (_cache, mut replica) = with_cache().await;
    replica.tenant("fin").await;
    let id = uuid::Uuid::now_v7().to_string();
    let (code, said) = ask(&replica, &["tenant", "suspend", "fin"]).await;
    assert_eq!(code, Some(0), "{said}");
    let activate = ["tenant", "activate", "fin", "--request-id", &id];
    let (code, said) = ask(&replica, &activate).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("fin is ACTIVE (operation ") && !said.contains("since"), "{said}");
    let (code, said) = ask(&replica, &["tenant", "suspend", "fin"]).await;
    assert_eq!(code, Some(0), "{said}");
    let list = v1::ListOperationsRequest { tenant_id: "fin".into(), ..Default::default() };
    let listed = replica.lifecycle.list_operations(list).await.unwrap().into_inner().operations;
    let (newest, before) = (&listed[0].operation_id, &listed[1].operation_id);
    let (code, said) = ask(&replica, &activate).await;
    assert_eq!(code, Some(0), "it was done, and is not asked for anew: {said}");
    let told = format!("operation {before} was asked for before under this request id, and ended at ");
    assert!(said.contains(&told), "{said}");
    assert!(
        said.contains(&format!("; the tenant has moved on since: operation {newest} (SUSPEND)")),
        "{said}"
    );
    assert!(said.contains("fin is SUSPENDED (operation "), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_where_it_stands_and_what_could_be() {
    let (_cache, replica) = with_cache().await;
    let (code, said) = ask(&replica, &["operation", "list", "--state", "nope"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--state") && said.contains("must be one of ") && said.contains("needs-operator"),
        "{said}"
    );
    let (code, said) = ask(&replica, &["operation", "list", "--state", "needs_operator"]).await;
    assert_eq!(code, Some(0), "{said}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"tenantId\": \"a\"}\n\n{\"tierId\": \"gold\"}\n").unwrap();
    let (code, said) = ask(&replica, &["tenant", "import", file.path().to_str().unwrap()]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("line 3: ") && said.contains("tierId"), "{said}");
    let (_, said) = ask(&replica, &["operation", "get", ""]).await;
    assert!(said.contains("an operation id is needed"), "{said}");
    replica.stop().await;
}
