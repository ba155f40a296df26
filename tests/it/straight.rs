//! Calls that go the straight way answer what the usual way answers.

use bytes::Bytes;
use prost::Message as _;
use tenantry::proto::v1;
use tonic::Code;

use crate::edge::wire::{Answer, connect, framed, request};
use crate::support::{Replica, Setup, tier};

const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
const GET_TENANT: &str = "/tenantry.v1.TenantRegistry/GetTenant";

async fn assert_both_ways_agree(replica: &mut Replica, after: &str) {
    let straight = replica.get("acme").await;
    let ids = v1::BatchGetTenantsRequest { tenant_ids: vec!["acme".to_owned()] };
    let usual = replica.tenants.batch_get_tenants(ids).await.unwrap().into_inner().tenants.remove(0);
    assert_eq!(straight, usual, "after {after}");
    // Once more, now that it is kept.
    assert_eq!(replica.get("acme").await, usual, "again after {after}");
}

#[tokio::test]
async fn a_kept_reply_is_never_older_than_what_it_was_made_of() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("acme").await;
    assert_both_ways_agree(&mut replica, "its creation").await;
    let signals = v1::Signals {
        latency_p95_ms: Some(900.0),
        error_rate: Some(0.0),
        query_success_rate: Some(1.0),
        storage_utilization: Some(0.5),
    };
    let tenant_id = || "acme".to_owned();
    let report =
        v1::ReportSignalsRequest { tenant_id: tenant_id(), signals: Some(signals), ..Default::default() };
    replica.health.report_signals(report).await.unwrap();
    assert_both_ways_agree(&mut replica, "a report of its health").await;
    let mut changed = tier("gold", 1);
    changed.support_level = "8/5".to_owned();
    let update_mask = Some(prost_types::FieldMask { paths: vec!["support_level".to_owned()] });
    let update = v1::UpdateTierRequest { tier: Some(changed), update_mask, ..Default::default() };
    replica.tiers.update_tier(update).await.unwrap();
    assert_eq!(replica.get("acme").await.support_level, "8/5");
    assert_both_ways_agree(&mut replica, "a change of its tier").await;
    let suspend = v1::SuspendTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    replica.lifecycle.suspend_tenant(suspend).await.unwrap();
    replica.settled("acme").await;
    assert_both_ways_agree(&mut replica, "its suspension").await;
    replica.stop().await;
}

#[tokio::test]
async fn evaluations_agree_with_their_explanations() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("acme").await;
    let flag =
        v1::Flag { flag_key: "beta".into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() };
    replica
        .flags
        .create_flag(v1::CreateFlagRequest { flag: Some(flag), ..Default::default() })
        .await
        .unwrap();
    for (flag_key, variant) in [("beta", ""), ("beta", "on")] {
        if !variant.is_empty() {
            let set = v1::SetTierDefaultRequest {
                flag_key: flag_key.into(),
                tier_id: "gold".into(),
                variant: variant.into(),
                ..Default::default()
            };
            replica.flags.set_tier_default(set).await.unwrap();
        }
        let (tenant_id, flag_key) = ("acme".to_owned(), flag_key.to_owned());
        let explain = v1::ExplainFlagRequest {
            tenant_id: tenant_id.clone(),
            flag_key: flag_key.clone(),
            ..Default::default()
        };
        let usual = replica.flags.explain_flag(explain).await.unwrap().into_inner().result.unwrap();
        let one = v1::EvaluateFlagRequest {
            tenant_id: tenant_id.clone(),
            flag_key: flag_key.clone(),
            ..Default::default()
        };
        assert_eq!(replica.flags.evaluate_flag(one).await.unwrap().into_inner(), usual);
        let all = v1::EvaluateFlagsRequest { tenant_id, flag_keys: vec![flag_key], ..Default::default() };
        assert_eq!(replica.flags.evaluate_flags(all).await.unwrap().into_inner().flags, [usual]);
    }
    replica.stop().await;
}

/// What a tenant sees of the flags of these names, without any of all flags, asked often enough to be answered with kept
/// bytes.
async fn bulk(replica: &mut Replica, names: &[&str], tenant_id: &str, country: &str) -> Vec<(String, bool)> {
    let context = prost_types::Struct { fields: [("country".to_owned(), text(country))].into() };
    let request = || v1::EvaluateFlagsRequest {
        tenant_id: tenant_id.to_owned(),
        flag_keys: names.iter().map(|name| (*name).to_owned()).collect(),
        context: Some(context.clone()),
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let reply = replica.flags.evaluate_flags(request()).await.unwrap().into_inner();
        let flags = reply.flags.into_iter().map(|flag| (flag.flag_key, flag.variant == "on"));
        seen.push(flags.collect::<Vec<_>>());
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    seen.swap_remove(0)
}

fn text(value: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(value.to_owned())) }
}

fn wire_time(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

#[tokio::test]
async fn kept_answers_about_all_flags_are_those_of_the_tenant_the_context_and_the_moment() {
    assert_eq!(kept_answers(&[]).await, (0, 28));
}

#[tokio::test]
async fn kept_answers_about_flags_by_name_are_those_of_the_tenant_the_context_and_the_moment() {
    assert_eq!(kept_answers(&["beta"]).await, (28, 0));
}

/// How many evaluations of the flag by name and of all flags were counted.
async fn kept_answers(names: &[&str]) -> (i64, i64) {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for tenant in ["acme", "zeta"] {
        replica.tenant(tenant).await;
    }
    let condition = v1::Condition {
        attribute: "country".into(),
        operator: v1::ConditionOperator::In.into(),
        values: vec![text("de")],
    };
    let rule = v1::TargetingRule {
        id: "german".into(),
        conditions: vec![condition],
        variant: "on".into(),
        ..Default::default()
    };
    let flag = v1::Flag {
        flag_key: "beta".into(),
        r#type: v1::FlagType::Boolean.into(),
        rules: vec![rule],
        // Soon enough to be listed as stale, with its counts.
        expire_time: Some(wire_time(jiff::Timestamp::now() + DAY * 10)),
        ..Default::default()
    };
    replica
        .flags
        .create_flag(v1::CreateFlagRequest { flag: Some(flag), ..Default::default() })
        .await
        .unwrap();
    let beta = |is_on| vec![("beta".to_owned(), is_on)];
    for (tenant, country, expected) in
        [("acme", "de", true), ("acme", "fr", false), ("zeta", "de", true), ("zeta", "fr", false)]
    {
        assert_eq!(bulk(&mut replica, names, tenant, country).await, beta(expected), "{tenant} {country}");
    }
    // Of one tenant, until a moment that only the clock brings.
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    let own = v1::SetTenantOverrideRequest {
        tenant_id: "acme".into(),
        flag_key: "beta".into(),
        variant: "on".into(),
        expire_time: Some(wire_time(end)),
        ..Default::default()
    };
    replica.flags.set_tenant_override(own).await.unwrap();
    assert_eq!(bulk(&mut replica, names, "acme", "fr").await, beta(true), "the override");
    assert_eq!(bulk(&mut replica, names, "zeta", "fr").await, beta(false), "the other tenant");
    let left = end.duration_since(jiff::Timestamp::now()).unsigned_abs();
    tokio::time::sleep(left + std::time::Duration::from_millis(50)).await;
    assert_eq!(bulk(&mut replica, names, "acme", "fr").await, beta(false), "the override has ended");
    // What went out as kept bytes is counted all the same.
    replica.server.registry.evaluations.flush(&replica.server.registry.database).await;
    let stale =
        replica.flags.list_stale_flags(v1::ListStaleFlagsRequest::default()).await.unwrap().into_inner();
    replica.stop().await;
    (stale.flags[0].evaluations, stale.flags[0].bulk_evaluations)
}

/// Sends a request's body in frames of `piece` bytes.
async fn in_pieces(replica: &Replica, body: &[u8], piece: usize) -> Answer {
    let mut client = connect(replica.server.grpc).await.ready().await.unwrap();
    let (answer, mut stream) = client.send_request(request(GET_TENANT, &[]), false).unwrap();
    let count = body.chunks(piece).count();
    for (index, chunk) in body.chunks(piece).enumerate() {
        // The server may have answered, and closed the stream, before all was sent.
        let _ = stream.send_data(Bytes::copy_from_slice(chunk), index + 1 == count);
    }
    let (head, mut rest) = answer.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = rest.data().await {
        body.extend_from_slice(&chunk.unwrap());
    }
    let trailers = rest.trailers().await.unwrap().unwrap_or_default();
    Answer { http: head.status, headers: head.headers, body, trailers }
}

#[tokio::test]
async fn a_request_may_come_in_pieces_and_must_not_be_too_large() {
    let setup = Setup {
        no_targets: true,
        settings: vec![("server.decode_limit_bytes", "1KiB".to_owned())],
        ..Setup::default()
    };
    let mut replica = Replica::start(&setup).await;
    let made = replica.tenant("acme").await;
    let asked = framed(0, &v1::GetTenantRequest { tenant_id: "acme".to_owned() }.encode_to_vec());
    for piece in [1, 4, 5, 6, asked.len()] {
        let answer = in_pieces(&replica, &asked, piece).await;
        assert_eq!(v1::Tenant::decode(&answer.body[5..]).unwrap(), made, "in pieces of {piece}");
        assert_eq!(answer.code(), Code::Ok);
    }
    let large = framed(0, &v1::GetTenantRequest { tenant_id: "a".repeat(2_000) }.encode_to_vec());
    for piece in [100, large.len()] {
        let answer = in_pieces(&replica, &large, piece).await;
        assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
    let malformed = in_pieces(&replica, &framed(0, b"\xff\xff"), 7).await;
    assert_eq!((malformed.code(), malformed.reason().as_str()), (Code::InvalidArgument, "MALFORMED_REQUEST"));
    replica.stop().await;
}
