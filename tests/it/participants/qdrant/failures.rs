//! Everything that a server, or the way to it, can do wrong.

use std::sync::Arc;
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tenantry::proto::qdrant::value::Kind;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::server::{Fault, KEY, Options, Qdrant};
use super::{Clients, at, collection, expected, named, server};
use crate::participants::certificates::Certificates;
use crate::participants::{bring, closed, mute, target, tenant, told};

/// Brings a tenant that is let in, with data, to a state. Each way has the state before it.
const WAYS: [(Desired, Desired); 6] = [
    (Desired::Active, Desired::Suspended),
    (Desired::Suspended, Desired::Active),
    (Desired::Active, Desired::ReadOnly),
    (Desired::ReadOnly, Desired::Active),
    (Desired::Suspended, Desired::Archived),
    (Desired::Archived, Desired::Deleted),
];

/// A tenant with data, in a state, under generation 2.
async fn prepared(server: &Qdrant, tenant: &TenantRef, state: Desired) -> Clients {
    let target = at(server, "");
    bring(&target, tenant, Desired::Active, 1).await;
    let clients = Clients::of(&server.url(), tenant).await;
    clients.fill().await;
    bring(&target, tenant, state, 2).await;
    clients
}

/// What is true in the end, whatever happened on the way.
async fn holds(server: &Qdrant, target: &Arc<dyn Participant>, tenant: &TenantRef, state: Desired) {
    let seen = target.observe(tenant).await.unwrap();
    assert_eq!((seen.state, seen.generation), (Some(state), 3));
    assert_eq!(Clients::of(&server.url(), tenant).await.meet().await, expected(state), "{state}");
    if state == Desired::Deleted {
        assert!(!server.collections().contains(&collection(tenant)) && server.snapshot_files(0) == 0);
    }
}

#[tokio::test]
async fn each_fault_on_each_way_ends_in_what_was_asked_once_it_is_over() {
    for (before, wanted) in WAYS {
        for fault in [
            Fault::Before,
            Fault::After,
            Fault::Hang,
            Fault::Lie,
            Fault::Flap,
            Fault::Slow(Duration::from_millis(2)),
        ] {
            let server = server().await;
            let finance = tenant("finance");
            let clients = prepared(&server, &finance, before).await;
            let target = at(&server, "");
            let hasty = self::target(&format!(
                "kind = \"qdrant\", url = \"{}\", vector_size = 4, api_key = \"{KEY}\", deadline = \"300ms\"",
                server.url()
            ));
            server.fault(fault.clone());
            let outcome =
                if fault == Fault::Hang { &hasty } else { &target }.apply(&finance, wanted, 3).await;
            match (&fault, &outcome) {
                (Fault::Slow(_), Ok(())) => {}
                (Fault::Slow(_), failure) => panic!("{wanted} slowly: {failure:?}"),
                (_, Ok(())) => panic!("{wanted} under {fault:?} was done, it says"),
                // It may happen yet, or the next time: none of these is for an operator.
                (_, Err(failure)) => {
                    assert_ne!(failure.kind, FailureKind::Permanent, "{wanted} {fault:?} {failure}");
                }
            }
            if wanted == Desired::Suspended && fault == Fault::After {
                assert_eq!(clients.meet().await.1, expected(Desired::Active).1, "nothing was done yet");
            }
            server.fault(Fault::None);
            assert_eq!(bring(&target, &finance, wanted, 3).await, Some(wanted), "after {fault:?}");
            holds(&server, &target, &finance, wanted).await;
        }
    }
}

#[tokio::test]
async fn cut_off_at_any_call_another_replica_ends_it() {
    for (before, wanted) in WAYS {
        for cut in [Fault::CutBefore, Fault::CutAfter] {
            for at_call in 0.. {
                let server = server().await;
                let finance = tenant("finance");
                prepared(&server, &finance, before).await;
                server.fault(cut(at_call));
                let was_done = at(&server, "").apply(&finance, wanted, 3).await.is_ok();
                let calls = server.calls();
                server.fault(Fault::None);
                let other = at(&server, "");
                assert_eq!(bring(&other, &finance, wanted, 3).await, Some(wanted), "{:?}", cut(at_call));
                holds(&server, &other, &finance, wanted).await;
                if was_done {
                    assert!(calls >= 3 && calls <= at_call + 1, "{wanted}: {calls} calls, cut at {at_call}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_lie_about_the_alias_is_found_by_reading_back() {
    let server = server().await;
    let finance = tenant("finance");
    prepared(&server, &finance, Desired::Active).await;
    let target = at(&server, "");
    server.fault(Fault::LieAt("UpdateAliases"));
    target.apply(&finance, Desired::Suspended, 3).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "half a suspension");
    server.fault(Fault::LieAt("CreateSnapshot"));
    bring(&target, &finance, Desired::Suspended, 3).await;
    target.apply(&finance, Desired::Archived, 4).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended), "no snapshot");
    for (lie, words) in [("DeleteSnapshot", "keep appearing"), ("Delete", "still there")] {
        server.fault(Fault::None);
        let leaving = tenant("leaving");
        prepared(&server, &leaving, Desired::Archived).await;
        server.fault(Fault::LieAt(lie));
        let (kind, said) = told(target.apply(&leaving, Desired::Deleted, 3).await);
        assert_eq!(kind, FailureKind::Retryable, "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(target.observe(&leaving).await.unwrap().state, Some(Desired::Suspended), "{lie}");
        server.fault(Fault::None);
        assert_eq!(bring(&target, &leaving, Desired::Deleted, 3).await, Some(Desired::Deleted));
    }
}

#[tokio::test]
async fn a_refusal_that_is_not_ours_is_not_taken_for_a_suspension() {
    // Tokens are not taken at all, so each is refused, the tenant's too.
    let server = Qdrant::start(Options { jwt_rbac: false, ..Options::default() }).await;
    let target = at(&server, "");
    let finance = tenant("finance");
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2)] {
        target.apply(&finance, state, generation).await.unwrap();
        let failure = target.observe(&finance).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Retryable);
        assert!(failure.message.contains("`jwt_rbac` is off"), "{failure}");
    }
    // A server that asks nobody refuses nobody.
    let open = Qdrant::start(Options { key: None, ..Options::default() }).await;
    let target = at(&open, "");
    bring(&target, &finance, Desired::Active, 1).await;
    target.apply(&finance, Desired::Suspended, 2).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "nothing is refused");
}

#[tokio::test]
async fn each_failure_has_its_class_and_our_words() {
    let server = server().await;
    let old = Qdrant::start(Options { version: "1.15.5", ..Options::default() }).await;
    let finance = tenant("finance");
    let (_listener, silent) = mute();
    let (later, never, nobody_knows) = (FailureKind::Retryable, FailureKind::Permanent, FailureKind::Unknown);
    for (url, key, kind, words) in [
        (
            format!("http://127.0.0.1:{}", closed()),
            KEY,
            nobody_knows,
            "the vector database cannot be reached: it refuses connections",
        ),
        (
            format!("http://127.0.0.1:{silent}"),
            KEY,
            nobody_knows,
            "the vector database did not answer in time",
        ),
        (server.url(), "wrong", later, "the vector database does not accept our key"),
        (old.url(), KEY, never, "the vector database is Qdrant \"1.15.5\": 1.16 or later is needed"),
    ] {
        let target = target(&format!(
            "kind = \"qdrant\", url = \"{url}\", vector_size = 4, api_key = \"{key}\", deadline = \"400ms\""
        ));
        let seen = told(target.apply(&finance, Desired::Suspended, 1).await);
        assert_eq!(seen, (kind, words.to_owned()), "{url}");
    }
    // A namespace that is the name of a collection already, and one that could be a name of ours.
    let taken = at(&server, "");
    bring(&taken, &finance, Desired::Active, 1).await;
    super::client::Client::with(&server.url(), KEY, "taken").await.make_collection().await.unwrap();
    for (namespace, words) in [("taken", "already exists"), ("tenantry.records", "has a dot in it")] {
        let (kind, said) = told(taken.apply(&named("hr", namespace), Desired::Active, 1).await);
        assert_eq!(kind, never, "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_server_with_mutual_tls_and_a_custom_authority_is_reached_by_those_whom_it_knows() {
    let certificates = Certificates::new().await;
    let [authority, certificate, key] = ["authority.crt", "server.crt", "server.key"]
        .map(|file| std::fs::read_to_string(certificates.path(file)).unwrap());
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority));
    let server = Qdrant::start(Options { tls: Some(tls), ..Options::default() }).await;
    let settings = format!(
        "kind = \"qdrant\", url = \"https://127.0.0.1:{}\", vector_size = 4, api_key = \"{KEY}\"",
        server.addresses[0].port()
    );
    let known = target(&format!("{settings}, deadline = \"20s\", {}", certificates.settings("client")));
    assert_eq!(bring(&known, &tenant("finance"), Desired::Active, 1).await, Some(Desired::Active));
    for stranger in [certificates.settings("impostor"), certificates.trust()] {
        let target = target(&format!("{settings}, deadline = \"3s\", {stranger}"));
        let (_, words) = told(target.apply(&tenant("hr"), Desired::Active, 1).await);
        assert!(words.contains("cannot be reached"), "{words}");
    }
    let other = format!("ca_file = \"{}\"", certificates.path("stranger.crt").display());
    let distrusting = target(&format!("{settings}, deadline = \"3s\", {other}"));
    let (_, words) = told(distrusting.apply(&tenant("hr"), Desired::Active, 1).await);
    assert!(words.contains("its certificate is of no authority that we trust (`ca_file`)"), "{words}");
}

#[tokio::test]
async fn a_number_on_record_that_is_too_high_or_far_ahead_keeps_nobody_in_and_removes_nothing() {
    let server = server().await;
    let (target, finance) = (at(&server, ""), named("finance", "fin"));
    let clients = prepared(&server, &finance, Desired::Active).await;
    for number in [4_503_599_627_370_400, i64::MAX] {
        server.change(&finance, "generation", |held| *held = Kind::IntegerValue(number));
        for (state, generation) in [(Desired::Suspended, 3), (Desired::Archived, 4), (Desired::Deleted, 5)] {
            assert!(target.apply(&finance, state, generation).await.is_err(), "{number}: {state}");
            let (read, written) = clients.meet().await;
            assert!(read.is_err() && written.is_err(), "{number}, {state}: {read:?} {written:?}");
        }
        assert!(target.apply(&finance, Desired::Active, 6).await.is_err(), "{number}");
        assert!(clients.meet().await.0.is_err(), "it gives nobody access: {number}");
        assert!(server.collections().contains(&collection(&finance)), "{number}");
        server.change(&finance, "generation", |held| *held = Kind::IntegerValue(2));
        bring(&target, &finance, Desired::Active, 2).await;
        assert_eq!(clients.meet().await, expected(Desired::Active), "mended, with its data");
    }
    // As far ahead as an honest one can be, of a late call.
    bring(&target, &finance, Desired::Active, 1_000_003).await;
    let (kind, said) = told(target.apply(&finance, Desired::Suspended, 3).await);
    assert!(kind == FailureKind::Permanent && said.contains("a newer change was applied already"), "{said}");
    assert_eq!(clients.meet().await, expected(Desired::Active));
}
