//! Which attributes are known, and what is left of the rest.

use super::*;

fn map(value: &Json) -> Map<String, Json> {
    value.as_object().cloned().unwrap_or_default()
}

/// A flag with a rule, and with or without a tenant that has these attributes: its default, its rule, and whether it is
/// answered as for a client without attributes.
fn left(logic: &Json, tenant: Option<&Json>) -> (String, Option<Json>, bool) {
    let mut flag = settings("ruled");
    flag.rules = vec![rule(logic.clone())];
    let flags = build(vec![flag], Vec::new());
    let context = Context::new(tenant.map(map).unwrap_or_default()).unwrap();
    let (tenant_id, tier) = (TenantId::parse("alpha").unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
    let query = Query { tenant: tenant.map(|_| facts), context: &context, now: Timestamp::UNIX_EPOCH };
    let found = flags.resolved(&query).swap_remove(0);
    (found.default.map(ToString::to_string).unwrap_or_default(), found.targeting, found.is_cut)
}

fn alpha() -> Json {
    json!({"tenantId": "alpha", "tier": "gold", "status": "ACTIVE"})
}

fn on_if(condition: &Json) -> Json {
    json!({"if": [condition, "on", null]})
}

fn var(name: &str) -> Json {
    json!({ "var": name })
}

/// Rules of what the registry has no value for never matched.
#[test]
fn an_attribute_that_the_tenant_does_not_have_is_the_client_s() {
    let names = ["region", "owner", "labels.team", "supportLevel", "parent", "complianceFrameworks"];
    for name in names {
        let logic = on_if(&json!({"in": [var(name), ["eu"]]}));
        assert_eq!(left(&logic, Some(&alpha())), ("off".to_owned(), Some(logic), false), "{name}");
    }
    for name in names.into_iter().chain(["tenantId", "tier", "status"]) {
        let logic = on_if(&json!({"in": [var(name), ["eu"]]}));
        assert_eq!(left(&logic, None), ("off".to_owned(), Some(logic), false), "{name}");
    }
    let mut with_region = alpha();
    with_region["region"] = json!("us");
    let logic = on_if(&json!({"in": [var("region"), ["eu"]]}));
    assert_eq!(left(&logic, Some(&with_region)), ("off".to_owned(), None, false));
}

#[test]
fn a_kill_switch_by_an_attribute_that_the_tenant_does_not_have_is_left_to_the_provider() {
    let mut switch = settings("stop");
    switch.rules = vec![rule(on_if(&json!({"in": [var("region"), ["eu"]]})))];
    let mut guarded = settings("guarded");
    guarded.kill_switch = Some(switch.key.clone());
    guarded.default_variant = Some(variant("on"));
    let (_, targeting) = seen(&build(vec![switch, guarded], Vec::new()), "guarded");
    assert!(targeting.unwrap().to_string().contains("region"));
}

/// Names of others stood in what was not decided.
#[test]
fn what_is_known_is_decided_inside_every_operator() {
    let others = json!(["beta", "secret-corp"]);
    let shares = |is_alpha: Json| json!({"fractional": [var("user"), ["on", is_alpha], ["off", 1]]});
    let in_others = json!({"in": [var("tenantId"), others]});
    let with_user = json!({"cat": [var("tenantId"), "/", var("user")]});
    let by_x = json!({"if": [{"==": [var("x"), 1]}, ["beta"], ["secret-corp"]]});
    let is_item = json!({"==": [var(""), var("tenantId")]});
    let no_names = [
        shares(json!({"if": [in_others, 100, 0]})),
        on_if(&json!({"some": [others, is_item]})),
        on_if(&json!({"some": [others, {"and": [is_item, {"==": [var("user"), "ada"]}]}]})),
        on_if(&json!({"!": [{"none": [others, {"and": [is_item, {"==": [var("user"), "ada"]}]}]}]})),
        on_if(&json!({"in": [var("tenantId"), by_x]})),
        on_if(&json!({"==": [var("tenantId"), {"if": [{"==": [var("x"), 1]}, "beta", "secret-corp"]}]})),
        on_if(&json!({"in": [with_user, ["beta/bob", "secret-corp/eve"]]})),
        on_if(&json!({"==": [with_user, "secret-corp/eve"]})),
        on_if(&json!({"starts_with": [with_user, "secret-corp/"]})),
        on_if(&json!({"in": [var("tenantId"), {"merge": [["beta", "secret-corp"], var("more")]}]})),
        on_if(&json!({"in": [var("tenantId"), [var("more"), "beta", "secret-corp"]]})),
        on_if(&json!({"filter": [others, is_item]})),
        on_if(&json!({"reduce": [others, {"or": [var("accumulator"), var("current")]}, var("tenantId")]})),
        on_if(&json!({"no_such_operator": [var("user"), in_others, others]})),
    ];
    for logic in no_names {
        let (_, targeting, is_cut) = left(&logic, Some(&alpha()));
        let text = targeting.unwrap_or_default().to_string();
        assert!(!is_cut, "{logic}");
        assert!(!text.contains("beta") && !text.contains("secret-corp"), "{logic} is {text}");
    }
    let (_, targeting, _) =
        left(&on_if(&json!({"in": [with_user, ["beta/bob", "alpha/ada"]]})), Some(&alpha()));
    let kept = json!({"in": [{"cat": ["alpha", "/", {"var": ["user", ""]}]}, ["alpha/ada"]]});
    assert_eq!(targeting, Some(on_if(&kept)));
}

#[test]
fn what_cannot_be_decided_without_names_of_others_is_answered_without_the_client_s_attributes() {
    let others = json!(["beta", "secret-corp"]);
    for condition in [
        json!({"some": [var("list"), {"in": [var("tenantId"), others]}]}),
        json!({"in": [{"substr": [{"cat": [var("tenantId"), var("user")]}, 1]}, others]}),
        json!({"in": [{"var": {"cat": ["tenant", var("user")]}}, others]}),
        json!({"contains_any": [[var("tenantId"), var("user")], others]}),
    ] {
        assert_eq!(left(&on_if(&condition), Some(&alpha())), ("off".to_owned(), None, true), "{condition}");
    }
}

/// An item of such a list was taken for an attribute of the client's, which no rule can fill with names.
#[test]
fn a_list_of_tenants_put_together_with_a_client_s_shows_none_of_them() {
    let lists = json!({"merge": [["beta", "secret-corp"], var("more")]});
    let is_item = json!({"==": [var(""), var("tenantId")]});
    // Without the client's attribute other languages hold nothing against what no item has.
    let more = json!({"in": ["alpha", {"merge": [var("more")]}]});
    for (condition, given) in [
        (json!({"some": [lists, is_item]}), json!({"!!": [more]})),
        (json!({"none": [lists, is_item]}), json!({"!!": [{"!": [more]}]})),
    ] {
        let (_, targeting, is_cut) =
            left(&json!({"if": [{"and": [condition, true]}, "on", null]}), Some(&alpha()));
        let text = targeting.clone().unwrap_or_default().to_string();
        assert!(!is_cut && !text.contains("beta") && !text.contains("secret-corp"), "{condition} is {text}");
        let unwrapped = given["!!"][0].clone();
        let found = &targeting.unwrap()["if"][0];
        assert!(*found == given || *found == unwrapped, "{condition} is {found}");
    }
    let listed = json!({"merge": [["beta", "alpha"], var("more")]});
    let (default, targeting, _) = left(&on_if(&json!({"some": [listed, is_item]})), Some(&alpha()));
    assert_eq!((default.as_str(), targeting), ("off", Some(json!({"if": [true, "on"]}))));
    for condition in [
        json!({"==": [{"filter": [lists, is_item]}, ["x"]]}),
        json!({"some": [{"if": [var("by"), ["beta", "secret-corp"], var("more")]}, is_item]}),
        json!({"some": [{"if": [var("by"), ["beta", "secret-corp"], var("more")]}, {"in": [var("tenantId"), [var("")]]}]}),
    ] {
        assert_eq!(left(&on_if(&condition), Some(&alpha())), ("off".to_owned(), None, true), "{condition}");
    }
}

#[test]
fn a_rule_that_would_show_other_tenants_is_told_of_from_the_rule_alone() {
    let is_told = |condition: &Json| {
        let mut flag = settings("ruled");
        flag.rules = vec![rule(on_if(condition))];
        let flags = build(vec![flag, settings("other")], Vec::new());
        let in_process = InProcess::new(&flags, Timestamp::UNIX_EPOCH);
        assert!(in_process.cut_in("other") == CutIn::default());
        in_process.cut_in("ruled").tenants
    };
    let names = json!(["beta", "secret-corp"]);
    for name in ["tenantId", "tier", "region", "owner", "displayName"] {
        assert!(is_told(&json!({"contains_any": [[var(name), var("user")], names]})), "{name}");
        assert!(
            is_told(&json!({"in": [{"substr": [{"cat": [var(name), var("user")]}, 1]}, names]})),
            "{name}"
        );
        assert!(
            !is_told(&json!({"and": [{"in": [var(name), names]}, {"==": [var("user"), "ada"]}]})),
            "{name}"
        );
    }
    assert!(is_told(
        &json!({"contains_any": [{"merge": [var("complianceFrameworks"), var("mine")]}, names]})
    ));
    assert!(!is_told(&json!({"contains_any": [var("mine"), names]})));
}

#[test]
fn operators_that_not_every_provider_knows_are_told_of_where_a_client_s_attributes_meet_them() {
    let is_told = |condition: &Json| {
        let mut flag = settings("ruled");
        flag.rules = vec![rule(on_if(condition))];
        let flags = build(vec![flag], Vec::new());
        InProcess::new(&flags, Timestamp::UNIX_EPOCH).has_unknown_operators("ruled")
    };
    for (operator, last) in [
        ("contains_all", json!(["a"])),
        ("contains_any", json!(["a"])),
        ("contains_none", json!(["a"])),
        ("tenantry_matches", json!("a")),
    ] {
        assert!(is_told(&json!({operator: [var("user"), last]})), "{operator}");
        assert!(!is_told(&json!({operator: [var("tenantId"), last]})), "{operator}");
    }
    for operator in ["lower", "upper", "abs"] {
        assert!(is_told(&json!({"==": [{operator: [var("region")]}, 1]})), "{operator}");
        assert!(!is_told(&json!({"==": [{operator: [var("tier")]}, 1]})), "{operator}");
    }
    assert!(!is_told(&json!({"starts_with": [{"substr": [var("user"), 1]}, "a"]})));
}

/// What goes through a list of the client's.
fn of_items() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["some", "none", "all", "filter", "map", "reduce"])
}

/// An attribute put together with something else, compared with names for each item of a client's list.
fn in_items(each: &str, name: &str, other: Json) -> Json {
    let other = if each == "reduce" && other == var("") { var("current") } else { other };
    let made = json!({"cat": [var(name), "/", other]});
    let names = json!(["alpha/ada", "secret-corp/eve", "eu/red"]);
    match each {
        "filter" => json!({"filter": [var("user_roles"), {"==": [made, "secret-corp/eve"]}]}),
        "reduce" => {
            json!({"reduce": [var("user_roles"), {"or": [var("accumulator"), {"in": [made, names]}]}, false]})
        }
        each => operation_of(each, &json!([var("user_roles"), {"in": [made, names]}])),
    }
}

fn operation_of(operator: &str, arguments: &Json) -> Json {
    json!({ operator: arguments })
}

/// What reads attributes that a tenant may have or not, and a client, too.
fn some_condition() -> impl Strategy<Value = Json> {
    let name =
        || prop::sample::select(vec!["region", "owner", "tier", "status", "tenantId", "labels.team", "user"]);
    let texts = || {
        let text = prop::sample::select(vec![
            "eu",
            "us",
            "gold",
            "alpha",
            "secret-corp",
            "ada",
            "red",
            "ACTIVE",
            "",
        ]);
        prop::collection::vec(text, 0..4)
    };
    let leaf = prop_oneof![
        (name(), texts()).prop_map(|(name, texts)| json!({"in": [var(name), texts]})),
        (name(), name()).prop_map(|(one, other)| json!({"==": [var(one), var(other)]})),
        (name(), name()).prop_map(|(one, other)| json!({"==": [{"var": [one, "eu"]}, {"var": [other, "eu"]}]})),
        (name(), texts()).prop_map(|(name, texts)| json!({"some": [texts, {"==": [var(""), var(name)]}]})),
        (name(), name(), texts()).prop_map(|(one, other, texts)| {
            json!({"none": [texts, {"and": [{"==": [var(""), var(one)]}, {"!=": [var(other), var("")]}]}]})
        }),
        (name(), texts()).prop_map(|(name, texts)| json!({"all": [texts, {"!==": [var(""), var(name)]}]})),
        (name(), name()).prop_map(|(one, other)| {
            json!({"in": [{"cat": [var(one), "/", var(other)]}, ["alpha/ada", "secret-corp/eve", "gold/", "eu/red", "ada/eu"]]})
        }),
        (name(), name()).prop_map(|(one, other)| json!({"starts_with": [{"cat": [var(one), var(other)]}, "alp"]})),
        (name(), name()).prop_map(|(one, other)| json!({"ends_with": [{"cat": [var(one), var(other)]}, "da"]})),
        (name(), name(), name()).prop_map(|(one, other, by)| {
            json!({"!=": [var(one), {"if": [{"==": [var(by), var(other)]}, "alpha", "secret-corp"]}]})
        }),
        (name(), name()).prop_map(|(one, other)| json!({"missing": [one, other]})),
        (name(), name(), name()).prop_map(|(one, other, by)| {
            json!({"==": [{"var": {"if": [var(by), one, other]}}, "eu"]})
        }),
        (name(), name(), of_items()).prop_map(|(one, other, each)| in_items(each, one, var(other))),
        (name(), of_items()).prop_map(|(one, each)| in_items(each, one, var(""))),
        (name(), name()).prop_map(|(one, other)| {
            json!({"in": [{"cat": [{"cat": [var(one), var(other)]}, "/"]}, ["alpha/", "secret-corp/"]]})
        }),
        (0..4_i32, name(), name()).prop_map(|(need, one, other)| {
            json!({"missing_some": [need, [one, other, "region"]]})
        }),
        (name(), texts()).prop_map(|(name, texts)| {
            json!({"some": [{"merge": [texts, [var("user")]]}, {"==": [var(""), var(name)]}]})
        }),
        (name(), texts(), texts()).prop_map(|(name, one, other)| {
            json!({"in": [var(name), {"if": [{"==": [var("user"), "ada"]}, one, {"merge": [other, [var("owner")]]}]}]})
        }),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"and": parts})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"or": parts})),
            inner.prop_map(|inner| json!({"!": [inner]})),
        ]
    })
}

/// A client's attributes, and those of the tenant; each may be there or not.
fn some_attributes() -> impl Strategy<Value = Json> {
    let text = || prop::option::of(prop::sample::select(vec!["eu", "us", "gold", "ada", "secret-corp", ""]));
    (text(), text(), text(), prop::option::of(prop::sample::select(vec!["red", "eu"]))).prop_map(
        |(region, owner, user, team)| {
            let mut found = Map::new();
            for (name, value) in [("region", region), ("owner", owner), ("user", user)] {
                found.extend(value.map(|value| (name.to_owned(), json!(value))));
            }
            found.extend(team.map(|team| ("labels".to_owned(), json!({ "team": team }))));
            Json::Object(found)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With the tenant's attributes laid over the client's, as most providers do, and without, as Go's does.
    #[test]
    fn a_provider_comes_to_the_registry_s_answer_whoever_has_which_attributes(
        condition in some_condition(),
        client in some_attributes(),
        tenant in prop::option::of(some_attributes()),
        (tier, tenant_id) in (prop::option::of(Just("platinum")), prop::option::of(Just("secret-corp"))),
    ) {
        let mut client = map(&client);
        client.extend(tier.map(|tier| ("tier".to_owned(), json!(tier))));
        client.extend(tenant_id.map(|tenant_id| ("tenantId".to_owned(), json!(tenant_id))));
        let tenant = tenant.map(|own| {
            let mut all = map(&own);
            all.remove("user");
            all.extend(map(&alpha()));
            Json::Object(all)
        });
        let logic = on_if(&condition);
        let (default, targeting, is_cut) = left(&logic, tenant.as_ref());
        prop_assume!(!is_cut);
        let known = Context::new(tenant.as_ref().map(map).unwrap_or_default()).unwrap();
        let client = Context::new(client).unwrap();
        let whole = client.with_overlay(&known);
        let says = |logic: &Json, context: &Context| {
            let rule = Rule::compile_foreign(logic, &Segments::new(), HashVersion::V2).unwrap();
            let input = Input { flag_key: "ruled", now: Timestamp::UNIX_EPOCH, context };
            match rule.select(&input) {
                Selection::Variant(name) => name.into_owned(),
                Selection::Default => "off".to_owned(),
                Selection::Failed(_) => "failed".to_owned(),
            }
        };
        let registry = says(&logic, &whole);
        for context in [&whole, &client] {
            let provider = targeting.as_ref().map_or_else(|| default.clone(), |rule| says(rule, context));
            prop_assert_eq!(&provider, &registry, "{:?} of {}", targeting, logic);
        }
        if tenant.is_some() {
            let text = targeting.unwrap_or_default().to_string();
            let is_user_s = condition.to_string().contains("\"user\"");
            prop_assert!(is_user_s || !text.contains("secret-corp") || client_s(&condition, &known), "{} of {}", text, logic);
        }
    }
}

/// Whether a condition reads what only the client has: then what it is compared with stays.
fn client_s(condition: &Json, known: &Context) -> bool {
    let text = condition.to_string();
    let is_read = |name: &str| text.contains(name) && !known.has(name);
    // What `map`, `all` and `reduce` read is the item's, and so is the tier there.
    ["region", "owner", "labels"].into_iter().any(is_read)
        || (["map", "all", "reduce"].into_iter().any(|each| text.contains(&format!("\"{each}\"")))
            && ["tier", "status", "region", "owner", "labels"].into_iter().any(|name| text.contains(name)))
}

/// The lists stood there in full: a pattern of which the tenant's own part was not known fitted everything.
#[test]
fn an_own_attribute_put_together_with_an_item_shows_no_other_tenant() {
    let names = json!(["alpha:admin", "secret-corp:admin"]);
    for each in ["some", "none", "filter", "all", "map"] {
        for other in ["", "role"] {
            let made = json!({"cat": [var("tenantId"), ":", var(other)]});
            for test in [json!({"in": [made, names]}), json!({"==": [made, "secret-corp:admin"]})] {
                let condition = operation_of(each, &json!([var("roles"), test]));
                let given = if each == "none" { "on" } else { "off" };
                let found = left(&on_if(&condition), Some(&alpha()));
                assert_eq!(found, (given.to_owned(), None, true), "{condition}");
            }
        }
    }
    let made = json!({"cat": [var("tenantId"), ":", var("current")]});
    let step = json!({"or": [var("accumulator"), {"in": [made, names]}]});
    let condition = json!({"reduce": [var("roles"), step, false]});
    assert_eq!(left(&on_if(&condition), Some(&alpha())), ("off".to_owned(), None, true));
}

/// The same without a list: what is known stood in a part of the pattern that was taken for anything.
#[test]
fn an_own_attribute_deep_inside_a_text_shows_no_other_tenant() {
    let names = json!(["beta-x", "secret-corp-x"]);
    for condition in [
        json!({"in": [{"cat": [{"cat": [var("tenantId"), var("user")]}, "x"]}, names]}),
        json!({"in": [{"cat": [{"if": [var("user"), var("tenantId"), "z"]}, "-x"]}, names]}),
        json!({"==": [{"cat": [{"lower": [{"cat": [var("tenantId"), var("user")]}]}, "-x"]}, "secret-corp-x"]}),
        json!({"==": [var("tenantId"), {"cat": [{"if": [var("user"), "secret-corp", "al"]}, "pha"]}]}),
        json!({"starts_with": [{"cat": ["al", var("user"), "secret-corp"]}, var("tenantId")]}),
    ] {
        let (_, targeting, _) = left(&on_if(&condition), Some(&alpha()));
        let text = targeting.unwrap_or_default().to_string();
        assert!(!text.contains("beta") && !text.contains("secret-corp"), "{condition} is {text}");
    }
}

/// Each provider hashed by itself, with the version that it has.
#[test]
fn a_share_by_the_tenant_s_own_attributes_is_decided() {
    let shares = |by: Json| json!({"fractional": [by, ["on", 1], ["off", 1]]});
    for by in [var("tenantId"), json!({"cat": [var("tenantId"), "-", var("tier")]})] {
        for logic in [shares(by.clone()), json!({"if": [var("user"), shares(by.clone()), null]})] {
            let (default, targeting, is_cut) = left(&logic, Some(&alpha()));
            let text = targeting.clone().unwrap_or_default().to_string();
            assert!(!is_cut && !text.contains("fractional"), "{logic} is {text}");
            let context = json!({"tenantId": "alpha", "tier": "gold", "user": "ada", "targetingKey": "ada"});
            let context = Context::new(map(&context)).unwrap();
            let says = |logic: &Json| {
                let rule = Rule::compile(logic, &Segments::new(), HashVersion::V2).unwrap();
                let input = Input { flag_key: "ruled", now: Timestamp::UNIX_EPOCH, context: &context };
                match rule.select(&input) {
                    Selection::Variant(name) => name.into_owned(),
                    _ => "off".to_owned(),
                }
            };
            let provider = targeting.as_ref().map_or(default, says);
            assert_eq!(provider, says(&logic), "{logic}");
        }
    }
}

#[test]
fn what_is_missing_of_several_is_decided_as_far_as_it_is_known() {
    let is_missing = |name: &str| json!({"===": [var(name), null]});
    let some = |need: i32, names: &[&str]| json!({"missing_some": [need, names]});
    for (condition, given) in [
        (some(1, &["region", "tier"]), None),
        (some(0, &["region"]), None),
        (some(2, &["tenantId", "tier"]), None),
        (some(2, &["region", "tier"]), Some(on_if(&is_missing("region")))),
        (
            some(1, &["region", "user"]),
            Some(on_if(&json!({"and": [is_missing("region"), is_missing("user")]}))),
        ),
        (
            some(3, &["region", "user", "tier"]),
            Some(on_if(&json!({"or": [is_missing("region"), is_missing("user")]}))),
        ),
        (some(3, &["a", "b", "c", "tier"]), Some(on_if(&some(2, &["a", "b", "c"])))),
        (
            json!({"==": [some(2, &["a", "b", "tier"]), "a"]}),
            Some(on_if(&json!({"==": [some(1, &["a", "b"]), "a"]}))),
        ),
    ] {
        assert_eq!(left(&on_if(&condition), Some(&alpha())), ("off".to_owned(), given, false), "{condition}");
    }
}
