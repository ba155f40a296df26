//! Calls that go the straight way answer what the usual way answers.

use bytes::Bytes;
use prost::Message as _;
use tenantry::proto::v1;
use tonic::Code;

use crate::edge::wire::{Answer, connect, framed, request};
use crate::support::{Replica, Setup, tier};

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
