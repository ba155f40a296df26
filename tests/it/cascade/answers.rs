//! Targets that make their changes and do not say so.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held};
use tenantry::proto::v1;

use super::verbs::{Clients, Verb, stubs};
use crate::support::{Replica, Setup};

/// Without a second attempt: an activation that is not done by then is brought back.
fn once() -> Vec<(&'static str, String)> {
    vec![("cascade.max_attempts", "1".to_owned()), ("cascade.apply_deadline", "2s".to_owned())]
}

#[tokio::test]
async fn a_change_that_is_made_and_never_answered_is_done_with_the_first_attempt() {
    let stubs = stubs(Duration::ZERO).await;
    let setup = Setup { stubs: stubs.clone(), settings: once(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let mut clients = Clients::of(&replica);
    for (id, fault) in [("lost", Fault::Mute), ("late", Fault::Slow)] {
        let uid = replica.tenant(id).await.uid;
        for (_, stub) in &stubs {
            stub.set_fault(&uid, Some(fault));
        }
        for (verb, state, generation) in
            [(Verb::Suspend, Desired::Suspended, 2), (Verb::Activate, Desired::Active, 3)]
        {
            let ended = verb.ask(&mut clients, id, 20).await.unwrap();
            assert_eq!(ended.state(), v1::OperationState::Succeeded, "{id}: {ended:?}");
            assert!(ended.targets.iter().all(|step| step.attempts == 1), "{id}: {ended:?}");
            for (name, stub) in &stubs {
                let last = stub.effects(&uid).pop();
                assert_eq!(last, Some(Held { state, generation }), "{id} at {name}");
            }
        }
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_change_that_was_not_made_is_not_taken_for_done_because_the_state_is_the_same() {
    let stubs = stubs(Duration::ZERO).await;
    let setup = Setup { stubs: stubs.clone(), settings: once(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let uid = replica.tenant("finance").await.uid;
    stubs[0].1.set_fault(&uid, Some(Fault::Failing(1)));
    // The tenant is ACTIVE everywhere, before and after.
    let stuck = Verb::ChangeTier.ask(&mut Clients::of(&replica), "finance", 20).await.unwrap();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    assert_eq!(stuck.targets[0].last_error, "failed with Unavailable: \"told to fail\"");
    assert_eq!(stubs[0].1.held(&uid), Some(Held { state: Desired::Active, generation: 1 }));
    replica.stop().await;
}
