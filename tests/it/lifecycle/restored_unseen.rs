//! A restored registry, and a target that could not be looked at while it was decided about the tenant: what it holds is known to
//! nobody, whatever became of the operation.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tonic::Response;

use super::restored::{Restored, Since, waits_behind};
use super::{TEN_SECONDS, suspend};

/// What an operator does with an operation that waits while `cache` does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Aborts it, and verifies once the target is back.
    Abort,
    /// Goes on without every target, and verifies.
    Skip,
    /// Has the target tried again once it is back.
    Retry,
    /// Says that it counts at the other target, and has the first tried again.
    AdoptAtTheOther,
    /// The server is started again, and goes on by itself or has the target tried again.
    Restart,
}

async fn act(restored: &mut Restored, then: Then, operation: &v1::Operation, stub: &Stub, uid: &str) {
    let operation_id = operation.operation_id.clone();
    let reason = "not now".to_owned();
    let heal = || stub.set_fault(uid, None);
    let retry = |target: &str, adopt: bool| v1::RetryTargetRequest {
        operation_id: operation_id.clone(),
        target: target.to_owned(),
        reason: if adopt { reason.clone() } else { String::new() },
        adopt,
        ..Default::default()
    };
    match then {
        Then::Abort => {
            let abort = v1::AbortOperationRequest { operation_id, reason, ..Default::default() };
            restored.replica.lifecycle.abort_operation(abort).await.unwrap();
            heal();
        }
        Then::Skip => {
            for target in ["cache", "vector-db"] {
                let (operation_id, reason) = (operation_id.clone(), reason.clone());
                let target = target.to_owned();
                let skip = v1::SkipTargetRequest { operation_id, target, reason, ..Default::default() };
                restored.replica.lifecycle.skip_target(skip).await.unwrap();
            }
            heal();
        }
        Then::Retry | Then::Restart => {
            if then == Then::Restart {
                restored.restart().await;
            }
            heal();
            restored.retry(retry("cache", false)).await.unwrap();
        }
        Then::AdoptAtTheOther => {
            let adopted = restored.retry(retry("vector-db", true)).await.unwrap();
            assert_eq!(adopted.generation, 3, "{adopted:?}");
            heal();
            restored.retry(retry("cache", false)).await.unwrap();
        }
    }
}

/// It was compared with the registry's own generation, which had reached the target's, and let the tenant in.
#[tokio::test]
async fn a_target_that_could_not_be_looked_at_does_not_let_in_who_was_suspended_since_the_backup() {
    let all = [Then::Abort, Then::Skip, Then::Retry, Then::AdoptAtTheOther, Then::Restart];
    let names: Vec<String> = all.iter().map(|then| format!("{then:?}").to_lowercase()).collect();
    let tenants: Vec<_> = names.iter().map(|name| (name.as_str(), Since::Suspended)).collect();
    let mut restored = Restored::new(&tenants, vec![]).await;
    let cache = restored.stubs[0].1.clone();
    for (then, name) in all.into_iter().zip(&names) {
        let uid = restored.replica.get(name).await.uid;
        cache.set_fault(&uid, Some(Fault::Hanging));
        let tier = v1::ChangeTierRequest {
            tenant_id: name.clone(),
            tier: "silver".into(),
            wait: TEN_SECONDS,
            ..Default::default()
        };
        let waiting = restored.replica.lifecycle.change_tier(tier).await.map(Response::into_inner).unwrap();
        assert_eq!(waiting.state(), v1::OperationState::NeedsOperator, "{then:?}: {waiting:?}");
        assert_eq!(waits_behind(&waiting), [("vector-db", 2)], "{then:?}");
        act(&mut restored, then, &waiting, &cache, &uid).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if restored.replica.get(name).await.operation_id.is_empty() {
            let repair = restored.verify(name, false).await.operation.unwrap();
            assert!(waits_behind(&repair).contains(&("cache", 2)), "{then:?}: {repair:?}");
        }
        let held = cache.held(&uid).unwrap();
        assert_eq!((held.state, held.generation), (Desired::Suspended, 2), "{then:?}");
        // The registry follows, and comes to rest.
        let ended = restored.replica.lifecycle.suspend_tenant(suspend(name)).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{then:?}: {ended:?}");
        assert!(restored.verify(name, false).await.operation.is_none(), "{then:?}");
    }
    restored.replica.stop().await;
}

/// The suspension gave no more access than the targets granted, so nobody was asked; to take it back would have.
#[tokio::test]
async fn a_suspension_that_is_taken_back_lets_nobody_in_who_was_suspended_since_the_backup() {
    let mut restored = Restored::new(&[("finance", Since::SuspendedTwice)], vec![]).await;
    let uid = restored.replica.get("finance").await.uid;
    restored.stubs[1].1.set_fault(&uid, Some(Fault::Refusing));
    let waiting = restored.replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(waiting.state(), v1::OperationState::NeedsOperator, "{waiting:?}");
    restored.stubs[1].1.set_fault(&uid, None);
    let abort = v1::AbortOperationRequest {
        operation_id: waiting.operation_id,
        reason: "not now".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let aborted = restored.replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert_eq!(aborted.state(), v1::OperationState::NeedsOperator, "{aborted:?}");
    assert!(!waits_behind(&aborted).is_empty(), "{aborted:?}");
    for (_, stub) in &restored.stubs {
        assert_eq!(stub.held(&uid).unwrap().state, Desired::Suspended, "{aborted:?}");
    }
    restored.replica.stop().await;
}
