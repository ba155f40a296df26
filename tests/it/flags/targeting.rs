//! Rules, segments and rollouts, by the API.

use tenantry::proto::v1;
use tonic::Status;

use super::{boolean, with_flag};
use crate::support::{Replica, fields, reason};

async fn create(replica: &mut Replica, flag: v1::Flag) -> Result<v1::Flag, Status> {
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.map(tonic::Response::into_inner)
}

pub(super) fn text(text: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) }
}

fn attributes(pairs: &[(&str, &str)]) -> prost_types::Struct {
    let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    prost_types::Struct { fields }
}

async fn seen(replica: &mut Replica, flag_key: &str, context: &[(&str, &str)]) -> v1::EvaluateFlagResponse {
    let request = v1::EvaluateFlagRequest {
        tenant_id: "finance".into(),
        flag_key: flag_key.into(),
        context: Some(attributes(context)),
    };
    replica.flags.evaluate_flag(request).await.unwrap().into_inner()
}

fn conditions(attribute: &str, operator: v1::ConditionOperator, values: &[&str]) -> Vec<v1::Condition> {
    let values = values.iter().map(|value| text(value)).collect();
    vec![v1::Condition { attribute: attribute.into(), operator: operator.into(), values }]
}

fn serve_on(conditions: Vec<v1::Condition>) -> v1::TargetingRule {
    v1::TargetingRule { conditions, variant: "on".into(), ..Default::default() }
}

#[tokio::test]
async fn rules_see_the_caller_s_attributes_under_the_tenant_s_own() {
    let mut replica = with_flag().await;
    let rules = vec![
        serve_on(conditions("email", v1::ConditionOperator::EndsWith, &["@example.com"])),
        serve_on(conditions("tier", v1::ConditionOperator::In, &["platinum"])),
    ];
    create(&mut replica, v1::Flag { rules, ..boolean("beta") }).await.unwrap();
    let by_email = seen(&mut replica, "beta", &[("email", "me@example.com")]).await;
    assert_eq!((by_email.layer(), by_email.variant.as_str()), (v1::FlagLayer::TargetingRule, "on"));
    assert_eq!((by_email.rule_id.as_str(), by_email.reason.as_str()), ("rule-1", "TARGETING_MATCH"));
    // The tenant is on gold; a caller cannot say otherwise.
    let pretended = seen(&mut replica, "beta", &[("tier", "platinum")]).await;
    assert_eq!(pretended.layer(), v1::FlagLayer::GlobalDefault);
    replica.stop().await;
}

#[tokio::test]
async fn a_segment_is_shared_changed_at_once_for_all_and_stays_while_it_is_used() {
    let mut replica = with_flag().await;
    let segment = |values: &[&str]| v1::Segment {
        segment_name: "europe".into(),
        conditions: conditions("country", v1::ConditionOperator::In, values),
        ..Default::default()
    };
    let request = v1::CreateSegmentRequest { segment: Some(segment(&["de", "fr"])), ..Default::default() };
    let made = replica.flags.create_segment(request).await.unwrap().into_inner();
    assert_eq!(made.conditions, segment(&["de", "fr"]).conditions, "conditions read back");
    assert!(made.logic.contains("country"), "{}", made.logic);
    let rules = vec![serve_on(conditions("", v1::ConditionOperator::InSegment, &["europe"]))];
    create(&mut replica, v1::Flag { rules, ..boolean("gdpr") }).await.unwrap();
    assert_eq!(seen(&mut replica, "gdpr", &[("country", "fr")]).await.variant, "on");
    let request = v1::UpdateSegmentRequest {
        segment: Some(segment(&["de"])),
        update_mask: Some(prost_types::FieldMask { paths: vec!["conditions".into()] }),
        ..Default::default()
    };
    replica.flags.update_segment(request).await.unwrap();
    assert_eq!(seen(&mut replica, "gdpr", &[("country", "fr")]).await.variant, "off");
    let get = v1::GetSegmentRequest { segment_name: "europe".into() };
    assert_eq!(replica.flags.get_segment(get).await.unwrap().into_inner().used_by, ["gdpr"]);
    let delete = || v1::DeleteSegmentRequest { segment_name: "europe".into(), ..Default::default() };
    let error = replica.flags.delete_segment(delete()).await.unwrap_err();
    assert_eq!(reason(&error), "SEGMENT_IN_USE");
    let delete_flag = v1::DeleteFlagRequest { flag_key: "gdpr".into(), ..Default::default() };
    replica.flags.delete_flag(delete_flag).await.unwrap();
    replica.flags.delete_segment(delete()).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn a_bad_rule_is_refused_with_its_place_and_what_is_wrong() {
    let mut replica = with_flag().await;
    let logic = |logic: &str| vec![v1::TargetingRule { logic: logic.into(), ..Default::default() }];
    for (rules, field) in [
        (logic("{"), "flag.rules[0].logic"),
        (logic(r#"{"no_such_operator": []}"#), "flag.rules[0].logic"),
        (logic(r#"{"if": [{"$ref": "nowhere"}, "on", null]}"#), "flag.rules[0].logic"),
        (vec![v1::TargetingRule::default()], "flag.rules[0]"),
        (vec![v1::TargetingRule { variant: "maybe".into(), ..Default::default() }], "flag.rules[0].variant"),
    ] {
        let error = create(&mut replica, v1::Flag { rules, ..boolean("bad") }).await.unwrap_err();
        assert_eq!(fields(&error), [field], "{error:?}");
    }
    let segment = |logic: &str| {
        let segment = v1::Segment { segment_name: "loop".into(), logic: logic.into(), ..Default::default() };
        v1::CreateSegmentRequest { segment: Some(segment), ..Default::default() }
    };
    let error = replica.flags.create_segment(segment(r#"{"$ref": "loop"}"#)).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENCY_CYCLE");
    let error = replica.flags.create_segment(segment(r#"{"$ref": "other"}"#)).await.unwrap_err();
    assert_eq!(reason(&error), "SEGMENT_NOT_FOUND");
    replica.stop().await;
}

#[tokio::test]
async fn rollouts_can_be_given_to_everybody_to_a_tier_and_to_one_tenant() {
    let mut replica = with_flag().await;
    let share = |on: i32, bucket_by: &str| v1::Rollout {
        weights: [("on", on), ("off", 100 - on)]
            .map(|(variant, weight)| v1::VariantWeight { variant: variant.into(), weight })
            .into(),
        bucket_by: bucket_by.into(),
        ..Default::default()
    };
    let flag = v1::Flag { default_rollout: Some(share(100, "")), ..boolean("shared") };
    let made = create(&mut replica, flag).await.unwrap();
    let kept = made.default_rollout.unwrap();
    assert_eq!((kept.bucket_by.as_str(), kept.seed.as_str()), ("tenantId", "shared"));
    let everybody = seen(&mut replica, "shared", &[]).await;
    assert_eq!((everybody.reason.as_str(), everybody.variant.as_str()), ("SPLIT", "on"));
    let tier = v1::SetTierDefaultRequest {
        flag_key: "shared".into(),
        tier_id: "gold".into(),
        rollout: Some(share(0, "")),
        ..Default::default()
    };
    replica.flags.set_tier_default(tier).await.unwrap();
    let of_tier = seen(&mut replica, "shared", &[]).await;
    assert_eq!((of_tier.layer(), of_tier.variant.as_str()), (v1::FlagLayer::TierDefault, "off"));
    let own = v1::SetTenantOverrideRequest {
        flag_key: "shared".into(),
        variant: String::new(),
        rollout: Some(share(50, "targetingKey")),
        ..super::set_tenant("")
    };
    replica.flags.set_tenant_override(own).await.unwrap();
    let mut variants = std::collections::BTreeSet::new();
    for user in 0..40 {
        let user = format!("user-{user}");
        let answer = seen(&mut replica, "shared", &[("targetingKey", &user)]).await;
        assert_eq!(answer.layer(), v1::FlagLayer::TenantOverride);
        variants.insert(answer.variant);
    }
    assert_eq!(variants.into_iter().collect::<Vec<_>>(), ["off", "on"]);
    let get = v1::GetFlagRequest { flag_key: "shared".into() };
    let flag = replica.flags.get_flag(get).await.unwrap().into_inner();
    assert_eq!(flag.tier_rollouts["gold"].weights[0].weight, 0);
    replica.stop().await;
}

#[tokio::test]
async fn a_context_that_is_too_large_or_nested_too_deep_is_refused() {
    let mut replica = with_flag().await;
    let large = "x".repeat((1 << 20) + 1);
    let request =
        |context| v1::EvaluateFlagRequest { tenant_id: "finance".into(), flag_key: "search".into(), context };
    let error =
        replica.flags.evaluate_flag(request(Some(attributes(&[("note", &large)])))).await.unwrap_err();
    assert_eq!(reason(&error), "MESSAGE_TOO_LARGE");
    let names: Vec<_> = (0..10_001).map(|number| format!("a{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let error = replica.flags.evaluate_flag(request(Some(attributes(&many)))).await.unwrap_err();
    // Counted before it is decoded.
    assert_eq!(
        (reason(&error).as_str(), fields(&error)),
        ("TOO_MANY_ITEMS", vec!["context.fields".to_owned()])
    );
    let list = |inner| prost_types::Value {
        kind: Some(prost_types::value::Kind::ListValue(prost_types::ListValue { values: vec![inner] })),
    };
    let deep = (0..33).fold(text("x"), |inner, _| list(inner));
    let fields_ = [("deep".to_owned(), deep)].into();
    let error = replica.flags.evaluate_flag(request(Some(prost_types::Struct { fields: fields_ }))).await;
    assert_eq!(fields(&error.unwrap_err()), ["context.deep"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_rule_that_is_nested_too_deeply_is_refused_in_words_with_the_way_there() {
    let mut replica = with_flag().await;
    let deep = |times: usize| {
        let inner = format!("{}true{}", r#"{"!": ["#.repeat(times), "]}".repeat(times));
        vec![v1::TargetingRule { logic: format!(r#"{{"if": [{inner}, "on"]}}"#), ..Default::default() }]
    };
    let error = create(&mut replica, v1::Flag { rules: deep(40), ..boolean("deep") }).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.rules[0].logic"]);
    let why = "must nest at most 64 deep; it goes deeper in if[0].![0].![0].![0]…";
    assert!(error.message().contains(why), "{error:?}");
    let error = create(&mut replica, v1::Flag { rules: deep(400), ..boolean("deep") }).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.rules[0].logic"]);
    let why = "must nest at most 64 deep; it goes much deeper at line 1, column ";
    assert!(error.message().contains(why), "{error:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_step_whose_time_has_passed_has_begun() {
    let mut replica = with_flag().await;
    let weights = |on: i32| {
        let shares = [("on", on), ("off", 100 - on)].into_iter();
        shares.map(|(name, weight)| v1::VariantWeight { variant: name.into(), weight }).collect::<Vec<_>>()
    };
    let step = |seconds, on| v1::RolloutStep {
        start_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        weights: weights(on),
    };
    let steps = vec![step(1_000_000_000, 0), step(1_500_000_000, 100), step(4_000_000_000, 0)];
    let rollout = v1::Rollout { weights: weights(0), steps, ..Default::default() };
    create(&mut replica, v1::Flag { default_rollout: Some(rollout), ..boolean("begun") }).await.unwrap();
    assert_eq!(seen(&mut replica, "begun", &[]).await.variant, "on", "the last of those that have passed");
    replica.stop().await;
}

fn update(flag: v1::Flag, path: &str) -> v1::UpdateFlagRequest {
    let update_mask = Some(prost_types::FieldMask { paths: vec![path.into()] });
    v1::UpdateFlagRequest { flag: Some(flag), update_mask, ..Default::default() }
}

#[tokio::test]
async fn a_rule_that_can_only_fail_is_refused_with_its_place_and_one_that_did_before_may_stay() {
    let mut replica = with_flag().await;
    let logic = |logic: &str| vec![v1::TargetingRule { logic: logic.into(), ..Default::default() }];
    for (rules, place) in [
        (logic(r#""onn""#), "gives \"onn\""),
        (logic(r#"{"==": [{"var": "tier"}, "gold"]}"#), "at ==:"),
        (logic(r#"{"if": [{"starts_with": [{"var": "a"}, 5]}, "on"]}"#), "at if[0].starts_with[1]:"),
        (logic(r#"{"fractional": [["on", 0], ["off", 0]]}"#), "at fractional:"),
    ] {
        let error = create(&mut replica, v1::Flag { rules, ..boolean("bad") }).await.unwrap_err();
        assert_eq!(fields(&error), ["flag.rules[0].logic"], "{error:?}");
        assert!(error.message().contains("can only fail") && error.message().contains(place), "{error:?}");
    }
    let logic_of_segment = r#"{"in": [{"var": "a"}, 5]}"#.into();
    let segment = v1::Segment { segment_name: "s".into(), logic: logic_of_segment, ..Default::default() };
    let request = v1::CreateSegmentRequest { segment: Some(segment), ..Default::default() };
    assert_eq!(fields(&replica.flags.create_segment(request).await.unwrap_err()), ["segment.logic"]);

    let good = v1::Flag { rules: logic(r#"{"if": [{"var": "a"}, "on", "off"]}"#), ..boolean("good") };
    create(&mut replica, good.clone()).await.unwrap();
    let worse = v1::Flag { rules: logic(r#"{"if": [{"var": "a"}, "onn", "off"]}"#), ..good.clone() };
    let error = replica.flags.update_flag(update(worse, "rules")).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.rules[0].logic"], "{error:?}");
    let yes = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
    let variants = [("yes".to_owned(), yes.clone()), ("off".to_owned(), yes)].into_iter().collect();
    let error = replica.flags.update_flag(update(v1::Flag { variants, ..good.clone() }, "variants")).await;
    assert_eq!(fields(&error.unwrap_err()), ["flag.rules[0].logic"]);

    // One that is older than the check: everything else of the flag can be changed.
    let (client, connection) =
        tokio_postgres::connect(&replica.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let older =
        "UPDATE flag SET rules = replace(rules::text, '\"on\"', '\"onn\"')::jsonb WHERE flag_key = 'good'";
    assert_eq!(client.execute(older, &[]).await.unwrap(), 1);
    let setup = crate::support::Setup { no_targets: true, ..Default::default() };
    let mut other = Replica::on(&replica.database_url, &setup).await;
    let owned = v1::Flag { owner: "core".into(), ..good };
    other.flags.update_flag(update(owned, "owner")).await.unwrap();
    other.stop().await;
    replica.stop().await;
}

/// Ten such rules in two requests hung the whole server for 50 s, its probes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_to_judge_holds_up_no_other_call_and_is_refused_by_what_it_comes_to() {
    let mut replica = with_flag().await;
    // Each flag is allowed by itself; together they come to more than all flags may.
    let pattern = |flag: usize, place: usize| format!(r"^\w\w\w{flag}-{place}$");
    let flag = |number: usize| {
        let matches =
            |place| serve_on(conditions("x", v1::ConditionOperator::Matches, &[&pattern(number, place)]));
        v1::Flag { rules: (0..20).map(matches).collect(), ..boolean(&format!("rx-{number:02}")) }
    };
    let one = v1::CreateFlagRequest { flag: Some(flag(0)), validate_only: true, ..Default::default() };
    replica.flags.create_flag(one).await.unwrap();
    let set = v1::ApplyFlagsRequest { flags: (0..60).map(flag).collect(), ..Default::default() };
    let applies = (0..3).map(|_| {
        let (mut flags, set) = (replica.flags.clone(), set.clone());
        tokio::spawn(async move { flags.apply_flags(set).await.unwrap_err() })
    });
    let applies: Vec<_> = applies.collect();
    let mut answered = 0;
    while applies.iter().any(|apply| !apply.is_finished()) {
        seen(&mut replica, "beta", &[]).await;
        answered += 1;
    }
    assert!(answered > 20, "only {answered} calls were answered beside them");
    for apply in applies {
        let refused = apply.await.unwrap();
        assert_eq!(reason(&refused), "INVALID_FIELD");
        assert!(fields(&refused)[0].strip_suffix(".rules").is_some(), "{:?}", fields(&refused));
    }
    let too_large = serve_on(conditions("x", v1::ConditionOperator::Matches, &[r"\w{20}"]));
    let flag = v1::Flag { rules: vec![too_large], ..boolean("rx") };
    let refused = create(&mut replica, flag).await.unwrap_err();
    assert_eq!(fields(&refused), ["flag.rules[0].conditions"]);
    replica.stop().await;
}

/// Four hundred flags whose rules look through the list of a client.
async fn with_costly_flags() -> (Replica, impl Fn(usize, Vec<String>) -> v1::EvaluateFlagsRequest) {
    let mut replica = with_flag().await;
    let logic = r#"{"if": [{"some": [{"var": "roles"}, {"in": [{"var": ""}, ["admin"]]}]}, "on"]}"#;
    let flag = |place: usize| {
        let rule = v1::TargetingRule { logic: logic.into(), ..Default::default() };
        v1::Flag { rules: vec![rule], ..boolean(&format!("costly-{place:03}")) }
    };
    let set = v1::ApplyFlagsRequest { flags: (0..400).map(flag).collect(), ..Default::default() };
    replica.flags.apply_flags(set).await.unwrap();
    let all = |roles: usize, flag_keys| {
        let values = vec![text("viewer"); roles];
        let kind = prost_types::value::Kind::ListValue(prost_types::ListValue { values });
        let roles = prost_types::Value { kind: Some(kind) };
        let context = Some(prost_types::Struct { fields: [("roles".to_owned(), roles)].into() });
        v1::EvaluateFlagsRequest { tenant_id: "finance".into(), flag_keys, context }
    };
    (replica, all)
}

/// One client's list made the rules of all flags cost seconds.
#[tokio::test]
async fn a_context_that_makes_all_rules_together_cost_too_much_is_refused() {
    let (mut replica, all) = with_costly_flags().await;
    let few = replica.flags.evaluate_flags(all(100, vec![])).await.unwrap().into_inner();
    assert_eq!(few.flags.len(), 401);
    let names: Vec<_> = (0..400).map(|place| format!("costly-{place:03}")).collect();
    for flag_keys in [vec![], names] {
        let refused = replica.flags.evaluate_flags(all(9_900, flag_keys)).await.unwrap_err();
        assert_eq!(
            (reason(&refused).as_str(), fields(&refused)),
            ("INVALID_FIELD", vec!["context".to_owned()])
        );
    }
    replica.stop().await;
}

/// Sixteen clients that asked for answers of 40 ms each, again and again, held both serving threads: a probe took seconds.
#[tokio::test]
async fn costly_answers_are_made_where_no_other_call_waits() {
    let (mut replica, all) = with_costly_flags().await;
    let beside = || {
        let (mut flags, asked) = (replica.flags.clone(), all(900, vec![]));
        tokio::spawn(async move { flags.evaluate_flags(asked).await.unwrap().into_inner().flags.len() })
    };
    let costly: Vec<_> = (0..12).map(|_| beside()).collect();
    let mut answered = 0;
    while costly.iter().any(|call| !call.is_finished()) {
        seen(&mut replica, "beta", &[]).await;
        answered += 1;
    }
    // Twelve took turns. On the threads that serve there was no more than one answer between two of them.
    assert!(answered > 100, "only {answered} calls were answered beside them");
    for call in costly {
        assert_eq!(call.await.unwrap(), 401);
    }
    replica.stop().await;
}
