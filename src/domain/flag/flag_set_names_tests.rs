//! What a flag's rule gives as a name, seen by those that hang on it.

use super::*;

/// A flag with these variants, true where they are "true" or "on".
fn with_variants(key: &str, names: [&str; 2], rules: Vec<Json>) -> Settings {
    let mut flag = settings(key);
    flag.variants =
        names.map(|name| (variant(name), Value::Boolean(matches!(name, "true" | "on" | "2")))).into();
    flag.default_variant = Some(variant(names[1]));
    flag.off_variant = None;
    flag.rules = rules.into_iter().map(rule).collect();
    flag
}

/// What hangs on a flag in each way, on where nothing keeps it off; and the flag as one that must not be on for a tenant that is
/// not active if it would be off for one that is.
fn hanging_on(base: &Settings, wanted: &str) -> Vec<Settings> {
    let on = |key: &str| Settings { default_variant: Some(variant("on")), ..settings(key) };
    let needs = vec![Prerequisite { flag_key: base.key.clone(), variants: [variant(wanted)].into() }];
    let mut suspended = on("suspended");
    suspended.variants.extend(base.variants.clone());
    suspended.off_variant.clone_from(&base.default_variant);
    suspended.rules.clone_from(&base.rules);
    vec![
        Settings { kill_switch: Some(base.key.clone()), ..on("guarded") },
        Settings { prerequisites: needs, ..on("needing") },
        Settings { conflict_groups: [group("g")].into(), priority: -1, ..on("excluded") },
        suspended,
    ]
}

/// What a provider makes of a flag; nothing where that is an error.
pub(super) fn given(
    flag: &Settings,
    (default, targeting): (&str, Option<&Json>),
    query: &Query<'_>,
) -> String {
    let compiled = targeting
        .map(|source| Rule::compile_foreign(source, &Segments::new(), HashVersion::default()).unwrap());
    let input = Input { flag_key: flag.key.as_str(), now: query.now, context: query.context };
    let name = match compiled.as_ref().map(|rule| rule.select(&input)) {
        Some(Selection::Variant(name)) => name.into_owned(),
        Some(Selection::Failed(_)) => return String::new(),
        _ => default.to_owned(),
    };
    if flag.variants.keys().any(|it| it.as_str() == name) { name } else { String::new() }
}

/// Whether a provider comes to the registry's answer for these, in any state; and how many are cut.
fn compared(flags: &CompiledFlags, contexts: &[Json]) -> usize {
    let mut cut = 0;
    let keys: Vec<String> = flags.flags().map(|flag| flag.key().to_string()).collect();
    for (key, access) in keys.iter().flat_map(|key| [(key, Access::Full), (key, Access::ReadOnly)]) {
        let (default, targeting, is_cut) = seen_with(flags, key, access);
        cut += usize::from(is_cut);
        for attributes in contexts.iter().filter(|_| !is_cut) {
            let mut attributes = attributes.clone();
            (attributes["tenantId"], attributes["tier"]) = (json!("finance"), json!("gold"));
            let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
            let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
            let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access });
            let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
            let found = flags.flag(key).unwrap();
            let provider = given(&found.settings, (&default, targeting.as_ref()), &query);
            let registry = flags.evaluate(&query, key).variant.map(ToString::to_string);
            assert_eq!(provider, registry.unwrap_or_default(), "{key} {access:?} {attributes} {targeting:?}");
        }
    }
    cut
}

fn contexts() -> Vec<Json> {
    let values = [json!("on"), json!("true"), json!("2"), json!("x"), json!(""), json!(["true"])];
    let values = values.into_iter().chain([json!(true), json!(false), json!(2), json!(2.0), json!(0)]);
    let values = values.chain([json!(1), json!(-1), Json::Null]);
    let named = values.map(|n| json!({"n": n, "plan": "vip"}));
    named.chain([json!({}), json!({"plan": "vip", TARGETING_KEY: "ada"}), json!({"n": "y"})]).collect()
}

/// `in` held the result of the rule, a boolean or a number, against names, which are texts: a switch killed what it guards for
/// everybody, both flags of a group were on, and what was needed was never there.
#[test]
fn a_boolean_or_a_number_is_the_name_of_a_variant_to_what_hangs_on_the_flag_too() {
    let (n, is_x) = (json!({"var": "n"}), json!({"==": [{"var": "n"}, "x"]}));
    let shares = json!({"fractional": [["true", 50], ["false", 50]]});
    let rules = [
        is_x.clone(),
        json!({"!": [vip()]}),
        json!({"or": [is_x, vip()]}),
        json!({"and": [vip(), "true"]}),
        json!({"or": [vip(), n]}),
        json!({"and": [n, vip(), {"if": [is_x, true]}]}),
        json!({"if": [vip(), true, null]}),
        json!({"if": [vip(), is_x, n, false]}),
        json!({"starts_with": [n, "o"]}),
        json!({"if": [is_x, 2, vip(), 2.0, n]}),
        json!({"var": ["n", "true"]}),
        json!({"cat": [n, ""]}),
        json!({"or": [n, shares]}),
        n,
    ];
    for source in rules {
        for (names, wanted) in [(["true", "false"], "true"), (["true", "false"], "false"), (["2", "0"], "2")]
        {
            let mut base = with_variants("base", names, vec![source.clone()]);
            (base.conflict_groups, base.off_variant) = ([group("g")].into(), Some(variant(names[1])));
            for kind in [Kind::Release, Kind::KillSwitch] {
                let mut flags = vec![Settings { kind, ..base.clone() }];
                flags.extend(hanging_on(&base, wanted));
                assert_eq!(compared(&build(flags, vec![]), &contexts()), 0, "{source} {names:?}");
            }
        }
    }
}

/// The rule of the switch that everybody writes first.
#[test]
fn a_switch_whose_rule_is_a_bare_comparison_kills_only_where_it_holds() {
    let in_germany = json!({"==": [{"var": "country"}, "DE"]});
    let mut switch = with_variants("stop", ["true", "false"], vec![in_germany.clone()]);
    switch.kind = Kind::KillSwitch;
    let mut guarded = settings("guarded");
    (guarded.kill_switch, guarded.default_variant) = (Some(switch.key.clone()), Some(variant("on")));
    let (default, targeting) = seen(&build(vec![switch, guarded], vec![]), "guarded");
    let named = json!({"if": [in_germany, "true", "false"]});
    let expected = json!({"if": [{"!": [{"in": [named, ["false"]]}]}, "off", null]});
    assert_eq!((default.as_str(), targeting), ("on", Some(expected)));
}

/// Over RPC such a rule is an error, and what is suspended stays off.
#[test]
fn a_name_that_the_flag_does_not_have_turns_nothing_on() {
    for given in [json!("blue"), json!(true), json!(7), vip()] {
        let mut base = settings("base");
        base.conflict_groups = [group("g")].into();
        base.rules = vec![rule(json!({"if": [vip(), given, null]}))];
        let mut flags = vec![base.clone()];
        flags.extend(hanging_on(&base, "on"));
        assert_eq!(compared(&build(flags, vec![]), &contexts()), 0, "{given}");
    }
}

/// The provider failed the flag that needs it, where the registry gives off: PARSE_ERROR, and the code's own default.
#[test]
fn what_a_flag_with_a_broken_part_gives_is_no_error_of_those_that_hang_on_it() {
    let broken = json!({"nope": [1]});
    for (source, is_cut) in [
        (json!({"if": [vip(), broken, "on"]}), false),
        (json!({"if": [vip(), "on", {"if": [{"var": "n"}, broken, null]}]}), false),
        (json!({"if": [{"and": [vip(), {"var": "n"}, broken]}, "off", "on"]}), true),
    ] {
        let mut base = settings("base");
        base.rules = vec![rule(source.clone())];
        base.conflict_groups = [group("g")].into();
        let mut flags = vec![base.clone()];
        flags.extend(hanging_on(&base, "on"));
        assert_eq!(compared(&build(flags, vec![]), &contexts()) > 0, is_cut, "{source}");
    }
}

/// What no provider can be asked alike is not guessed.
#[test]
fn what_gives_a_name_in_another_way_is_answered_as_for_a_client_without_attributes() {
    let shares = json!({"fractional": [["true", 50], [false, 50]]});
    for given in [json!({"+": [{"var": "n"}, 1]}), json!({"merge": [{"var": "n"}]}), shares] {
        let base = with_variants("base", ["true", "false"], vec![given.clone()]);
        let mut flags = vec![base.clone()];
        flags.extend(hanging_on(&base, "true"));
        let flags = build(flags, vec![]);
        assert!(seen_with(&flags, "needing", Access::Full).2, "{given}");
        assert!(!seen_with(&flags, "base", Access::Full).2, "{given}");
    }
}

/// It was written twice for each that hangs on it: four times as much with each step.
#[test]
fn a_flag_s_rule_is_written_once_into_that_of_another() {
    let lists = |mark: &str| json!({"in": [{"var": "n"}, [mark]]});
    let rules = vec![
        json!({"if": [lists("mark-1"), "on", lists("mark-2"), "off"]}),
        json!({"if": [lists("mark-3"), {"if": [lists("mark-4"), "on"]}, "off"]}),
    ];
    let mut flags: Vec<Settings> = Vec::new();
    for key in ["a", "b", "c", "d"] {
        let mut flag = with_variants(key, ["on", "off"], rules.clone());
        let before = flags.last().map(|before| before.key.clone());
        let needs = |flag_key| Prerequisite { flag_key, variants: [variant("on")].into() };
        flag.prerequisites = before.map(needs).into_iter().collect();
        flags.push(flag);
    }
    let flags = build(flags, vec![]);
    for (place, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let text = seen(&flags, key).1.unwrap().to_string();
        for mark in ["mark-1", "mark-2", "mark-3", "mark-4"] {
            assert_eq!(text.matches(mark).count(), place + 1, "{key} {mark}: {text}");
        }
    }
    let contexts: Vec<_> = (0..6).map(|number| json!({"n": format!("mark-{number}")})).collect();
    assert_eq!(compared(&flags, &contexts), 0);
}
