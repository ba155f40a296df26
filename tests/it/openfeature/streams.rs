//! What streams do when nobody changes anything, and when nobody reads.

use std::time::Duration;

use serde_json::json;
use tenantry::domain::error::Reason;
use tenantry::domain::selector::Selector;
use tenantry::proto::v1;
use tenantry::services::openfeature::{OpenFeature, Question, Told};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::world::World;

/// More than any machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

fn of_tenant(tenant: &str) -> Question {
    let selector = Selector::parse("selector", &format!("tenantId={tenant}")).unwrap();
    Question { identity: None, selector }
}

#[tokio::test]
async fn what_time_alone_changes_is_told_in_time() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("passing", "off").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let end = jiff::Timestamp::now() + Duration::from_secs(2);
    let request = v1::SetTenantOverrideRequest {
        flag_key: "passing".into(),
        tenant_id: "finance".into(),
        variant: "on".into(),
        expire_time: Some(prost_types::Timestamp {
            seconds: end.as_second(),
            nanos: end.subsec_nanosecond(),
        }),
        ..Default::default()
    };
    world.replica.flags.set_tenant_override(request).await.unwrap();
    let mut told = feature.changes(of_tenant("finance"), None).unwrap();
    let mut last = jiff::Timestamp::UNIX_EPOCH;
    while last < end {
        let next = tokio::time::timeout(PATIENCE, told.next()).await.expect("the end is told of");
        if let Told::Changed(part) = next.unwrap().unwrap()
            && part.flags.keys().any(|key| key.as_str() == "passing")
        {
            last = jiff::Timestamp::now();
        }
    }
    let late = last.duration_since(end);
    assert!(late < jiff::SignedDuration::from_secs(1), "told {late} late");
    world.stop().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_told_why() {
    let mut setup = super::world::setup();
    setup.settings.push(("view.slow_reader_after", "1s".to_owned()));
    let mut world = World::with(&setup).await;
    world.flag("moving", "off").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let mut told = feature.changes(Question::default(), None).unwrap();
    assert_eq!(told.next().await.unwrap().unwrap(), Told::Ready);
    let cut = tokio::time::timeout(PATIENCE, async {
        for turn in 0.. {
            world.set_default("moving", if turn % 2 == 0 { "on" } else { "off" }).await;
            // Nothing is read until it would have been cut.
            if turn == 20 {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                break;
            }
        }
        loop {
            match told.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error.reason),
                None => return None,
            }
        }
    });
    assert_eq!(cut.await.unwrap(), Some(Reason::SlowReader));
    world.stop().await;
}

#[tokio::test]
async fn a_caller_s_identity_decides_whatever_it_says_of_itself() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    world.flag("only-finance", "off").await;
    world.override_for("finance", "only-finance", "on").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let snapshot = feature.snapshot().unwrap();
    let identity = Some(tenantry::domain::ids::TenantId::parse("logistics").unwrap());
    let question = Question { identity: identity.clone(), selector: Selector::default() };
    let attributes = |tenant: &str| json!({ "tenantId": tenant }).as_object().unwrap().clone();
    assert!(feature.ask(&question, attributes("finance")).is_err());
    let asked = feature.ask(&question, serde_json::Map::new()).unwrap();
    let seen = feature.one(asked, "only-finance".to_owned()).await.unwrap();
    assert_eq!(seen.variant.as_deref(), Some("off"));
    let selected = Question { identity, ..of_tenant("finance") };
    assert!(selected.selected(&snapshot).is_err(), "a selector widens nothing");
    world.stop().await;
}
