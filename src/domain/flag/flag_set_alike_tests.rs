//! Attributes that a client may not have.

use super::*;

/// Python's and JavaScript's providers wrote their word for nothing, or gave nothing.
#[test]
fn a_missing_attribute_is_handed_out_so_that_every_language_takes_it_alike() {
    let mut flag = settings("ruled");
    let var = || json!({"var": "email"});
    let shares = [json!(["on", 50]), json!(["off", 50])];
    let by = |by: Json| {
        let mut args = vec![by];
        args.extend(shares.clone());
        json!({ "fractional": args })
    };
    for (source, given) in [
        (by(json!({"cat": ["seed", var()]})), by(json!({"cat": ["seed", {"var": ["email", ""]}]}))),
        (by(json!({"cat": var()})), by(json!({"cat": [{"var": ["email", ""]}]}))),
        (by(json!({"cat": [{"var": ["email", "none"]}]})), by(json!({"cat": [{"var": ["email", "none"]}]}))),
        (by(var()), json!({"if": [{"!==": [var(), null]}, by(var()), {"fractional": shares}]})),
    ] {
        flag.rules = vec![rule(source.clone())];
        let flags = build(vec![flag.clone()], Vec::new());
        let (default, targeting) = seen(&flags, "ruled");
        assert_eq!(targeting, Some(given), "{source}");
        for attributes in [
            json!({}),
            json!({"email": null}),
            json!({"email": ""}),
            json!({"email": "a@b"}),
            json!({"email": 5}),
            json!({"targetingKey": "ada"}),
            json!({"targetingKey": "bob", "email": null}),
            json!({"targetingKey": "bob", "email": 5}),
            json!({"targetingKey": "bob", "email": "x"}),
        ] {
            let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
            let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
            let provider = provided("ruled", (&default, targeting.as_ref()), &query);
            let registry = flags.evaluate(&query, "ruled").variant.map(ToString::to_string);
            assert_eq!(Some(provider), registry, "{source} {attributes}");
        }
    }
}

/// The condition that is left of one.
fn left(condition: &Json) -> Json {
    let mut flag = settings("ruled");
    flag.rules = vec![rule(json!({"if": [condition, "on", null]}))];
    let (_, targeting) = seen(&build(vec![flag], Vec::new()), "ruled");
    targeting.map(|rule| rule["if"][0].clone()).unwrap_or_default()
}

/// Python, JavaScript and Rust hold 0, false and the empty text, or the word `null`, against what is not there.
#[test]
fn what_is_compared_with_an_attribute_that_is_missing_stands_beside_a_test_of_its_presence() {
    let n = || json!({"var": "n"});
    let is_there = || json!({"!==": [n(), null]});
    let is_missing = || json!({"===": [n(), null]});
    for condition in [
        json!({"<=": [n(), 0]}),
        json!({"<=": [{"var": ["n", null]}, 0]}),
        json!({">=": [n(), 0]}),
        json!({"==": [n(), 0]}),
        json!({"==": [0, n()]}),
        json!({"==": [n(), ""]}),
        json!({"==": [n(), false]}),
        json!({"<=": [0, n(), 10]}),
        json!({">=": [n(), "b"]}),
        json!({"in": [n(), "abc"]}),
        json!({">": [{"+": [n(), 5]}, 0]}),
    ] {
        assert_eq!(left(&condition), json!({"and": [is_there(), condition]}), "{condition}");
    }
    for condition in [json!({"!=": [n(), 0]}), json!({"<": [n(), "1"]}), json!({"!=": [{"*": [n(), 2]}, 4]})]
    {
        assert_eq!(left(&condition), json!({"or": [is_missing(), condition]}), "{condition}");
    }
    // The same everywhere as they are.
    for condition in [
        json!({"<": [n(), 5]}),
        json!({">=": [n(), 18]}),
        json!({"==": [n(), "vip"]}),
        json!({"==": [n(), true]}),
        json!({"===": [n(), 0]}),
        json!({"in": [n(), ["", "a"]]}),
        json!({"==": [{"var": ["n", 1]}, 0]}),
    ] {
        assert_eq!(left(&condition), condition, "{condition}");
    }
    for (condition, given) in [
        (json!({"==": [n(), null]}), is_missing()),
        (json!({"!=": [n(), null]}), is_there()),
        (json!({"missing": ["n"]}), is_missing()),
        (json!({"missing": ["tenantId", "n"]}), is_missing()),
        (
            json!({"!": [{"missing": ["n", "m"]}]}),
            json!({"!": [{"or": [is_missing(), {"===": [{"var": "m"}, null]}]}]}),
        ),
        (
            json!({"==": [n(), {"var": "m"}]}),
            json!({"and": [{"===": [is_missing(), {"===": [{"var": "m"}, null]}]}, {"==": [n(), {"var": "m"}]}]}),
        ),
        (
            json!({"all": [n(), {"==": [{"var": ""}, "a"]}]}),
            json!({"and": [{"!!": [n()]}, {"all": [n(), {"==": [{"var": ""}, "a"]}]}]}),
        ),
    ] {
        assert_eq!(left(&condition), given, "{condition}");
    }
}

/// Python's provider logs an error for each evaluation of a version that is not there, and Go's one for each of the three.
#[test]
fn a_test_of_a_text_or_a_version_that_may_be_missing_stands_beside_a_test_of_its_presence() {
    let n = || json!({"var": "n"});
    let there = |name: &str| json!({"!==": [{"var": name}, null]});
    for condition in [
        json!({"sem_ver": [n(), ">=", "1.2.0"]}),
        json!({"sem_ver": ["1.2.0", "<", n()]}),
        json!({"sem_ver": [n(), "!=", "1.2.0"]}),
        json!({"starts_with": [n(), "a"]}),
        json!({"ends_with": [n(), "a"]}),
        json!({"starts_with": ["abc", n()]}),
        json!({"ends_with": [n(), ""]}),
    ] {
        assert_eq!(left(&condition), json!({"if": [there("n"), condition, null]}), "{condition}");
    }
    for condition in [json!({"ends_with": [n(), {"var": "m"}]}), json!({"sem_ver": [n(), "^", {"var": "m"}]})]
    {
        let both = json!({"and": [there("n"), there("m")]});
        assert_eq!(left(&condition), json!({"if": [both, condition, null]}), "{condition}");
    }
    // What is always there needs no test, and nor does what has a value of its own.
    for condition in [
        json!({"starts_with": [{"var": ["n", "x"]}, "a"]}),
        json!({"ends_with": [{"cat": ["a", {"var": ["n", ""]}]}, "a"]}),
    ] {
        assert_eq!(left(&condition), condition, "{condition}");
    }
    let mut flag = settings("ruled");
    for condition in [
        json!({"sem_ver": [n(), ">=", "1.2.0"]}),
        json!({"!": [{"sem_ver": [n(), "=", "1.2.0"]}]}),
        json!({"or": [{"starts_with": [n(), {"var": "m"}]}, {"!": [{"ends_with": [{"var": "m"}, "c"]}]}]}),
    ] {
        flag.rules = vec![rule(json!({"if": [condition, "on", "off"]}))];
        let flags = build(vec![flag.clone()], Vec::new());
        let (default, targeting) = seen(&flags, "ruled");
        for attributes in [
            json!({}),
            json!({"n": null}),
            json!({"n": "1.2.0"}),
            json!({"n": "1.10.0", "m": "1"}),
            json!({"n": "", "m": ""}),
            json!({"n": 5, "m": "c"}),
            json!({"m": "abc"}),
        ] {
            let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
            let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
            let provider = provided("ruled", (&default, targeting.as_ref()), &query);
            let registry = flags.evaluate(&query, "ruled").variant.map(ToString::to_string);
            assert_eq!(Some(provider), registry, "{condition} {attributes}");
        }
    }
}

/// Python's and JavaScript's providers wrote `null` or failed.
#[test]
fn what_may_be_nothing_is_the_empty_text_wherever_it_stands_in_a_text() {
    let (n, m) = (json!({"var": "n"}), json!({"var": "m"}));
    let or_empty = |name: &str| json!({"var": [name, ""]});
    for (part, given) in [
        (json!({"var": ["n", null]}), or_empty("n")),
        (json!({"var": ["n", m]}), json!({"var": ["n", or_empty("m")]})),
        (json!({"or": [n, m]}), json!({"or": [n, or_empty("m")]})),
        (json!({"and": [n, m]}), json!({"and": [or_empty("n"), or_empty("m")]})),
        (json!({"substr": [n, 0, 2]}), json!({"substr": [or_empty("n"), 0, 2]})),
        (json!({"if": [m, n]}), json!({"if": [m, or_empty("n"), ""]})),
        (json!({"if": [m, n, null]}), json!({"if": [m, or_empty("n"), ""]})),
        (json!({"+": [n, 1]}), json!({"if": [{"!==": [n, null]}, {"+": [n, 1]}, ""]})),
        (
            json!({"*": [n, m]}),
            json!({"if": [{"and": [{"!==": [n, null]}, {"!==": [m, null]}]}, {"*": [n, m]}, ""]}),
        ),
        (json!({"cat": ["b", n]}), json!({"cat": ["b", or_empty("n")]})),
    ] {
        let condition = |part: &Json| json!({"==": [{"cat": ["a", part]}, "a"]});
        assert_eq!(left(&condition(&part)), condition(&given), "{part}");
        for attributes in
            [json!({}), json!({"n": 5}), json!({"m": 6}), json!({"n": "x", "m": "y"}), json!({"n": 0})]
        {
            let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
            let input = Input { flag_key: "ruled", now: Timestamp::UNIX_EPOCH, context: &context };
            let text = |part: &Json| {
                let made = json!({"cat": ["a", part]});
                let rule = Rule::compile_foreign(&made, &Segments::new(), HashVersion::V2).unwrap();
                rule.value(&input).unwrap()
            };
            assert_eq!(text(&given), text(&part), "{part} {attributes}");
        }
    }
}

/// A provider hashed the key of the flag that it found the shares in: a switch that was thrown for a user did not turn off what
/// it guards, and of two flags that exclude each other both were on.
#[test]
fn a_share_by_a_flag_s_own_key_is_the_same_share_within_another_flag_s_rule() {
    let shares = || [json!(["on", 50]), json!(["off", 50])];
    let by = |by: Json| json!({"fractional": [by, shares()[0], shares()[1]]});
    let email = || json!({"var": "email"});
    let (mut cut, mut whole) = (0, 0);
    for source in [
        json!({ "fractional": shares() }),
        by(email()),
        by(json!({"or": [email(), {"var": "mail"}]})),
        by(json!({"if": [vip(), email(), null]})),
        by(json!({"cat": ["x", {"var": "email"}]})),
        by(json!({"merge": [["on", 50]]})),
        json!({"if": [vip(), {"fractional": shares()}, null]}),
    ] {
        for hash in HashVersion::ALL {
            let mut first = settings("first");
            (first.hash_version, first.conflict_groups, first.priority) = (*hash, [group("g")].into(), 9);
            first.rules = vec![rule(source.clone())];
            let hanging = |key: &str| {
                let mut flag = settings(key);
                (flag.hash_version, flag.default_variant) = (*hash, Some(variant("on")));
                flag
            };
            let needs = vec![Prerequisite { flag_key: first.key.clone(), variants: [variant("on")].into() }];
            let guarded = Settings { kill_switch: Some(first.key.clone()), ..hanging("guarded") };
            let needing = Settings { prerequisites: needs, ..hanging("needing") };
            let excluded = Settings { conflict_groups: [group("g")].into(), ..hanging("excluded") };
            let flags = build(vec![first, guarded, needing, excluded], vec![]);
            for key in ["guarded", "needing", "excluded"] {
                let (default, targeting, is_cut) = seen_with(&flags, key, Access::Full);
                (cut, whole) = if is_cut { (cut + 1, whole) } else { (cut, whole + 1) };
                if is_cut {
                    assert!(
                        *hash == HashVersion::V3 || source.to_string().contains("merge"),
                        "{source} {hash:?}"
                    );
                    continue;
                }
                for user in 0..24 {
                    let mut attributes = json!({"tenantId": "finance", "tier": "gold", "plan": "vip"});
                    for (name, there) in [(TARGETING_KEY, user % 4), ("email", user % 3), ("mail", user % 2)]
                    {
                        if there > 0 {
                            attributes[name] = json!(format!("{name}{user}"));
                        }
                    }
                    let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
                    let (tenant_id, tier) =
                        (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
                    let tenant =
                        Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full });
                    let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
                    let provider = provided_by(*hash, key, (&default, targeting.as_ref()), &query);
                    let registry = flags.evaluate(&query, key).variant.map(ToString::to_string);
                    assert_eq!(Some(provider), registry, "{source} {hash:?} {key} {attributes}");
                }
            }
        }
    }
    assert!(cut > 0 && whole > 3 * cut, "{cut} {whole}");
}

/// Go's and JavaScript's providers gave whoever has an empty one a share.
#[test]
fn a_share_by_the_targeting_key_is_for_whoever_has_one() {
    let by = || json!({"fractional": [{"var": TARGETING_KEY}, ["on", 50], ["off", 50]]});
    for hash in HashVersion::ALL {
        let mut flag = settings("ruled");
        (flag.hash_version, flag.rules) = (*hash, vec![rule(by())]);
        let (_, targeting) = seen(&build(vec![flag], Vec::new()), "ruled");
        assert_eq!(targeting, Some(json!({"if": [{"var": TARGETING_KEY}, by(), null]})), "{hash:?}");
    }
}

/// To JavaScript's provider nothing is in an empty text.
#[test]
fn the_empty_text_is_in_an_empty_one() {
    let test = json!({"in": ["", {"var": "n"}]});
    assert_eq!(left(&test), json!({"or": [{"===": [{"var": "n"}, ""]}, test]}));
}

#[test]
fn a_provider_takes_the_same_for_a_key_as_the_registry() {
    for hash in HashVersion::ALL {
        let flags = shared(50, "userId", *hash);
        let (default, targeting) = seen(&flags, "shared");
        let ids =
            ["", "ada", "bob", "0"].map(|text| json!(text)).into_iter().chain((0..30).map(|id| json!(id)));
        for id in ids.chain([Json::Null]) {
            let attributes = [("userId".to_owned(), id.clone())].into_iter().collect();
            let context = Context::new(attributes).unwrap();
            let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
            let provider = provided_by(*hash, "shared", (&default, targeting.as_ref()), &query);
            let registry = flags.evaluate(&query, "shared").variant.map(ToString::to_string);
            assert_eq!(Some(provider), registry, "{id} {hash:?}");
        }
    }
}
