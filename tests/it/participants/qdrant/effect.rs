//! What ordinary clients with tenants' own tokens get.

use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::{Observed, TenantRef};
use tenantry::proto::v1;
use tonic::Code;
use uuid::Uuid;

use super::client::{Client, claims, sign};
use super::server::{KEY, Options, Qdrant};
use super::{Clients, May, at, collection, expected, named, server};
use crate::participants::{bring, holds_its_generation, tenant};
use crate::support::{Replica, Setup};

#[tokio::test]
async fn a_tenants_own_client_is_refused_and_let_in_with_its_data_while_the_neighbour_never_notices() {
    let server = server().await;
    let target = at(&server, "");
    let (finance, neighbour) = (named("finance", "fin"), named("finance-2", "fin2"));
    for tenant in [&finance, &neighbour] {
        assert_eq!(bring(&target, tenant, Desired::Active, 1).await, Some(Desired::Active));
    }
    let (ours, theirs) =
        (Clients::of(&server.url(), &finance).await, Clients::of(&server.url(), &neighbour).await);
    ours.fill().await;
    theirs.fill().await;
    let mut generation = 1;
    for state in [
        Desired::Suspended,
        Desired::Active,
        Desired::ReadOnly,
        Desired::Active,
        Desired::ReadOnly,
        Desired::Suspended,
        Desired::Archived,
        Desired::Suspended,
        Desired::Active,
    ] {
        generation += 1;
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!(seen, Observed::effect(state, generation));
        assert_eq!(ours.meet().await, expected(state), "{state}");
        assert_eq!(theirs.meet().await, expected(Desired::Active), "{state}: the neighbour");
        let by_name = ours.writer.calling(&collection(&finance));
        assert!(by_name.meets().await.0.is_err(), "{state}: a token is good for the alias alone");
        let aliases: Vec<String> = server.aliases().into_iter().map(|(alias, _)| alias).collect();
        let lets_in = matches!(state, Desired::Active | Desired::ReadOnly);
        assert_eq!(aliases, if lets_in { vec!["fin", "fin2"] } else { vec!["fin2"] }, "{state}");
    }
    holds_its_generation(&target, &finance, Desired::Active, generation).await;
    assert_eq!(ours.meet().await, expected(Desired::Active));
}

#[tokio::test]
async fn two_tenants_suspended_at_the_same_moment_leave_the_third_alone() {
    let server = server().await;
    let (first, second) = (at(&server, ""), at(&server, ""));
    let tenants = [named("a", "t"), named("a-1", "t-1"), named("a-12", "t-12")];
    let mut clients = Vec::new();
    for tenant in &tenants {
        bring(&first, tenant, Desired::Active, 1).await;
        clients.push(Clients::of(&server.url(), tenant).await);
        clients.last().unwrap().fill().await;
    }
    let seen = tokio::join!(
        bring(&first, &tenants[0], Desired::Suspended, 2),
        bring(&second, &tenants[1], Desired::Suspended, 2)
    );
    assert_eq!(seen, (Some(Desired::Suspended), Some(Desired::Suspended)));
    for (clients, state) in clients.iter().zip([Desired::Suspended, Desired::Suspended, Desired::Active]) {
        assert_eq!(clients.meet().await, expected(state));
    }
    bring(&second, &tenants[0], Desired::Active, 3).await;
    for (clients, state) in clients.iter().zip([Desired::Active, Desired::Suspended, Desired::Active]) {
        assert_eq!(clients.meet().await, expected(state), "one is let in again");
    }
}

#[tokio::test]
async fn every_node_is_tried_and_archived() {
    let server = Qdrant::start(Options { nodes: 3, ..Options::default() }).await;
    let target = at(&server, ", replication_factor = 2");
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    for url in server.urls() {
        let clients = Clients::of(&url, &finance).await;
        clients.fill().await;
        assert_eq!(clients.meet().await, expected(Desired::Active));
    }
    bring(&target, &finance, Desired::Suspended, 2).await;
    for url in server.urls() {
        let clients = Clients::of(&url, &finance).await;
        assert_eq!(clients.meet().await, expected(Desired::Suspended));
    }
    assert_eq!(bring(&target, &finance, Desired::Archived, 3).await, Some(Desired::Archived));
    for node in 0..3 {
        assert_eq!(server.snapshot_files(node), 1);
    }
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_seen() {
    let server = server().await;
    let target = at(&server, "");
    let finance = named("finance", "fin");
    bring(&target, &finance, Desired::Active, 1).await;
    let clients = Clients::of(&server.url(), &finance).await;
    clients.fill().await;
    let admin = Client::with(&server.url(), KEY, &collection(&finance)).await;
    bring(&target, &finance, Desired::Suspended, 2).await;
    admin.set_alias("fin").await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "the alias is back");
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended), "mended");
    bring(&target, &finance, Desired::Active, 3).await;
    let other = admin.calling("blue");
    other.make_collection().await.unwrap();
    other.set_alias("fin").await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended), "it leads elsewhere");
    assert_eq!(bring(&target, &finance, Desired::Active, 3).await, Some(Desired::Active), "mended");
    assert_eq!(clients.meet().await, expected(Desired::Active));
    admin.calling("tenantry.records").clear().await.unwrap();
    let stranger = target.observe(&tenant("hr")).await;
    assert_eq!(stranger, Ok(Observed::UNKNOWN_TENANT), "nothing is known of a stranger");
    let seen = target.observe(&finance).await.unwrap().state;
    assert_eq!(seen, Some(Desired::Suspended), "the records are lost, and tokens are refused");
    assert_eq!(clients.meet().await, expected(Desired::Suspended));
    target.apply(&finance, Desired::Active, 3).await.unwrap();
    let failure = target.observe(&finance).await.unwrap_err();
    assert!(
        failure.message.contains("nothing of ours locks out"),
        "the control record is lost too: {failure}"
    );
    assert_eq!(bring(&target, &finance, Desired::Active, 3).await, Some(Desired::Active), "mended");
    assert_eq!(clients.meet().await, expected(Desired::Active));
}

#[tokio::test]
async fn a_tenant_whose_record_is_lost_is_drift_whatever_is_wanted_and_has_it_again_after_the_repair() {
    let server = server().await;
    let (target, finance) = (at(&server, ""), tenant("finance"));
    let records = Client::with(&server.url(), KEY, "tenantry.records").await;
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2)] {
        bring(&target, &finance, state, generation).await;
        records.clear().await.unwrap();
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!(
            (seen.state, seen.generation),
            (Some(Desired::Suspended), 0),
            "{state}: tokens are refused"
        );
        assert!(seen.amiss.is_some_and(|why| why.contains("its record is missing")), "{state}");
        target.apply(&finance, state, generation).await.unwrap();
        target.observe(&finance).await.expect_err("the control record is lost too");
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state), "mended");
        assert_eq!(target.observe(&finance).await.unwrap().amiss, None, "{state}");
    }
    bring(&target, &finance, Desired::Deleted, 3).await;
    records.clear().await.unwrap();
    assert_eq!(target.observe(&finance).await, Ok(Observed::UNKNOWN_TENANT), "nothing is left");
}

#[tokio::test]
async fn a_collection_that_vanished_is_no_reason_to_let_anybody_into_an_empty_one() {
    let server = server().await;
    let target = at(&server, "");
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    Client::with(&server.url(), KEY, &collection(&finance)).await.drop_collection().await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended));
    bring(&target, &finance, Desired::Suspended, 2).await;
    let refused = target.apply(&finance, Desired::Active, 3).await.unwrap_err();
    assert!(refused.message.contains("restore it from a snapshot"), "{refused}");
    // A tenant that never was let in has nothing to lose.
    let hr = tenant("hr");
    bring(&target, &hr, Desired::Suspended, 1).await;
    assert_eq!(bring(&target, &hr, Desired::Active, 2).await, Some(Desired::Active));
}

async fn moved(replica: &Replica, tenant: &TenantRef, to: Desired) {
    let (tenant_id, wait) =
        (tenant.tenant_id.to_string(), Some(prost_types::Duration { seconds: 30, nanos: 0 }));
    let mut lifecycle = replica.lifecycle.clone();
    let operation = if to == Desired::Suspended {
        let request = v1::SuspendTenantRequest { tenant_id, wait, ..Default::default() };
        lifecycle.suspend_tenant(request).await
    } else {
        let request = v1::ActivateTenantRequest { tenant_id, wait, ..Default::default() };
        lifecycle.activate_tenant(request).await
    };
    let operation = operation.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    let step = operation.targets.iter().find(|step| step.target == "vectors").unwrap();
    assert_eq!(step.state(), v1::TargetState::Verified, "{step:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspend_and_activate_through_the_registry_are_true_for_a_client() {
    let server = server().await;
    let vectors = format!(
        "vectors = {{ kind = \"qdrant\", url = \"{}\", vector_size = 4, api_key = \"{KEY}\", deadline = \"20s\" }}",
        server.url()
    );
    let mut replica =
        Replica::start(&Setup { settings: vec![("cascade.targets", vectors)], ..Setup::default() }).await;
    let mut tenants = Vec::new();
    for tenant_id in ["finance", "finance-2"] {
        let made = replica.tenant(tenant_id).await;
        let mut tenant = tenant(tenant_id);
        tenant.uid = Uuid::parse_str(&made.uid).unwrap();
        tenant.names.vector_namespace = made.resource_names.unwrap().vector_namespace;
        let clients = Clients::of(&server.url(), &tenant).await;
        clients.fill().await;
        tenants.push((tenant, clients));
    }
    let [(finance, ours), (neighbour, theirs)] = tenants.as_slice() else { panic!() };
    for round in 1..=2 {
        moved(&replica, finance, Desired::Suspended).await;
        assert_eq!(ours.meet().await, expected(Desired::Suspended), "round {round}");
        assert_eq!(theirs.meet().await, expected(Desired::Active), "round {round}: the neighbour");
        moved(&replica, finance, Desired::Active).await;
        assert_eq!(ours.meet().await, expected(Desired::Active), "round {round}");
    }
    tokio::join!(
        moved(&replica, finance, Desired::Suspended),
        moved(&replica, neighbour, Desired::Suspended)
    );
    for clients in [ours, theirs] {
        assert_eq!(clients.meet().await, expected(Desired::Suspended), "both at the same moment");
    }
    moved(&replica, finance, Desired::Active).await;
    assert_eq!(ours.meet().await, expected(Desired::Active));
    assert_eq!(theirs.meet().await, expected(Desired::Suspended), "the other one stays out");
    replica.stop().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_tried_and_the_answer_says_so() {
    let server = Qdrant::start(Options { key: None, ..Options::default() }).await;
    let target = crate::participants::target(&format!(
        "kind = \"qdrant\", url = \"{}\", vector_size = 4, deadline = \"20s\"",
        server.url()
    ));
    let finance = tenant("finance");
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2), (Desired::Archived, 3)] {
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        assert_eq!(target.observe(&finance).await.unwrap().verification, Verification::PolicyOnly);
    }
    let anybody = Client::with(&server.url(), "none", &collection(&finance)).await;
    assert_eq!(anybody.nearest([1.0; 4]).await, Ok(vec![]), "nobody is refused there: that is what it says");
}

#[tokio::test]
async fn a_token_lives_as_long_as_its_record_grants_it() {
    let server = server().await;
    let target = at(&server, "");
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    // A token that claims no record, made by mistake: only the alias is between it and the data.
    let mut careless = claims(&finance, May::Read);
    careless.as_object_mut().unwrap().remove("value_exists");
    let careless = Client::with(&server.url(), &sign(&careless, KEY), &finance.names.vector_namespace).await;
    assert_eq!(careless.nearest([1.0; 4]).await, Ok(vec![]));
    bring(&target, &finance, Desired::Suspended, 2).await;
    assert_eq!(careless.nearest([1.0; 4]).await, Err(Code::NotFound));
    assert_eq!(
        careless.calling(&collection(&finance)).nearest([1.0; 4]).await,
        Err(Code::PermissionDenied),
        "and it is good for no other name"
    );
}
