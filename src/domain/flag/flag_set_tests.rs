use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::super::choice::{Choice, Split, TenantOverride};
use super::super::dependencies::GROUP_MAX;
use super::super::evaluate::TenantFacts;
use super::super::settings::{Kind, Prerequisite, Settings};
use super::super::targeting::{Body, TargetingRule};
use super::super::value::{FlagType, Value};
use super::in_process::CutIn;
use super::*;
use crate::domain::ids::{Revision, TenantId, TierId};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{
    Context, HashVersion, Input, Rollout, Rule, Segments, Selection, TARGETING_KEY, Weight,
};

#[path = "flag_set_alike_tests.rs"]
mod alike;
#[path = "flag_set_attributes_tests.rs"]
mod attributes;
#[path = "flag_set_differences_tests.rs"]
mod differences;
#[path = "flag_set_names_tests.rs"]
mod names;
#[path = "flag_set_off_tests.rs"]
mod off;
#[path = "flag_set_schema_tests.rs"]
mod schema;

fn variant(name: &str) -> VariantName {
    VariantName::parse(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

/// A boolean flag that is off by default.
fn settings(key: &str) -> Settings {
    let mut settings = Settings::new(FlagKey::parse(key).unwrap(), FlagType::Boolean);
    settings.fill_boolean_defaults();
    settings
}

fn rule(logic: Json) -> TargetingRule {
    TargetingRule { id: "r".to_owned(), description: String::new(), body: Body::Logic(logic) }
}

fn build(flags: Vec<Settings>, overrides: Vec<TenantOverride>) -> CompiledFlags {
    let flags =
        flags.into_iter().map(|settings| Arc::new(settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH)));
    overrides
        .into_iter()
        .map(Arc::new)
        .fold(flags.fold(CompiledFlags::new(), CompiledFlags::with_flag), CompiledFlags::with_override)
}

/// What finance of tier gold gets: default and rule of one flag.
fn seen(flags: &CompiledFlags, key: &str) -> (String, Option<Json>) {
    let (default, targeting, _) = seen_with(flags, key, Access::Full);
    (default, targeting)
}

/// The same in any state, and whether it is cut.
fn seen_with(flags: &CompiledFlags, key: &str, access: Access) -> (String, Option<Json>, bool) {
    let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
    let attributes = [("tenantId", "finance"), ("tier", "gold")];
    let attributes: Map<String, Json> =
        attributes.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    let context = Context::new(attributes).unwrap();
    let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access });
    let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
    let all = flags.resolved(&query);
    let found = all.into_iter().find(|found| found.flag.key().as_str() == key).unwrap();
    let default = found.default.map(ToString::to_string).unwrap_or_default();
    (default, found.targeting, found.is_cut)
}

fn vip() -> Json {
    json!({"==": [{"var": "plan"}, "vip"]})
}

#[test]
fn what_the_registry_knows_is_decided() {
    let own = |tenant: &str| TenantOverride {
        tenant: TenantId::parse(tenant).unwrap(),
        flag: FlagKey::parse("own").unwrap(),
        choice: Choice::Variant(variant("on")),
        reason: String::new(),
        expire_time: None,
        revision: Revision(2),
        update_time: Timestamp::UNIX_EPOCH,
    };
    let flags = build(vec![settings("own"), settings("other")], vec![own("finance")]);
    assert_eq!(seen(&flags, "own"), ("on".to_owned(), None));
    assert_eq!(seen(&flags, "other"), ("off".to_owned(), None));
}

#[test]
fn a_rule_of_the_client_s_own_attributes_is_left_as_it_is() {
    let mut flag = settings("ruled");
    let logic = json!({"if": [vip(), "on", null]});
    flag.rules = vec![rule(logic.clone())];
    assert_eq!(seen(&build(vec![flag], vec![]), "ruled"), ("off".to_owned(), Some(logic)));
}

#[test]
fn the_part_of_a_rule_that_is_about_tenants_is_gone() {
    let among = |tenants: &[&str]| json!({"in": [{"var": "tenantId"}, tenants]});
    let mut flag = settings("ruled");
    flag.rules = vec![rule(json!({"if": [{"and": [among(&["finance", "payroll"]), vip()]}, "on", null]}))];
    let left = json!({"if": [vip(), "on", null]});
    assert_eq!(seen(&build(vec![flag.clone()], vec![]), "ruled"), ("off".to_owned(), Some(left)));
    flag.rules = vec![rule(json!({"if": [{"or": [among(&["payroll"]), vip()]}, "on", among(&["payroll"])]}))];
    let left = seen(&build(vec![flag.clone()], vec![]), "ruled").1.unwrap();
    assert!(!left.to_string().contains("payroll"), "{left}");
    flag.rules = vec![rule(json!({"if": [among(&["payroll"]), "on", null]}))];
    assert_eq!(seen(&build(vec![flag], vec![]), "ruled"), ("off".to_owned(), None));
}

#[test]
fn a_second_rule_has_its_turn_where_the_first_says_nothing() {
    let mut flag = settings("ruled");
    let staff = json!({"==": [{"var": "staff"}, true]});
    flag.rules = vec![rule(json!({"if": [vip(), "on", null]})), rule(json!({"if": [staff, "on", "off"]}))];
    let joined = json!({"if": [vip(), "on", staff, "on", "off"]});
    assert_eq!(seen(&build(vec![flag], vec![]), "ruled").1, Some(joined));
}

#[test]
fn a_prerequisite_that_hangs_on_the_client_becomes_a_part_of_the_rule() {
    let mut base = settings("base");
    base.rules = vec![rule(json!({"if": [vip(), "on", null]}))];
    let mut flag = settings("needs");
    flag.default_variant = Some(variant("on"));
    flag.prerequisites = vec![Prerequisite { flag_key: base.key.clone(), variants: [variant("on")].into() }];
    let (default, rule) = seen(&build(vec![base.clone(), flag.clone()], vec![]), "needs");
    assert_eq!(default, "on");
    let expected = json!({"if": [{"!": [{"in": [{"if": [vip(), "on", "off"]}, ["on"]]}]}, "off", null]});
    assert_eq!(rule, Some(expected));
    base.rules.clear();
    assert_eq!(seen(&build(vec![base, flag], vec![]), "needs"), ("off".to_owned(), None));
}

/// A flag of which a share is on.
fn shared(on: u32, bucket_by: &str, hash_version: HashVersion) -> CompiledFlags {
    let weight = |name: &str, weight| Weight { variant: variant(name), weight };
    let weights = vec![weight("on", on), weight("off", 100 - on)];
    let rollout = Rollout { seed: "s".to_owned(), weights, steps: Vec::new() };
    let mut flag = settings("shared");
    flag.default_rollout = Some(Split { rollout, bucket_by: bucket_by.to_owned() });
    flag.hash_version = hash_version;
    build(vec![flag], vec![])
}

#[test]
fn a_share_of_users_is_left_to_the_provider_and_a_share_of_tenants_is_not() {
    let seen = |on, bucket_by| seen(&shared(on, bucket_by, HashVersion::V2), "shared");
    assert_eq!(seen(99, "tenantId"), ("on".to_owned(), None));
    assert_eq!(seen(100, "userId"), ("on".to_owned(), None), "that is no share any more");
    let (default, rule) = seen(99, "userId");
    let text = rule.unwrap().to_string();
    assert_eq!(default, "off");
    assert!(
        text.contains("fractional") && text.contains("userId") && !text.contains("targetingKey"),
        "{text}"
    );
}

/// Rules of all kinds: of the client's attributes, of the tenant's, and of both.
fn some_rule() -> impl Strategy<Value = Json> {
    let mine = json!({"in": [{"var": "tenantId"}, ["finance", "payroll"]]});
    let theirs = json!({"==": [{"var": "tenantId"}, "payroll"]});
    let condition = prop::sample::select(vec![vip(), json!({"==": [{"var": "staff"}, true]}), mine, theirs]);
    let conditions = condition.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| json!({"and": parts})),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| json!({"or": parts})),
            inner.prop_map(|inner| json!({"!": [inner]})),
        ]
    });
    let shares = [json!(["on", 1]), json!(["off", 1])];
    let by_email = json!({"fractional": [{"or": [{"var": "email"}, {"var": "mail"}]}, shares[0], shares[1]]});
    let by_key = json!({ "fractional": shares });
    let n = json!({"var": "n"});
    let unlike = [json!(true), json!(2), vip(), json!({"or": [vip(), n]}), n, json!({"nope": [1]})];
    let given = [json!("on"), json!("off"), Json::Null, by_email, by_key].into_iter().chain(unlike);
    let given = prop::sample::select(given.collect::<Vec<_>>());
    (conditions, given.clone(), given).prop_map(|(condition, yes, no)| json!({"if": [condition, yes, no]}))
}

/// Flags of which each may hang on those before it, and exclude those after it.
const FLAGS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// These flags.
fn some_flags() -> impl Strategy<Value = Vec<Settings>> {
    let groups = prop::sample::subsequence(vec!["group", "other"], 0..=2);
    let one =
        (prop::collection::vec(some_rule(), 0..3), any::<[bool; 4]>(), groups, prop::bool::weighted(0.2));
    prop::collection::vec(one, FLAGS.len()).prop_map(|flags| {
        let mut made: Vec<Settings> = Vec::new();
        for (name, (rules, [is_on, needs, is_killed, is_switch], groups, is_disabled)) in
            FLAGS.into_iter().zip(flags)
        {
            let mut flag = settings(name);
            flag.state = if is_disabled { FlagState::Disabled } else { FlagState::Enabled };
            flag.rules = rules.into_iter().map(rule).collect();
            flag.default_variant = Some(variant(if is_on { "on" } else { "off" }));
            flag.off_variant = Some(variant("off"));
            flag.variants
                .extend([("true", true), ("2", false)].map(|(name, is)| (variant(name), Value::Boolean(is))));
            let before = made.last().map(|flag| flag.key.clone());
            if let Some(before) = before.clone().filter(|_| needs) {
                flag.prerequisites =
                    vec![Prerequisite { flag_key: before, variants: ["on", "true"].map(variant).into() }];
            }
            flag.kill_switch = before.filter(|_| is_killed);
            flag.conflict_groups = groups.into_iter().map(group).collect();
            flag.priority = -i32::try_from(made.len()).unwrap();
            flag.kind = if is_switch { Kind::KillSwitch } else { Kind::Release };
            made.push(flag);
        }
        made
    })
}

proptest! {
    /// What a provider makes of the set is what the registry would have answered, whatever the client's attributes.
    #[test]
    fn a_provider_comes_to_the_registry_s_answer(
        flags in some_flags(), [plan, staff, full] in any::<[bool; 3]>(), [user, email] in ["[a-d]?", "[a-d]?"],
        n in prop::sample::select(vec![json!("on"), json!("x"), json!(true), json!(2), json!(0), Json::Null]),
    ) {
        let flags = build(flags, vec![]);
        let plan = if plan { "vip" } else { "basic" };
        let mut attributes = json!({"plan": plan, "staff": staff, "n": n, "tenantId": "finance", "tier": "gold"});
        for (name, text) in [(TARGETING_KEY, user), ("mail", email)] {
            if !text.is_empty() {
                attributes[name] = json!(text);
            }
        }
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
        let access = if full { Access::Full } else { Access::ReadOnly };
        let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access });
        let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
        for key in FLAGS {
            let (default, targeting, is_cut) = seen_with(&flags, key, access);
            let flag = flags.flag(key).unwrap();
            let provider = names::given(&flag.settings, (&default, targeting.as_ref()), &query);
            let registry = flags.evaluate(&query, key).variant.map(ToString::to_string);
            // One whose rule would be too large is answered as for nobody.
            prop_assert!(is_cut || registry.clone().unwrap_or_default() == provider, "{key}: {provider}, {registry:?}");
        }
    }
}

#[test]
fn a_long_chain_is_resolved_in_proportion_to_its_length() {
    const LENGTH: usize = 1_000;
    let name = |place: usize| FlagKey::parse(&format!("flag{place:04}")).unwrap();
    let link = |place: usize| {
        let mut flag = settings(name(place).as_str());
        flag.default_variant = Some(variant("on"));
        let needed = place.checked_sub(1).map(name);
        flag.prerequisites
            .extend(needed.map(|flag_key| Prerequisite { flag_key, variants: [variant("on")].into() }));
        flag
    };
    let flags = build((0..LENGTH).map(link).collect(), Vec::new());
    let context = Context::default();
    let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
    let mut resolver = Resolver::new(&flags, &query);
    let all = resolver.resolve_all(&flags.flags().map(|flag| flag.key()).collect::<Vec<_>>());
    assert_eq!(all.len(), LENGTH);
    assert!(all.iter().all(|found| found.default == Some(&variant("on")) && found.targeting.is_none()));
    assert!((LENGTH..=5 * LENGTH).contains(&resolver.memo.steps()), "{}", resolver.memo.steps());
}

#[test]
fn a_flag_whose_kill_switch_is_missing_is_off_whatever_a_client_brings() {
    let mut guarded = settings("guarded");
    guarded.kill_switch = Some(FlagKey::parse("gone").unwrap());
    guarded.rules = vec![rule(json!({"if": [vip(), "on", null]}))];
    assert_eq!(seen(&build(vec![guarded], Vec::new()), "guarded"), ("off".to_owned(), None));
}

#[test]
fn a_flag_whose_kill_switch_is_disabled_or_archived_is_off_whatever_a_client_brings() {
    for state in [FlagState::Disabled, FlagState::Archived] {
        let mut switch = settings("stop");
        switch.state = state;
        let mut guarded = settings("guarded");
        guarded.kill_switch = Some(switch.key.clone());
        guarded.rules = vec![rule(json!({"if": [vip(), "on", null]}))];
        guarded.default_variant = Some(variant("on"));
        assert_eq!(seen(&build(vec![switch, guarded], Vec::new()), "guarded"), ("off".to_owned(), None));
    }
}

#[test]
fn a_flag_that_needs_a_broken_one_is_off_whatever_a_client_brings() {
    let mut base = settings("base");
    base.rules = vec![rule(json!({"no_such_operator": []}))];
    let mut flag = settings("needs");
    flag.default_variant = Some(variant("on"));
    flag.prerequisites = vec![Prerequisite { flag_key: base.key.clone(), variants: [variant("on")].into() }];
    assert_eq!(seen(&build(vec![base, flag], Vec::new()), "needs"), ("off".to_owned(), None));
}

/// Each was worked into all after it, with all that it excluded in turn: from the seventh on the rule was too large.
#[test]
fn a_whole_group_of_flags_with_rules_of_client_attributes_is_handed_out_as_it_is() {
    let name = |place: usize| format!("flag{place:03}");
    let member = |place: usize| {
        let mut flag = settings(&name(place));
        flag.rules = vec![rule(json!({"if": [{"==": [{"var": "plan"}, name(place)]}, "on", null]}))];
        flag.rules.push(rule(json!({"if": [{"==": [{"var": "also"}, name(place)]}, "on", null]})));
        flag.conflict_groups = [group("group")].into();
        flag
    };
    let flags = build((0..GROUP_MAX).map(member).collect(), Vec::new());
    let given = all_seen(&flags);
    let rules: Vec<_> = (0..GROUP_MAX)
        .map(|place| {
            let (default, targeting, levels) = &given[&name(place)];
            assert_eq!((default.as_str(), *levels), ("off", if place == 0 { 1 } else { 2 }), "{place}");
            Rule::compile(targeting.as_ref().unwrap(), &Segments::new(), HashVersion::V2).unwrap()
        })
        .collect();
    for (plan, also) in [(3, 70), (70, 3), (GROUP_MAX - 1, 0), (8, 8), (GROUP_MAX, GROUP_MAX - 1)] {
        let attributes = [("plan", name(plan)), ("also", name(also))];
        let attributes =
            attributes.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
        let context = Context::new(attributes).unwrap();
        for (place, rule) in rules.iter().enumerate() {
            let input = Input { flag_key: &name(place), now: Timestamp::UNIX_EPOCH, context: &context };
            let is_on = rule.select(&input) == Selection::Variant("on".into());
            assert_eq!(is_on, place == plan.min(also), "{place} for {plan} and {also}");
        }
    }
    let in_process = InProcess::new(&flags, Timestamp::UNIX_EPOCH);
    assert!((0..GROUP_MAX).all(|place| in_process.cut_in(&name(place)) == CutIn::default()));
}

#[test]
fn what_is_given_without_a_client_s_attributes_is_known_with_all_that_hangs_on_it() {
    let nodes: Vec<_> =
        (0..GRAPH).map(|place: usize| (place.checked_sub(1).into_iter().collect(), true)).collect();
    let names: Vec<String> = (0..GRAPH).map(|place| format!("f{place:02}")).collect();
    let flags = graph(&nodes, &names);
    for order in [names.clone(), names.iter().rev().cloned().collect()] {
        let in_process = InProcess::new(&flags, Timestamp::UNIX_EPOCH);
        for key in order {
            let place = names.iter().position(|name| *name == key).unwrap();
            let is_cut = place >= LEVELS_MAX;
            let sets = CutIn { tenants: is_cut, without_tenant: is_cut };
            assert_eq!(in_process.cut_in(&key), sets, "{key}");
        }
    }
}

/// How many flags there are in a graph.
const GRAPH: usize = 14;

/// For each flag, up to two of those before it that it needs, and whether it has a rule of a client's attribute. Mostly
/// the one right before: chains longer than what is worked into one rule.
fn some_graph() -> impl Strategy<Value = Vec<(Vec<usize>, bool)>> {
    let one = |place: usize| {
        let back = prop_oneof![4 => Just(1), 1 => 1..=place.max(1)];
        let needed = prop::collection::vec(back, 0..=2);
        let needed =
            needed.prop_map(move |back| back.into_iter().filter_map(|by| place.checked_sub(by)).collect());
        (needed, prop::bool::weighted(0.7))
    };
    (0..GRAPH).map(one).collect::<Vec<_>>()
}

/// The flags of a graph, the one at a place named by `names`.
fn graph(nodes: &[(Vec<usize>, bool)], names: &[String]) -> CompiledFlags {
    let flag = |(place, (needed, has_rule)): (usize, &(Vec<usize>, bool))| {
        let mut flag = settings(&names[place]);
        flag.default_variant = Some(variant("on"));
        let needs = |other: &usize| Prerequisite {
            flag_key: FlagKey::parse(&names[*other]).unwrap(),
            variants: [variant("on")].into(),
        };
        flag.prerequisites = needed.iter().map(needs).collect();
        flag.rules.extend(has_rule.then(|| rule(json!({"if": [vip(), "off", null]}))));
        flag
    };
    build(nodes.iter().enumerate().map(flag).collect(), Vec::new())
}

/// How many flags are worked into the rule of each, itself counted, where there is no bound.
fn levels(nodes: &[(Vec<usize>, bool)]) -> Vec<usize> {
    nodes.iter().fold(Vec::new(), |mut levels, (needed, has_rule)| {
        let below = needed.iter().map(|other| levels[*other]).max().unwrap_or(0);
        levels.push(if below > 0 || *has_rule { below + 1 } else { 0 });
        levels
    })
}

/// What finance gets of every flag: default, rule, and how many flags are worked into it.
fn all_seen(flags: &CompiledFlags) -> HashMap<String, (String, Option<Json>, usize)> {
    let tenant_id = TenantId::parse("finance").unwrap();
    let attributes = [("tenantId".to_owned(), json!("finance"))].into_iter().collect();
    let context = Context::new(attributes).unwrap();
    let tier = TierId::parse("gold").unwrap();
    let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full });
    let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
    let mut resolver = Resolver::new(flags, &query);
    flags.flags().for_each(|flag| resolver.resolve(flag.key()));
    let seen = |(key, found): (&str, Found<'_>)| {
        let default = found.resolved.default.map(ToString::to_string).unwrap_or_default();
        (key.to_owned(), (default, found.resolved.targeting, found.levels))
    };
    resolver.found.into_iter().map(seen).collect()
}

/// What a provider makes of a default and a rule.
fn provided(key: &str, flag: (&str, Option<&Json>), query: &Query<'_>) -> String {
    provided_by(HashVersion::V2, key, flag, query)
}

/// The same of one that hashes as it does in this version.
fn provided_by(
    hash: HashVersion,
    key: &str,
    (default, targeting): (&str, Option<&Json>),
    query: &Query<'_>,
) -> String {
    let compiled = targeting.map(|source| Rule::compile(source, &Segments::new(), hash).unwrap());
    let input = Input { flag_key: key, now: query.now, context: query.context };
    match compiled.as_ref().map(|rule| rule.select(&input)) {
        Some(Selection::Variant(name)) => name.into_owned(),
        _ => default.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_worked_into_a_rule_does_not_depend_on_the_order_of_keys(
        nodes in some_graph(), order in Just((0..GRAPH).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let in_order: Vec<String> = (0..GRAPH).map(|place| format!("f{place:02}")).collect();
        let shuffled: Vec<String> = order.iter().map(|place| format!("f{place:02}")).collect();
        let (seen, others) = (all_seen(&graph(&nodes, &in_order)), all_seen(&graph(&nodes, &shuffled)));
        for place in 0..GRAPH {
            prop_assert_eq!(&seen[&in_order[place]], &others[&shuffled[place]], "{}", place);
        }
    }

    #[test]
    fn a_provider_comes_to_the_registry_s_answer_through_as_many_flags_as_are_worked_in(
        nodes in some_graph(), plan in any::<bool>(),
    ) {
        let names: Vec<String> = (0..GRAPH).map(|place| format!("f{place:02}")).collect();
        let flags = graph(&nodes, &names);
        let seen = all_seen(&flags);
        let attributes = [("plan", if plan { "vip" } else { "basic" }), ("tenantId", "finance"), ("tier", "gold")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
        let context = Context::new(attributes).unwrap();
        let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
        let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full });
        let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
        // Those that hang on one that was answered without the client's attributes have no more of them.
        let mut is_whole = Vec::new();
        for (place, levels) in levels(&nodes).into_iter().enumerate() {
            let (default, targeting, found) = &seen[&names[place]];
            is_whole.push(*found == levels && nodes[place].0.iter().all(|other| is_whole[*other]));
            prop_assert!(*found <= LEVELS_MAX);
            prop_assert!(is_whole[place] || levels > 3, "three levels always have room");
            if is_whole[place] {
                let provider = provided(&names[place], (default, targeting.as_ref()), &query);
                let registry = flags.evaluate(&query, &names[place]).variant.map(ToString::to_string);
                prop_assert_eq!(Some(provider), registry, "{}", place);
            }
        }
    }
}
