//! A tenant whose namespace a later one has, which a registry that was restored has forgotten.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::{Clients, at, expected, named, server};
use crate::participants::{bring, told};

#[tokio::test]
async fn nothing_that_is_asked_for_a_tenant_reaches_the_later_one_that_has_its_namespace() {
    for left_in in [Desired::Deleted, Desired::Active, Desired::Suspended] {
        let server = server().await;
        let target = at(&server, "");
        let former = named("finance", "fin");
        bring(&target, &former, Desired::Active, 1).await;
        assert_eq!(bring(&target, &former, left_in, 5).await, Some(left_in));
        let later = named("finance", "fin");
        assert_eq!(bring(&target, &later, Desired::Active, 1).await, Some(Desired::Active));
        let clients = Clients::of(&server.url(), &later).await;
        clients.fill().await;
        let words = format!("is another tenant's now, of the uid {}: skip this target", later.uid);
        for (state, generation) in
            [(Desired::Deleted, 5)].into_iter().chain(Desired::ALL.into_iter().zip(6..))
        {
            let (kind, why) = told(target.apply(&former, state, generation).await);
            assert_eq!((kind, why.ends_with(&words)), (FailureKind::Permanent, true), "{state}: {why}");
            assert_eq!(clients.meet().await, expected(Desired::Active), "{state}");
        }
        let seen = target.observe(&former).await.unwrap();
        let found = if left_in == Desired::Deleted { Desired::Deleted } else { Desired::Suspended };
        assert_eq!((seen.state, seen.generation), (Some(found), 5), "the other's alias is its own");
        assert!(seen.amiss.or(seen.unproven).unwrap().ends_with(&words));
        // Whoever is purged is in nobody's way.
        bring(&target, &later, Desired::Deleted, 2).await;
        assert_eq!(bring(&target, &former, Desired::Deleted, 20).await, Some(Desired::Deleted));
    }
}
