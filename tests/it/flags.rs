//! `FeatureFlags`, `Tiers` and `TenantHealth`, as their callers see them.

mod apply;
mod command_line;
mod documents;
mod emergencies;
mod files;
mod large;
mod life;
mod mistakes;
mod plain_words;
mod races;
mod relations;
mod removals;
mod sets;
mod switches;
mod targeting;
mod terminal;
mod values;
mod yaml;

use tenantry::proto::v1;
use tonic::Code;

use crate::support::{Replica, Setup, fields, reason, tier};

pub(crate) fn boolean(flag_key: &str) -> v1::Flag {
    v1::Flag { flag_key: flag_key.into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() }
}

pub(crate) async fn with_flag() -> Replica {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let request = v1::CreateFlagRequest { flag: Some(boolean("search")), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    replica
}

async fn evaluate(replica: &mut Replica, flag_key: &str) -> v1::EvaluateFlagResponse {
    let request =
        v1::EvaluateFlagRequest { tenant_id: "finance".into(), flag_key: flag_key.into(), context: None };
    replica.flags.evaluate_flag(request).await.unwrap().into_inner()
}

pub(crate) async fn seen(replica: &mut Replica) -> (v1::FlagLayer, String) {
    let answer = evaluate(replica, "search").await;
    (answer.layer(), answer.variant)
}

fn set_tier(variant: &str) -> v1::SetTierDefaultRequest {
    v1::SetTierDefaultRequest {
        flag_key: "search".into(),
        tier_id: "gold".into(),
        variant: variant.into(),
        ..Default::default()
    }
}

pub(crate) fn set_tenant(variant: &str) -> v1::SetTenantOverrideRequest {
    v1::SetTenantOverrideRequest {
        flag_key: "search".into(),
        tenant_id: "finance".into(),
        variant: variant.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_override_beats_the_tier_and_the_tier_the_default_and_each_can_be_taken_back() {
    let mut replica = with_flag().await;
    assert_eq!(seen(&mut replica).await, (v1::FlagLayer::GlobalDefault, "off".into()));
    replica.flags.set_tier_default(set_tier("on")).await.unwrap();
    assert_eq!(seen(&mut replica).await, (v1::FlagLayer::TierDefault, "on".into()));
    replica.flags.set_tenant_override(set_tenant("off")).await.unwrap();
    assert_eq!(seen(&mut replica).await, (v1::FlagLayer::TenantOverride, "off".into()));
    let explain =
        v1::ExplainFlagRequest { tenant_id: "finance".into(), flag_key: "search".into(), context: None };
    let layers = replica.flags.explain_flag(explain).await.unwrap().into_inner().layers;
    let decided: Vec<_> = layers
        .iter()
        .filter(|layer| layer.decided)
        .map(v1::explain_flag_response::LayerExplanation::layer)
        .collect();
    assert_eq!(decided, [v1::FlagLayer::TenantOverride]);
    replica.flags.set_tenant_override(set_tenant("")).await.unwrap();
    replica.flags.set_tier_default(set_tier("")).await.unwrap();
    assert_eq!(seen(&mut replica).await, (v1::FlagLayer::GlobalDefault, "off".into()));
    replica.stop().await;
}

#[tokio::test]
async fn in_bulk_an_unknown_flag_is_an_answer_and_not_an_error() {
    let mut replica = with_flag().await;
    let request = v1::EvaluateFlagsRequest {
        tenant_id: "finance".into(),
        flag_keys: vec!["search".into(), "nobody".into(), "no key \0".into()],
        context: None,
    };
    let answer = replica.flags.evaluate_flags(request).await.unwrap().into_inner();
    let reasons: Vec<&str> = answer.flags.iter().map(|flag| flag.error_code.as_str()).collect();
    assert_eq!(reasons, ["", "FLAG_NOT_FOUND", "FLAG_NOT_FOUND"]);
    assert_eq!(answer.warnings.len(), 2);
    replica.stop().await;
}

#[tokio::test]
async fn what_flags_refuse() {
    let mut replica = with_flag().await;
    let flag = boolean("search");
    let again = v1::CreateFlagRequest { flag: Some(flag.clone()), ..Default::default() };
    assert_eq!(reason(&replica.flags.create_flag(again).await.unwrap_err()), "FLAG_EXISTS");
    assert_eq!(
        reason(&replica.flags.set_tier_default(set_tier("maybe")).await.unwrap_err()),
        "VARIANT_NOT_FOUND"
    );
    let missing = v1::GetFlagRequest { flag_key: "nobody".into() };
    assert_eq!(reason(&replica.flags.get_flag(missing).await.unwrap_err()), "FLAG_NOT_FOUND");
    replica.flags.set_tier_default(set_tier("on")).await.unwrap();
    let variants =
        [("off".to_owned(), prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(false)) })];
    let update = v1::UpdateFlagRequest {
        flag: Some(v1::Flag { variants: variants.into(), ..flag }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["variants".into()] }),
        ..Default::default()
    };
    assert_eq!(reason(&replica.flags.update_flag(update).await.unwrap_err()), "VARIANT_IN_USE");
    replica.stop().await;
}

#[tokio::test]
async fn a_text_that_json_columns_cannot_hold_is_refused_by_name() {
    let mut replica = with_flag().await;
    let text = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("a\0b".into())) };
    let object = prost_types::Struct { fields: [("key".to_owned(), text)].into() };
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(object)) };
    let flag = v1::Flag {
        flag_key: "object".into(),
        r#type: v1::FlagType::Object.into(),
        variants: [("one".to_owned(), value)].into(),
        default_variant: "one".into(),
        ..Default::default()
    };
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    let error = replica.flags.create_flag(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert!(!fields(&error).is_empty());
    replica.stop().await;
}

#[tokio::test]
async fn a_tier_in_use_stays() {
    let mut replica = with_flag().await;
    let delete = |tier_id: &str| v1::DeleteTierRequest { tier_id: tier_id.into(), ..Default::default() };
    assert_eq!(reason(&replica.tiers.delete_tier(delete("gold")).await.unwrap_err()), "TIER_IN_USE");
    replica.tiers.delete_tier(delete("silver")).await.unwrap();
    assert_eq!(reason(&replica.tiers.delete_tier(delete("silver")).await.unwrap_err()), "TIER_NOT_FOUND");
    let again = v1::CreateTierRequest { tier: Some(tier("gold", 1)), ..Default::default() };
    assert_eq!(reason(&replica.tiers.create_tier(again).await.unwrap_err()), "TIER_EXISTS");
    replica.stop().await;
}

#[tokio::test]
async fn health_follows_the_signals_and_impossible_ones_are_refused() {
    let mut replica = with_flag().await;
    let report = |latency, errors, success, storage| v1::ReportSignalsRequest {
        tenant_id: "finance".into(),
        signals: Some(v1::Signals {
            latency_p95_ms: Some(latency),
            error_rate: Some(errors),
            query_success_rate: Some(success),
            storage_utilization: Some(storage),
        }),
        ..Default::default()
    };
    let answer = replica.health.report_signals(report(700.0, 0.02, 0.93, 0.85)).await.unwrap().into_inner();
    assert_eq!((answer.health_score, answer.health_level()), (10, v1::HealthLevel::Critical));
    let before = replica.get("finance").await;
    assert_eq!(before.health_score, 10);
    let list = v1::ListTenantsRequest { filter: "health_score < 80".into(), ..Default::default() };
    assert_eq!(replica.tenants.list_tenants(list).await.unwrap().into_inner().total_size, 1);
    for (signals, field) in [
        (report(f64::NAN, 0.0, 1.0, 0.5), "signals.latency_p95_ms"),
        (report(-1.0, 0.0, 1.0, 0.5), "signals.latency_p95_ms"),
        (report(1.0, 1.1, 1.0, 0.5), "signals.error_rate"),
        (report(1.0, 0.0, f64::INFINITY, 0.5), "signals.query_success_rate"),
        (report(1.0, 0.0, 1.0, -0.1), "signals.storage_utilization"),
    ] {
        let error = replica.health.report_signals(signals).await.unwrap_err();
        assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    assert_eq!(replica.get("finance").await, before);
    replica.stop().await;
}

#[tokio::test]
async fn tiers_are_listed_by_rank_highest_first_page_by_page() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for (tier_id, rank) in [("aaa", 1), ("zzz", 2)] {
        let tier = Some(tier(tier_id, rank));
        replica.tiers.create_tier(v1::CreateTierRequest { tier, ..Default::default() }).await.unwrap();
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTiersRequest { page_size: 2, page_token };
        let page = replica.tiers.list_tiers(request).await.unwrap().into_inner();
        listed.extend(page.tiers.into_iter().map(|tier| tier.tier_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["platinum", "zzz", "aaa", "gold", "silver"]);
    replica.stop().await;
}
