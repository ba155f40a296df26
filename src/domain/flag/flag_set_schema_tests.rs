//! Whether rules are handed out as flagd's published schema has them: providers refuse or warn of others.

use std::cell::{LazyCell, RefCell};

use regex_automata::meta::Regex;

use super::super::super::value::Value;
use super::*;

/// The interface <https://flagd.dev/schema/v0/targeting.json> of version 0.2.13 of flagd's schemas (Apache License 2.0), without its words.
const SCHEMA: &str = include_str!("flag_set/targeting_schema.json");

/// Whether a value is as a schema says, as far as flagd's says anything.
fn conforms(schema: &Json, whole: &Json, value: &Json) -> bool {
    let all_of = |name: &str, holds: &dyn Fn(&Json) -> bool| schema.get(name).is_none_or(holds);
    let is = |schema: &Json, value: &Json| conforms(schema, whole, value);
    let count = |schemas: &Json| schemas.as_array().unwrap().iter().filter(|it| is(it, value)).count();
    let length = |bound: &dyn Fn(u64) -> bool| value.as_array().is_none_or(|items| bound(items.len() as u64));
    let matches =
        |pattern: &Json| value.as_str().is_none_or(|text| is_match(pattern.as_str().unwrap(), text));
    all_of("$ref", &|to| is(whole.pointer(to.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), value))
        && all_of("type", &|name| match name.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other}"),
        })
        && all_of("anyOf", &|schemas| count(schemas) > 0)
        && all_of("oneOf", &|schemas| count(schemas) == 1)
        && all_of("not", &|schema| !is(schema, value))
        && all_of("enum", &|values| values.as_array().unwrap().contains(value))
        && all_of("pattern", &matches)
        && all_of("minItems", &|least| length(&|count| count >= least.as_u64().unwrap()))
        && all_of("maxItems", &|most| length(&|count| count <= most.as_u64().unwrap()))
        && value.as_array().is_none_or(|items| {
            items.iter().enumerate().all(|(place, item)| {
                let of_item = match schema.get("items") {
                    Some(Json::Array(schemas)) => {
                        schemas.get(place).or_else(|| schema.get("additionalItems"))
                    }
                    other => other,
                };
                of_item.is_none_or(|schema| is(schema, item))
            })
        })
        && value.as_object().is_none_or(|members| {
            members.iter().all(|(name, member)| {
                let fixed = schema.pointer("/properties").and_then(|all| all.get(name));
                let by_pattern = schema.pointer("/patternProperties").and_then(Json::as_object);
                let by_pattern = by_pattern
                    .into_iter()
                    .flatten()
                    .find_map(|(pattern, schema)| is_match(pattern, name).then_some(schema));
                match fixed.or(by_pattern) {
                    Some(schema) => is(schema, member),
                    None => schema.get("additionalProperties") != Some(&json!(false)),
                }
            })
        })
}

thread_local! {
    static TARGETING: LazyCell<Json> = LazyCell::new(|| serde_json::from_str(SCHEMA).unwrap());
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn is_match(pattern: &str, text: &str) -> bool {
    PATTERNS.with_borrow_mut(|known| {
        known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
    })
}

fn is_targeting(value: &Json) -> bool {
    TARGETING.with(|schema| conforms(schema, schema, value))
}

/// A flag with rules; what a tenant gets of it: default, rule, and whether it is cut.
fn left(rules: &[Json], tenant: &str) -> (String, Option<Json>, bool) {
    let mut flag = settings("ruled");
    flag.variants.extend([true, false].map(|is| (variant(&is.to_string()), Value::Boolean(is))));
    flag.rules = rules.iter().cloned().map(rule).collect();
    for (place, rule) in flag.rules.iter_mut().enumerate() {
        rule.id = format!("r{place}");
    }
    let flags = build(vec![flag], Vec::new());
    let attributes = json!({"tenantId": tenant, "tier": "gold", "status": "ACTIVE"});
    let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
    let (tenant_id, tier) = (TenantId::parse(tenant).unwrap(), TierId::parse("gold").unwrap());
    let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full });
    let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
    let found = flags.resolved(&query).swap_remove(0);
    (found.default.map(ToString::to_string).unwrap_or_default(), found.targeting, found.is_cut)
}

#[test]
fn the_schema_is_read_as_it_is_meant() {
    for good in [
        json!({}),
        json!({"if": [true, "on"]}),
        json!({"in": [{"var": "a"}, ["x"]]}),
        json!({"var": ["a", ""]}),
    ] {
        assert!(is_targeting(&good), "{good}");
    }
    for bad in [
        json!("on"),
        json!(true),
        json!(["on"]),
        Json::Null,
        json!({"no_such": []}),
        json!({"if": []}),
        json!({"==": [1]}),
        json!({"if": [{"no_such": []}, "on"]}),
        json!({"sem_ver": [{"var": "a"}, "<>", "1.0.0"]}),
        json!({"starts_with": [5, "a"]}),
        json!({"if": [true], "or": [true]}),
    ] {
        assert!(!is_targeting(&bad), "{bad}");
    }
}

/// Python's provider failed such a flag, and Go's warned of the whole set.
#[test]
fn a_rule_that_comes_to_one_variant_is_handed_out_as_an_operation() {
    let staff = json!({"ends_with": [{"var": "email"}, "@ours.com"]});
    let is = |tenant: &str| json!({"==": [{"var": "tenantId"}, tenant]});
    let on = || json!({"if": [true, "on"]});
    let off = || json!({"if": [true, "off"]});
    let cases = [
        (json!({"if": [{"or": [staff, is("gamma")]}, "on", "off"]}), Some(on())),
        (json!({"if": [{"and": [staff, is("beta")]}, "on", "off"]}), Some(off())),
        (json!({"if": [{"and": [staff, is("beta")]}, "on", null]}), None),
        (json!({"if": [is("beta"), "off", is("gamma"), "on", staff, "off"]}), Some(on())),
        // Its name is its value.
        (
            json!({"==": [{"cat": [{"var": "tenantId"}, {"var": "user"}]}, "beta"]}),
            Some(json!({"if": [true, "false"]})),
        ),
    ];
    for (logic, wanted) in cases {
        assert_eq!(left(std::slice::from_ref(&logic), "gamma").1, wanted, "{logic}");
    }
}

#[test]
fn a_rule_after_one_that_comes_to_one_variant_is_gone() {
    let first = json!({"if": [{"or": [vip(), {"==": [{"var": "tenantId"}, "gamma"]}]}, "on", null]});
    let second = json!({"if": [{"==": [{"var": "staff"}, true]}, "off", null]});
    assert_eq!(left(&[first.clone(), second.clone()], "gamma").1, Some(json!({"if": [true, "on"]})));
    assert_eq!(
        left(&[second, first], "gamma").1,
        Some(json!({"if": [{"==": [{"var": "staff"}, true]}, "off", "on"]}))
    );
}

#[test]
fn what_hangs_on_a_flag_with_one_variant_is_decided() {
    let mut base = settings("base");
    base.rules =
        vec![rule(json!({"if": [{"or": [vip(), {"==": [{"var": "tenantId"}, "finance"]}]}, "on", "off"]}))];
    let mut flag = settings("needs");
    flag.default_variant = Some(variant("on"));
    flag.prerequisites = vec![Prerequisite { flag_key: base.key.clone(), variants: [variant("on")].into() }];
    let flags = build(vec![base.clone(), flag.clone()], vec![]);
    assert_eq!(seen(&flags, "base"), ("off".to_owned(), Some(json!({"if": [true, "on"]}))));
    assert_eq!(seen(&flags, "needs"), ("on".to_owned(), None));
    flag.prerequisites[0].variants = [variant("off")].into();
    assert_eq!(seen(&build(vec![base, flag], vec![]), "needs"), ("off".to_owned(), None));
}

/// What flagd's schema takes, of attributes that are known and of those that are not.
fn some_value() -> impl Strategy<Value = Json> {
    prop_oneof![
        prop::sample::select(vec!["tenantId", "tier", "n", "user", "email", "region"])
            .prop_map(|name| json!({"var": name})),
        prop::sample::select(vec![
            json!(0),
            json!(1),
            json!(""),
            json!("gamma"),
            json!("a"),
            json!(false),
            Json::Null
        ]),
    ]
}

fn some_logic() -> impl Strategy<Value = Json> {
    let pair = || (some_value(), some_value());
    let compared = prop::sample::select(vec!["==", "===", "!=", "!==", "<", "<=", ">", ">="]);
    let made = prop::sample::select(vec!["+", "-", "cat", "max", "min"]);
    let attribute =
        || prop::sample::select(vec!["tenantId", "n", "user"]).prop_map(|name| json!({"var": name}));
    let leaf = prop_oneof![
        (compared.clone(), pair()).prop_map(|(operator, (one, other))| json!({operator: [one, other]})),
        (compared, made, pair(), some_value()).prop_map(
            |(operator, inner, (one, other), last)| json!({operator: [{inner: [one, other]}, last]})
        ),
        (some_value(), some_value(), some_value())
            .prop_map(|(one, two, three)| json!({"<=": [one, two, three]})),
        (some_value(), prop::collection::vec(some_value(), 0..3))
            .prop_map(|(one, list)| json!({"in": [one, list]})),
        (some_value(), some_value()).prop_map(|(one, other)| json!({"in": [one, other]})),
        attribute().prop_map(|one| json!({"starts_with": [one, "ga"]})),
        attribute().prop_map(|one| json!({"ends_with": [{"cat": [{"var": "tenantId"}, one]}, "ma"]})),
        attribute().prop_map(|one| json!({"in": [one, {"merge": [["gamma", "beta"], {"var": "n"}]}]})),
        attribute().prop_map(
            |one| json!({"some": [{"merge": [["gamma", "beta"], {"var": "n"}]}, {"==": [{"var": ""}, one]}]})
        ),
        attribute().prop_map(|one| json!({"none": [["gamma", "beta"], {"==": [{"var": ""}, one]}]})),
        attribute().prop_map(|one| json!({"all": [one, {"==": [{"var": ""}, "a"]}]})),
        Just(json!({"missing": ["tenantId", "n"]})),
        Just(json!({"sem_ver": [{"var": "n"}, ">=", "1.0.0"]})),
    ];
    let given = || prop::sample::select(vec![json!("on"), json!("off"), Json::Null]);
    let condition = leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"and": parts})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"or": parts})),
            inner.prop_map(|inner| json!({"!": [inner]})),
        ]
    });
    let share = json!({"fractional": [{"var": "user"}, ["on", 1], ["off", 1]]});
    (condition, given(), prop_oneof![4 => given(), 1 => Just(share)], 0..8_u8).prop_map(
        |(condition, yes, no, shape)| match shape {
            // A test by itself, whose result is the name.
            0 => condition,
            1 => json!({"if": [condition, yes]}),
            _ => json!({"if": [condition, yes, no]}),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_rule_is_handed_out_as_flagd_s_schema_has_it_and_comes_to_the_registry_s_answer(
        rules in prop::collection::vec(some_logic(), 1..3),
        tenant in prop::sample::select(vec!["gamma", "beta"]),
        n in prop::option::of(prop::sample::select(vec![json!(0), json!(1), json!(""), json!("a"), Json::Null, json!(["a"])])),
    ) {
        prop_assume!(rules.iter().all(is_targeting));
        let (default, targeting, is_cut) = left(&rules, tenant);
        // One that is cut may come to no variant, and says so with an operator that there is not.
        let is_broken = is_cut && targeting.as_ref() == Some(&unreadable());
        prop_assert!(is_broken || targeting.as_ref().is_none_or(is_targeting), "{:?} of {:?}", targeting, rules);
        let mut attributes = json!({"tenantId": tenant, "tier": "gold", "status": "ACTIVE"});
        if let Some(n) = n {
            attributes["n"] = n;
        }
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let says = |logic: &Json| {
            let rule = Rule::compile_foreign(logic, &Segments::new(), HashVersion::V2).unwrap();
            match rule.select(&Input { flag_key: "ruled", now: Timestamp::UNIX_EPOCH, context: &context }) {
                Selection::Variant(name) => Some(name.into_owned()),
                _ => None,
            }
        };
        let registry = rules.iter().find_map(says).unwrap_or_else(|| "off".to_owned());
        let provider = targeting.as_ref().and_then(says).unwrap_or(default);
        prop_assert!(is_cut || provider == registry, "{}, {}: {:?} of {:?}", provider, registry, targeting, rules);
    }
}
