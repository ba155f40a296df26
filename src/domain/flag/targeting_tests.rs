//! Rules, rollouts and segments within the order of layers.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{
    Body, Choice, CompiledFlags, ErrorCode, Flag, FlagType, Layer, NewSegment, Query, Reason, Segment,
    Settings, Split, TargetingRule, TenantFacts, TierDefault,
};
use crate::domain::ids::{FlagKey, Revision, SegmentName, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Condition, Context, Effort, Operator, Rollout, Step, Weight};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn variant(name: &str) -> VariantName {
    VariantName::parse(name).unwrap()
}

fn flag(change: impl FnOnce(&mut Settings)) -> Arc<Flag> {
    let mut settings = Settings::new(FlagKey::parse("search").unwrap(), FlagType::Boolean);
    settings.fill_boolean_defaults();
    change(&mut settings);
    Arc::new(settings.into_flag(Revision(3), NOW))
}

fn rule(id: &str, body: Body) -> TargetingRule {
    TargetingRule { id: id.to_owned(), description: String::new(), body }
}

fn in_region(region: &str) -> Body {
    let condition =
        Condition { attribute: "region".to_owned(), operator: Operator::In, values: vec![region.into()] };
    Body::Match { conditions: vec![condition], serve: Choice::Variant(variant("on")) }
}

fn split(on: u32, bucket_by: &str) -> Split {
    let weight = |name: &str, weight| Weight { variant: variant(name), weight };
    let weights = vec![weight("on", on), weight("off", 100 - on)];
    Split {
        rollout: Rollout { seed: "search".to_owned(), weights, steps: Vec::new() },
        bucket_by: bucket_by.to_owned(),
    }
}

/// What the tenant `id` sees with some attributes: the variant, the reason, the layer, the rule.
fn seen(
    flags: &CompiledFlags,
    id: &str,
    attributes: &Json,
) -> (Option<String>, Reason, Layer, Option<String>) {
    let (tenant_id, tier) = (TenantId::parse(id).unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
    let context = Context::new(attributes.as_object().cloned().unwrap_or_default()).unwrap();
    let query = Query { tenant: Some(facts), context: &context, now: NOW };
    let found = flags.evaluate(&query, "search");
    let layers = flags.explain(&query, Effort::Full, "search").unwrap();
    assert!(layers.iter().any(|layer| layer.decided && layer.layer == found.layer), "{layers:?}");
    (found.variant.map(ToString::to_string), found.reason, found.layer, found.rule.map(str::to_owned))
}

fn alone(flag: Arc<Flag>) -> CompiledFlags {
    CompiledFlags::build([flag], [], [])
}

fn on_by(rule: &str) -> (Option<String>, Reason, Layer, Option<String>) {
    (Some("on".to_owned()), Reason::TargetingMatch, Layer::TargetingRule, Some(rule.to_owned()))
}

fn off_by_default() -> (Option<String>, Reason, Layer, Option<String>) {
    (Some("off".to_owned()), Reason::Default, Layer::GlobalDefault, None)
}

#[test]
fn the_first_rule_that_holds_decides_and_is_named() {
    let rules = vec![rule("europe", in_region("eu")), rule("asia", in_region("as"))];
    let flags = alone(flag(|it| it.rules = rules));
    assert_eq!(seen(&flags, "a", &json!({"region": "eu"})), on_by("europe"));
    assert_eq!(seen(&flags, "a", &json!({"region": "as"})), on_by("asia"));
    assert_eq!(seen(&flags, "a", &json!({"region": "us"})), off_by_default());
    assert_eq!(seen(&flags, "a", &json!({})), off_by_default());
}

#[test]
fn logic_names_the_variant_and_null_leaves_it_to_the_tier_and_then_to_the_default() {
    let logic = json!({"if": [{"==": [{"var": "plan"}, "pro"]}, "on", null]});
    let flags = alone(flag(|it| it.rules = vec![rule("plans", Body::Logic(logic))]));
    assert_eq!(seen(&flags, "a", &json!({"plan": "pro"})), on_by("plans"));
    assert_eq!(seen(&flags, "a", &json!({"plan": "free"})), off_by_default());
    let default = TierDefault {
        tier: TierId::parse("gold").unwrap(),
        flag: FlagKey::parse("search").unwrap(),
        choice: Choice::Variant(variant("on")),
        revision: Revision(4),
    };
    let flags = flags.with_tier_default(Arc::new(default));
    assert_eq!(seen(&flags, "a", &json!({})).2, Layer::TierDefault);
}

#[test]
fn a_broken_rule_is_an_error_of_that_flag_where_its_turn_comes() {
    let rules = vec![
        rule("europe", in_region("eu")),
        rule("broken", Body::Logic(json!({"if": [{"$ref": "nowhere"}, "on", null]}))),
    ];
    let flags = alone(flag(|it| it.rules = rules));
    assert_eq!(seen(&flags, "a", &json!({"region": "eu"})), on_by("europe"));
    let (value, reason, layer, id) = seen(&flags, "a", &json!({}));
    assert_eq!((value, reason, layer), (None, Reason::Error, Layer::TargetingRule));
    assert_eq!(id.as_deref(), Some("broken"));
}

#[test]
fn a_variant_that_does_not_exist_is_a_general_error() {
    let flags = alone(flag(|it| it.rules = vec![rule("odd", Body::Logic(json!("purple")))]));
    let context = Context::default();
    let query = Query { tenant: None, context: &context, now: NOW };
    let found = flags.evaluate(&query, "search");
    assert_eq!((found.reason, found.error), (Reason::Error, Some(ErrorCode::General)));
}

fn segment(source: Json) -> Arc<Segment> {
    let name = SegmentName::parse("europe").unwrap();
    let settings = NewSegment { name, description: String::new(), source };
    Arc::new(settings.into_segment(NOW))
}

#[test]
fn a_changed_segment_changes_every_flag_that_uses_it_at_once() {
    let logic = json!({"if": [{"$ref": "europe"}, "on", null]});
    let using = flag(|it| it.rules = vec![rule("eu", Body::Logic(logic))]);
    let is = |region: &str| json!({"==": [{"var": "region"}, region]});
    let early = CompiledFlags::new().with_flag(Arc::clone(&using));
    assert_eq!(seen(&early, "a", &json!({})).1, Reason::Error, "its segment is not there yet");
    let flags = early.with_segments([segment(is("eu"))]);
    assert_eq!(seen(&flags, "a", &json!({"region": "eu"})), on_by("eu"));
    assert_eq!(flags.users_of_segment("europe").count(), 1);
    let wider = flags.clone().with_segments([segment(is("emea"))]);
    assert_eq!(seen(&wider, "a", &json!({"region": "eu"})), off_by_default());
    assert_eq!(seen(&wider, "a", &json!({"region": "emea"})), on_by("eu"));
    assert_eq!(seen(&flags, "a", &json!({"region": "eu"})), on_by("eu"), "older snapshots do not change");
    let gone = wider.without_segment(&SegmentName::parse("europe").unwrap());
    assert_eq!(seen(&gone, "a", &json!({"region": "emea"})).1, Reason::Error);
}

#[test]
fn a_rollout_shares_out_tenants_and_each_keeps_its_share() {
    let flags = |on| alone(flag(|it| it.default_rollout = Some(split(on, "tenantId"))));
    let on = |flags: &CompiledFlags| {
        let tenants = (0..1_000).map(|number| format!("t{number}"));
        tenants.filter(|id| seen(flags, id, &json!({})).0.as_deref() == Some("on")).collect::<Vec<_>>()
    };
    let (tenth, half) = (on(&flags(10)), on(&flags(50)));
    assert!((60..150).contains(&tenth.len()), "{}", tenth.len());
    assert!((430..570).contains(&half.len()), "{}", half.len());
    assert!(tenth.iter().all(|id| half.contains(id)), "whoever has it keeps it while the share grows");
    assert_eq!(seen(&flags(10), "t1", &json!({})).1, Reason::Split);
    assert_eq!(on(&flags(100)).len(), 1_000);
}

#[test]
fn a_rollout_by_an_attribute_that_is_no_key_leaves_it_to_the_default() {
    let flags = alone(flag(|it| it.default_rollout = Some(split(99, "seat"))));
    for none in [json!({}), json!({"seat": null}), json!({"seat": ""}), json!({"seat": 0})] {
        assert_eq!(seen(&flags, "a", &none), off_by_default(), "{none}");
    }
    for none in [json!(true), json!(["a"]), json!({"a": 1})] {
        assert_eq!(seen(&flags, "a", &json!({ "seat": none })), off_by_default(), "{none}");
    }
    for key in [json!("someone"), json!(7)] {
        assert_eq!(seen(&flags, "a", &json!({ "seat": key })).0.as_deref(), Some("on"), "{key}");
    }
}

#[test]
fn a_rollout_that_has_come_to_all_needs_no_key() {
    let flags = alone(flag(|it| it.default_rollout = Some(split(100, "seat"))));
    assert_eq!(seen(&flags, "a", &json!({})).0.as_deref(), Some("on"));
    let nobody = Query { tenant: None, context: &Context::default(), now: NOW };
    let of_tenants = alone(flag(|it| it.default_rollout = Some(split(100, "tenantId"))));
    assert_eq!(of_tenants.evaluate(&nobody, "search").variant, Some(&variant("on")));
}

#[test]
fn a_progressive_rollout_changes_at_its_steps_and_they_are_foretold() {
    let second = |number| Timestamp::from_second(number).unwrap();
    let step = |number, on| Step { start_time: second(number), weights: split(on, "").rollout.weights };
    let mut progressive = split(0, "tenantId");
    progressive.rollout.steps = vec![step(100, 50), step(200, 100)];
    let flags = alone(flag(|it| it.default_rollout = Some(progressive)));
    let tenant_ids: Vec<_> = (0..200).map(|number| TenantId::parse(&format!("t{number}")).unwrap()).collect();
    let tier = TierId::parse("gold").unwrap();
    let context = Context::default();
    let on = |now: Timestamp| {
        let sees = |tenant_id: &&TenantId| {
            let facts = TenantFacts { tenant_id, tier: &tier, access: Access::Full };
            let query = Query { tenant: Some(facts), context: &context, now };
            flags.evaluate(&query, "search").variant == Some(&variant("on"))
        };
        tenant_ids.iter().filter(sees).count()
    };
    assert_eq!(on(second(99)), 0);
    assert!((60..140).contains(&on(second(100))), "{}", on(second(100)));
    assert_eq!(on(second(200)), 200);
    assert_eq!(flags.next_change(NOW), Some(second(100)));
    assert_eq!(flags.next_change(second(100)), Some(second(200)));
    assert_eq!(flags.next_change(second(200)), None);
    assert!(flags.changed_by_time(second(99), second(100)).contains("search"));
}

#[test]
fn a_flag_with_a_rule_is_never_static() {
    let flags = alone(flag(|it| it.rules = vec![rule("always", Body::Logic(json!("on")))]));
    assert_ne!(seen(&flags, "a", &json!({})).1, Reason::Static);
}

/// It was said that no rule applies, and nobody could find out why.
#[test]
fn a_rule_that_was_given_up_for_its_cost_is_explained_as_that() {
    let nested = json!({"some": [{"var": "xs"}, {"some": [{"var": "xs"}, {"==": [{"var": ""}, "none"]}]}]});
    let flags = alone(flag(|it| it.rules = vec![rule("costly", Body::Logic(json!({"if": [nested, "on"]})))]));
    let detail = |items: usize| {
        let attributes = json!({ "xs": vec!["x"; items] });
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let query = Query { tenant: None, context: &context, now: NOW };
        let layers = flags.explain(&query, Effort::Full, "search").unwrap();
        layers.into_iter().find(|layer| layer.layer == Layer::TargetingRule).unwrap().detail
    };
    assert_eq!(detail(2), "None of the flag's rules applies.");
    assert!(detail(5_000).contains("given up"), "{}", detail(5_000));
}
