//! What some language's provider makes otherwise of a rule, and whoever writes one is told of.

use super::*;

fn var(name: &str) -> Json {
    json!({ "var": name })
}

/// What is told of a flag with this rule.
fn told(logic: &Json) -> Vec<String> {
    let mut flag = settings("ruled");
    flag.rules = vec![rule(logic.clone())];
    InProcess::new(&build(vec![flag], Vec::new()), Timestamp::UNIX_EPOCH).warnings("ruled")
}

/// What is told of a rule that is on under a condition.
fn told_of(condition: &Json) -> Vec<String> {
    told(&json!({"if": [condition, "on", null]}))
}

/// Python's and JavaScript's engines have nothing but the item there: the answers were opposite.
#[test]
fn a_rule_that_asks_the_context_within_a_list_is_told_of() {
    let of_country = json!({"==": [var("country"), "DE"]});
    let both = json!({"and": [{"==": [var(""), "contractor"]}, of_country]});
    for operator in ["some", "none", "filter"] {
        let warnings = told_of(&json!({"!!": [{operator: [var("roles"), both]}]}));
        assert_eq!(warnings.len(), 1, "{operator} {warnings:?}");
        for part in ["rule \"r\"", "\"country\"", "in-process"] {
            assert!(warnings[0].contains(part), "{operator} {warnings:?}");
        }
    }
    let named = |items: Json| told_of(&json!({"some": [items, of_country]})).len();
    assert_eq!(named(var("visits")), 1, "an item may have none");
    let visit = |country: &str| json!({"country": country, "days": 3});
    assert_eq!(named(json!([visit("DE"), visit("FR")])), 0, "every item has one");
    assert_eq!(named(json!([visit("DE"), {"city": "Rome", "days": 3}])), 1);
    let within = json!({"some": [var("teams"), {"none": [var("roles"), {"in": [var(""), var("banned")]}]}]});
    let warnings = told_of(&within);
    assert!(warnings.len() == 1 && warnings[0].contains("\"banned\", \"roles\""), "{warnings:?}");
    for condition in [
        json!({"some": [var("roles"), {"==": [var(""), "admin"]}]}),
        json!({"in": ["admin", {"filter": [var("roles"), {"in": [var(""), ["admin"]]}]}]}),
        // Nobody sees the context there, here neither.
        json!({"all": [var("roles"), both]}),
        json!({"in": ["DE", {"map": [var("roles"), var("country")]}]}),
        json!({"reduce": [var("n"), {"+": [var("current"), var("accumulator")]}, 0]}),
        // The registry decides it.
        json!({"some": [["gold"], {"==": [var(""), var("tier")]}]}),
    ] {
        assert_eq!(told_of(&condition), [""; 0], "{condition}");
    }
}

/// A start beyond the text, or more left out than it has, is the whole text, the empty one or an error, by language.
#[test]
fn a_part_of_a_text_that_languages_cut_otherwise_is_told_of() {
    let of = |bounds: &[Json]| {
        let mut args = vec![var("name")];
        args.extend(bounds.iter().cloned());
        told_of(&json!({"==": [{ "substr": args }, "a"]}))
    };
    for bounds in [
        &[json!(2)][..],
        &[json!(0), json!(-2)],
        &[json!(1), json!(-1)],
        &[json!(-3), json!(1)],
        &[var("start")],
        &[json!(0), var("length")],
    ] {
        let warnings = of(bounds);
        assert!(warnings.len() == 1 && warnings[0].contains("substr"), "{bounds:?} {warnings:?}");
    }
    for bounds in
        [&[json!(0), json!(2)][..], &[json!(1)], &[json!(-2)], &[json!(1), json!(2)], &[json!(-2), json!(1)]]
    {
        assert_eq!(of(bounds), [""; 0], "{bounds:?}");
    }
    assert_eq!(told_of(&json!({"==": [{"substr": ["abc", 2]}, var("name")]})), [""; 0]);
    assert_eq!(told_of(&json!({"==": [{"substr": [var("tenantId"), 2]}, "a"]})), [""; 0]);
}

/// Of weights that are missing JavaScript's and Python's engines make no shares at all.
#[test]
fn shares_whose_weights_are_read_are_told_of() {
    let shares = |first: Json| told(&json!({"fractional": [["on", first], ["off", 50]]}));
    let read = [var("share"), json!({"var": ["share", 50]}), json!({"-": [var("$flagd.timestamp"), 5]})];
    for weight in read.into_iter().chain([json!({"if": [vip(), var("share"), 50]})]) {
        let warnings = shares(weight.clone());
        assert!(warnings.len() == 1 && warnings[0].contains("fractional"), "{weight} {warnings:?}");
    }
    assert_eq!(told(&json!({"fractional": [var("entry"), var("other")]})).len(), 1);
    assert_eq!(shares(json!(50)), [""; 0]);
    assert_eq!(shares(json!({"if": [vip(), 10, 50]})), [""; 0]);
    let whole = json!({"if": [vip(), ["on", 10], ["on", 50]]});
    assert_eq!(told(&json!({"fractional": [var("email"), whole, ["off", 50]]})), [""; 0]);
    assert_eq!(told(&json!({"fractional": [var("email"), [var("plan"), 50], ["off", 50]]})), [""; 0]);
}

/// A flag that needs one which every tenant has on, and whose rule for whoever has no tenant cannot be put in another's.
fn whole_for_every_tenant(hash: HashVersion, logic: Json) -> CompiledFlags {
    let mut needed = settings("needed");
    needed.hash_version = hash;
    let is_tenant = json!({"if": [{"!": {"missing": ["tenantId"]}}, "on", null]});
    needed.rules = vec![rule(is_tenant), rule(logic)];
    let mut needing = Settings { default_variant: Some(variant("on")), ..settings("needing") };
    needing.prerequisites =
        vec![Prerequisite { flag_key: needed.key.clone(), variants: [variant("on")].into() }];
    build(vec![needed, needing], Vec::new())
}

/// Of the set without a tenant nothing was said: its flag had `withoutAttributes` and no warning.
#[test]
fn a_flag_that_is_answered_without_attributes_in_the_set_without_a_tenant_alone_is_told_of_there() {
    for (hash, logic) in [
        (HashVersion::V3, json!({"fractional": [["on", 1], ["off", 0]]})),
        (HashVersion::V2, json!({"lower": [var("x")]})),
    ] {
        let flags = whole_for_every_tenant(hash, logic);
        let nobody = Context::default();
        let query = Query { tenant: None, context: &nobody, now: Timestamp::UNIX_EPOCH };
        let cut: Vec<bool> = flags.resolved(&query).iter().map(|found| found.is_cut).collect();
        assert_eq!(cut, [false, true], "{hash:?}");
        assert!(!seen_with(&flags, "needing", Access::Full).2, "{hash:?}");
        let in_process = InProcess::new(&flags, Timestamp::UNIX_EPOCH);
        let told = in_process.warnings("needing");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("in the set without a tenant in-process providers get it as"),
            "{told:?}"
        );
    }
}

#[test]
fn a_flag_that_is_answered_without_attributes_in_some_sets_is_told_of_once_and_of_which() {
    let told = |flags: &CompiledFlags, key: &str| {
        let told = InProcess::new(flags, Timestamp::UNIX_EPOCH).warnings(key);
        told.into_iter().filter(|told| told.contains("without attributes")).collect::<Vec<_>>()
    };
    let mut of_both = settings("both");
    let compares = json!({"contains_any": [[var("owner"), var("user")], ["beta", "secret-corp"]]});
    of_both.rules = vec![rule(json!({"if": [compares, "on", null]}))];
    let warnings = told(&build(vec![of_both], Vec::new()), "both");
    assert!(warnings.len() == 1 && warnings[0].starts_with("in a tenant's set in-process"), "{warnings:?}");
    let mut needed = settings("needed");
    needed.rules = vec![rule(json!({"lower": [var("x")]}))];
    let needs = vec![Prerequisite { flag_key: needed.key.clone(), variants: [variant("on")].into() }];
    let needing = Settings { prerequisites: needs, ..settings("needing") };
    let warnings = told(&build(vec![needed, needing], Vec::new()), "needing");
    assert!(warnings.len() == 1 && warnings[0].starts_with("in-process providers get it"), "{warnings:?}");
}

/// A flag's own rules could make it so without anything that it hangs on: each fits where it is made, and all in one do not.
#[test]
fn a_flag_whose_own_rules_do_not_fit_into_one_is_told_of() {
    let is_cut = |rules: usize, parts: usize| {
        let parts: Vec<Json> = (0..parts).map(|place| json!({"<=": [var("n"), place]})).collect();
        let mut flag = settings("large");
        flag.rules = vec![rule(json!({"if": [{ "or": parts }, "on", null]})); rules];
        let flags = build(vec![flag], Vec::new());
        let is_cut = seen_with(&flags, "large", Access::Full).2;
        let told = InProcess::new(&flags, Timestamp::UNIX_EPOCH).warnings("large");
        let is_told = told.iter().any(|told| told.starts_with("in-process providers get it as"));
        assert_eq!((is_told, told.len()), (is_cut, usize::from(is_cut)), "{rules}: {told:?}");
        is_cut
    };
    // As many as a flag may have are no deeper than one.
    assert!([2, 30, 31, 100].into_iter().all(|rules| !is_cut(rules, 1)));
    assert!(!is_cut(1, 1_900) && !is_cut(2, 300));
    assert!(is_cut(2, 1_500) && is_cut(100, 30));
}

/// It was on for everybody: a switch that nobody could work in counted as one that was not thrown.
#[test]
fn what_hangs_on_a_flag_that_cannot_be_worked_in_is_off() {
    let parts: Vec<Json> = (0..1_500).map(|place| json!({"<=": [var("n"), place]})).collect();
    let large = vec![rule(json!({"if": [{ "or": parts }, "on", null]})); 2];
    let mut switch = settings("switch");
    switch.kind = Kind::KillSwitch;
    switch.rules.clone_from(&large);
    let mut needed = settings("needed");
    needed.rules = large;
    let on = || Settings { default_variant: Some(variant("on")), ..settings("x") };
    let key = |name: &str| FlagKey::parse(name).unwrap();
    let killed = Settings { key: key("killed"), kill_switch: Some(switch.key.clone()), ..on() };
    let needs = vec![Prerequisite { flag_key: needed.key.clone(), variants: [variant("on")].into() }];
    let needing = Settings { key: key("needing"), prerequisites: needs, ..on() };
    let needs = vec![Prerequisite { flag_key: needing.key.clone(), variants: [variant("on")].into() }];
    let above = Settings { key: key("above"), prerequisites: needs, ..on() };
    let flags = build(vec![switch, needed, killed, needing, above], Vec::new());
    for name in ["killed", "needing", "above"] {
        assert_eq!(seen_with(&flags, name, Access::Full), ("off".to_owned(), None, true), "{name}");
    }
}
