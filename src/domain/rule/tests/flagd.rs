//! flagd's own operators, its versions of `fractional`, its segments. The expected values are those of flagd's testbed
//! and of its server, version 0.16.

use serde_json::{Value, json};

use super::super::*;
use super::{apply, select, select_at};

/// flagd's test flags with four suits, bucketed by `bucket_by`.
fn suits(bucket_by: &Value) -> Value {
    json!({"fractional": [bucket_by, ["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]})
}

#[test]
fn fractional_selects_what_each_version_of_flagd_selects() {
    let rule = suits(&json!({"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]}));
    for (name, v1, v2, v3) in [
        ("jack", "spades", "hearts", "diamonds"),
        ("queen", "clubs", "spades", "diamonds"),
        ("ten", "diamonds", "clubs", "clubs"),
        ("nine", "hearts", "diamonds", "clubs"),
        ("3", "diamonds", "clubs", "spades"),
    ] {
        let attributes = json!({"user": {"name": name}});
        for (version, expected) in [(HashVersion::V1, v1), (HashVersion::V2, v2), (HashVersion::V3, v3)] {
            assert_eq!(
                select(&rule, version, "fractional-flag", &attributes),
                expected,
                "{version:?} {name}"
            );
        }
    }
}

#[test]
fn a_shared_seed_gives_all_flags_the_same_buckets() {
    let rule = suits(&json!({"cat": ["shared-seed", {"var": "user.name"}]}));
    for (version, name, expected) in [
        (HashVersion::V1, "jack", "hearts"),
        (HashVersion::V1, "queen", "spades"),
        (HashVersion::V1, "ten", "hearts"),
        (HashVersion::V1, "nine", "diamonds"),
        (HashVersion::V2, "seven", "hearts"),
        (HashVersion::V2, "eight", "diamonds"),
        (HashVersion::V2, "nine", "clubs"),
        (HashVersion::V2, "two", "spades"),
        (HashVersion::V3, "seven", "hearts"),
        (HashVersion::V3, "eight", "hearts"),
        (HashVersion::V3, "nine", "diamonds"),
        (HashVersion::V3, "two", "diamonds"),
    ] {
        for flag in ["a", "b"] {
            let attributes = json!({"user": {"name": name}});
            assert_eq!(select(&rule, version, flag, &attributes), expected, "{version:?} {name}");
        }
    }
}

#[test]
fn without_a_bucketing_value_the_flags_key_and_the_targeting_key_are_hashed() {
    let rule = json!({"fractional": [["heads"], ["tails", 1]]});
    let key = |key: &str| json!({"targetingKey": key});
    for (version, who, expected) in [
        (HashVersion::V1, "jon@company.com", "heads"),
        (HashVersion::V1, "jane@company.com", "tails"),
        (HashVersion::V2, "jon@company.com", "heads"),
        (HashVersion::V2, "jane@company.com", "tails"),
        (HashVersion::V3, "jon@company.com", "tails"),
        (HashVersion::V3, "jane@company.com", "tails"),
        (HashVersion::V3, "user-1", "heads"),
        (HashVersion::V3, "user-2", "tails"),
        (HashVersion::V3, "user-3", "heads"),
    ] {
        assert_eq!(
            select(&rule, version, "fractional-flag-shorthand", &key(who)),
            expected,
            "{version:?} {who}"
        );
    }
    for version in HashVersion::ALL {
        for attributes in [json!({}), key(""), json!({"targetingKey": 12345}), json!({"targetingKey": true})]
        {
            assert_eq!(select(&rule, *version, "f", &attributes), "(default)", "{version:?} {attributes}");
        }
    }
}

#[test]
fn a_missing_bucketing_value_falls_back_to_the_targeting_key_until_version_3_gives_the_default() {
    let rule = json!({"fractional": [{"var": "email"}, ["a", 50], ["b", 50]]});
    let implicit = json!({"fractional": [["a", 50], ["b", 50]]});
    let attributes = json!({"targetingKey": "user-1"});
    for version in [HashVersion::V1, HashVersion::V2] {
        assert_eq!(select(&rule, version, "f", &attributes), select(&implicit, version, "f", &attributes));
        assert_eq!(select(&rule, version, "f", &json!({})), "(default)");
    }
    assert_eq!(select(&rule, HashVersion::V3, "f", &attributes), "(default)");
}

#[test]
fn hashes_at_the_edges_of_a_bucket_fall_where_flagd_has_them() {
    let rule = json!({"fractional": [{"var": "targetingKey"}, ["lower", 50], ["upper", 50]]});
    for (key, expected) in [
        ("ejOoVL", "lower"),
        ("bY9fO-", "lower"),
        ("SI7p-", "lower"),
        ("6LvT0", "upper"),
        ("ceQdGm", "upper"),
    ] {
        assert_eq!(select(&rule, HashVersion::V2, "f", &json!({"targetingKey": key})), expected, "{key}");
    }
}

#[test]
fn variants_and_weights_may_be_expressions() {
    let premium = json!({"==": [{"var": "tier"}, "premium"]});
    let key = json!({"var": "targetingKey"});
    let variant =
        json!({"fractional": [key, [{"if": [premium, "premium", "standard"]}, 50], ["standard", 50]]});
    let color = json!({"fractional": [key, [{"var": "color"}, 50], ["blue", 50]]});
    let weight = json!({"fractional": [key, ["red", {"if": [premium, 100, 0]}], ["blue", 10]]});
    for (rule, who, name, value, expected) in [
        (&variant, "jon@company.com", "tier", "premium", "premium"),
        (&variant, "jon@company.com", "tier", "basic", "standard"),
        (&variant, "user1", "tier", "premium", "standard"),
        (&color, "jon@company.com", "color", "green", "green"),
        (&color, "user1", "color", "red", "blue"),
        (&color, "jon@company.com", "other", "", "(default)"),
        (&weight, "jon@company.com", "tier", "premium", "red"),
        (&weight, "jon@company.com", "tier", "basic", "blue"),
        (&weight, "user1", "tier", "premium", "red"),
        (&weight, "user1", "tier", "basic", "blue"),
    ] {
        let attributes = json!({"targetingKey": who, name: value});
        assert_eq!(select(rule, HashVersion::V2, "f", &attributes), expected, "{rule} {attributes}");
    }
    let key = json!({"targetingKey": "some-targeting-key"});
    let condition = |no, yes| json!({"if": [{"fractional": [[false, no], [true, yes]]}, "big", "small"]});
    assert_eq!(select(&condition(0, 100), HashVersion::V2, "f", &key), "big");
    assert_eq!(select(&condition(100, 0), HashVersion::V2, "f", &key), "small");
}

#[test]
fn weights_that_make_no_sense_select_what_flagd_selects() {
    let key = json!({"targetingKey": "any-user"});
    for (rule, expected) in [
        (json!({"fractional": [["single", 1]]}), "single"),
        (json!({"fractional": [["one", -50], ["two", 100]]}), "two"),
        (json!({"fractional": [["one", 0], ["two", 0]]}), "(default)"),
        (json!({"fractional": [["one", 0.5], ["two", 0.5]]}), "(default)"),
        (json!({"fractional": [["one", "1"]]}), "(default)"),
        (json!({"fractional": [["one", null]]}), "one"),
        (json!({"fractional": [["one", 2_147_483_647], ["two", 0]]}), "one"),
        (json!({"fractional": [["one", 2_147_483_647], ["two", 1]]}), "(default)"),
        (json!({"fractional": [["one", 2_147_483_648_u32]]}), "(default)"),
        (json!({"fractional": [[]]}), "(default)"),
        (json!({"fractional": []}), "(default)"),
        (json!({"fractional": ["seed"]}), "(default)"),
        (json!({"fractional": ["seed", "one"]}), "(default)"),
        (json!({"fractional": [["one"], 5]}), "(default)"),
        (json!({"fractional": [[["list"], 1]]}), "(default)"),
        (json!({"fractional": [{"merge": ["one", 5]}]}), "one"),
        (json!({"fractional": {"merge": [[["one", 5]]]}}), "one"),
        (json!({"fractional": [["1", 1]]}), "1"),
        (json!({"fractional": [[true, 1]]}), "true"),
        (json!({"fractional": [[null, 1]]}), "(default)"),
    ] {
        assert_eq!(select(&rule, HashVersion::V2, "f", &key), expected, "{rule}");
    }
}

#[test]
fn version_3_hashes_values_of_every_type() {
    let entries = (1..=25).map(|bucket| json!([format!("bucket{bucket}"), 1]));
    let mut args = vec![json!({"var": "hashing_input"})];
    args.extend(entries);
    let rule = json!({ "fractional": args });
    for (input, bucket) in [
        (json!(true), 5),
        (json!(false), 1),
        (json!("user1"), 22),
        (json!(123), 20),
        (json!(456), 12),
        (json!(1.23), 14),
        (json!(4.56), 18),
        (json!("123"), 22),
        (json!("null"), 8),
        (json!(0), 8),
        (json!(-0.0), 8),
        (json!(1.0), 23),
        (json!(-2), 12),
        (json!(65_536), 11),
        (json!(-25), 16),
        (json!(1e20), 19),
        (json!(65_504.0), 16),
        (json!(0.000_061_035_156_25), 22),
        (json!(5.960_464_477_539_063e-8), 23),
        (json!(3.402_823_466_385_288_6e38), 10),
        (json!(1.175_494_350_822_287_5e-38), 24),
        (json!(5e-324), 2),
        (json!({"b": 2, "a": 1}), 23),
        (json!({"aa": 2, "z": 1}), 21),
        (json!({"aaa": 1, "ÿ": 2}), 12),
        (json!({"key": -0.0}), 10),
        (json!({}), 3),
        (json!({"a": {}, "b": []}), 7),
        (json!({"a": [1, "two", true, [], null]}), 23),
        (json!({"a": {"b": {"c": {"d": null}}}}), 19),
        (json!(""), 4),
        (json!("123456789012345678901234"), 14),
        (json!("a".repeat(255)), 18),
        (json!("a".repeat(256)), 7),
        (json!("あいうえおかきく"), 16),
        (json!(r"\uD83D\uDE00"), 23),
        (json!(r"A\u0000B"), 15),
        (json!(r"e\u0301"), 7),
    ] {
        let selected =
            select(&rule, HashVersion::V3, "fractional-basic-flag", &json!({"hashing_input": input}));
        assert_eq!(selected, format!("bucket{bucket}"), "{input}");
    }
    assert_eq!(select(&rule, HashVersion::V3, "f", &json!({"hashing_input": null})), "(default)");
    assert_eq!(select(&rule, HashVersion::V3, "f", &json!({"hashing_input": [1]})), "(default)");
}

#[test]
fn versions_are_compared_and_what_is_none_gives_null() {
    let data = json!({"v": "1.2.3", "n": 2});
    for (rule, expected) in [
        (json!({"sem_ver": [{"var": "v"}, "=", "1.2.3"]}), json!(true)),
        (json!({"sem_ver": [{"var": "v"}, "^", "v1"]}), json!(true)),
        (json!({"sem_ver": [{"var": "v"}, "~", "1.3.0"]}), json!(false)),
        (json!({"sem_ver": [{"var": "n"}, ">", "1.9"]}), json!(true)),
        (json!({"sem_ver": [2.1, "=", "2.1.0"]}), json!(true)),
        (json!({"sem_ver": [{"var": "v"}, "===", "1.2.3"]}), json!(null)),
        (json!({"sem_ver": [{"var": "v"}, "="]}), json!(null)),
        (json!({"sem_ver": [{"var": "z"}, "=", "1.0.0"]}), json!(null)),
        (json!({"sem_ver": ["2.0.0.0", "=", "2.0.0"]}), json!(null)),
        (json!({"sem_ver": "1.0.0"}), json!(null)),
    ] {
        assert_eq!(apply(&rule, &data).unwrap(), expected, "{rule}");
    }
}

#[test]
fn beginnings_and_ends_are_those_of_texts_only() {
    let data = json!({"id": "abcxyz", "n": 3});
    for (rule, expected) in [
        (json!({"starts_with": [{"var": "id"}, "abc"]}), json!(true)),
        (json!({"starts_with": [{"var": "id"}, "xyz"]}), json!(false)),
        (json!({"ends_with": [{"var": "id"}, "xyz"]}), json!(true)),
        (json!({"ends_with": [{"var": "id"}, ""]}), json!(true)),
        (json!({"starts_with": [{"var": "n"}, "3"]}), json!(null)),
        (json!({"ends_with": [{"var": "id"}, 3]}), json!(null)),
        (json!({"starts_with": ["abc"]}), json!(null)),
        (json!({"starts_with": ["a", "a", "a"]}), json!(null)),
        (json!({"lower": {"var": "id"}}), json!("abcxyz")),
        (json!({"upper": ["aBcé"]}), json!("ABCé")),
        (json!({"lower": 3}), json!(null)),
    ] {
        assert_eq!(apply(&rule, &data).unwrap(), expected, "{rule}");
    }
}

#[test]
fn patterns_match_anywhere_in_a_text() {
    let data = json!({"id": "abc-123"});
    for (rule, expected) in [
        (json!({"tenantry_matches": [{"var": "id"}, "[0-9]+$"]}), json!(true)),
        (json!({"tenantry_matches": [{"var": "id"}, "^[0-9]"]}), json!(false)),
        (json!({"tenantry_matches": [{"var": "z"}, "."]}), json!(null)),
    ] {
        assert_eq!(apply(&rule, &data).unwrap(), expected, "{rule}");
    }
    let compile = |source: &Value| Rule::compile(source, &Segments::new(), HashVersion::V2);
    assert!(!compile(&json!({"tenantry_matches": ["a", "b"]})).unwrap().is_portable());
    assert!(!compile(&json!({"==": [{"lower": [{"var": "id"}]}, "b"]})).unwrap().is_portable());
    assert!(compile(&json!({"starts_with": ["a", "b"]})).unwrap().is_portable());
    for bad in ["(", "(?=a)", r"(a)\1", r"(\w{1,100}){1,100}", &"a".repeat(1_001)] {
        let error = compile(&json!({"tenantry_matches": [{"var": "id"}, bad]})).unwrap_err();
        assert_eq!((error.kind, error.path.as_str()), (ErrorKind::Pattern, "tenantry_matches"), "{error}");
    }
}

#[test]
fn a_rule_knows_its_flag_and_the_time() {
    let rule = json!({"if": [{">=": [{"var": "$flagd.timestamp"}, 100]}, {"var": "$flagd.flagKey"}]});
    assert_eq!(select_at(&rule, HashVersion::V2, "the-flag", &json!({}), 99), "(default)");
    assert_eq!(select_at(&rule, HashVersion::V2, "the-flag", &json!({}), 100), "the-flag");
    let lie = json!({"$flagd": {"flagKey": "lie", "timestamp": 100}});
    assert_eq!(select_at(&rule, HashVersion::V2, "the-flag", &lie, 99), "(default)");
    assert_eq!(select_at(&rule, HashVersion::V2, "the-flag", &lie, 101), "the-flag");
}

#[test]
fn what_a_rule_gives_is_read_as_a_variant_as_flagd_reads_it() {
    for (rule, expected) in [
        (json!("on"), "on"),
        (json!({"if": [true, null, "on"]}), "(default)"),
        (json!({"if": [false, "on"]}), "(default)"),
        (json!(null), "(default)"),
        (json!({}), "(default)"),
        (json!({"==": [1, 1]}), "true"),
        (json!({"==": [1, 2]}), "false"),
        (json!({"+": [1, 1]}), "2"),
        (json!({"/": [1, 2]}), "0.5"),
        (json!({"/": [1, 0]}), "(default)"),
        (json!({"cat": ["o", "n"]}), "on"),
        (json!(["on"]), "[on]"),
        (json!({"foo": 1}), "(UnknownOperator)"),
        (json!({"if": [true, "on", {"foo": 1}]}), "on"),
        (json!({"if": [{"var": "x"}, {"foo": 1}, "on"]}), "on"),
        (json!({"if": [{"$ref": "nobody"}, "on"]}), "(UnknownOperator)"),
    ] {
        assert_eq!(select(&rule, HashVersion::V2, "f", &json!({})), expected, "{rule}");
    }
}

fn segments(sources: &[(&str, Value)]) -> Result<Segments, Error> {
    Segments::compile(sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone())))
}

#[test]
fn a_segment_stands_where_its_name_does() {
    let segments = segments(&[
        ("staff", json!({"ends_with": [{"var": "email"}, "@us.example"]})),
        ("early", json!({"or": [{"$ref": "staff"}, {"in": [{"var": "tenantId"}, {"$ref": "pilots"}]}]})),
        ("pilots", json!(["finance", "legal"])),
        ("split", json!([{"var": "tenantId"}, ["on", 1]])),
        ("entry", json!(["on", 1])),
    ])
    .unwrap();
    let say = |rule: &Value, attributes: &Value| {
        let rule = Rule::compile(rule, &segments, HashVersion::V2).unwrap();
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let input = Input { flag_key: "f", now: Timestamp::UNIX_EPOCH, context: &context };
        let used: Vec<String> = rule.segments().map(str::to_owned).collect();
        (format!("{:?}", rule.select(&input)), used)
    };
    let rule = json!({"if": [{"$ref": "early"}, "on", "off"]});
    for (attributes, expected) in [
        (json!({"email": "a@us.example"}), "on"),
        (json!({"tenantId": "legal"}), "on"),
        (json!({"tenantId": "sales"}), "off"),
    ] {
        let (said, used) = say(&rule, &attributes);
        assert_eq!(said, format!("Variant(\"{expected}\")"));
        assert_eq!(used, ["early", "pilots", "staff"]);
    }
    let whole = json!({"fractional": {"$ref": "split"}});
    let part = json!({"fractional": [{"var": "tenantId"}, {"$ref": "entry"}]});
    for rule in [whole, part] {
        assert_eq!(say(&rule, &json!({"tenantId": "x"})).0, "Variant(\"on\")");
    }
}

#[test]
fn segments_in_a_circle_are_refused_with_the_way_round() {
    let error = segments(&[
        ("a", json!({"!": [{"$ref": "b"}]})),
        ("b", json!({"and": [true, {"$ref": "c"}]})),
        ("c", json!({"$ref": "b"})),
    ])
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cycle);
    assert!(error.why.contains(r#""b" -> "c" -> "b""#), "{error}");
    let error = segments(&[("a", json!({"$ref": "a"}))]).unwrap_err();
    assert_eq!(error.to_string(), r#"at $evaluators.a: refers to itself: "a" -> "a""#);
}

#[test]
fn a_mistake_is_refused_with_its_place() {
    for (source, kind, path) in [
        (json!({"foo": 1}), ErrorKind::Operator, "foo"),
        (json!({"if": [true, "a", {"==": [1, {"foo": 1}]}]}), ErrorKind::Operator, "if[2].==[1].foo"),
        (json!({"if": [{"$ref": "nobody"}, "a"]}), ErrorKind::Segment, "if[0].$ref"),
        (json!({"==": [1]}), ErrorKind::Arguments, "=="),
        (json!({"starts_with": [{"var": "a"}]}), ErrorKind::Arguments, "starts_with"),
        (json!({"map": [{"var": "a"}]}), ErrorKind::Arguments, "map"),
        (json!({"reduce": [[], 1]}), ErrorKind::Arguments, "reduce"),
        (json!({"var": true}), ErrorKind::Arguments, "var"),
        (json!({"sem_ver": [{"var": "v"}, "==", "1.0.0"]}), ErrorKind::Arguments, "sem_ver"),
        (json!({"sem_ver": [{"var": "v"}, "=", "one"]}), ErrorKind::Arguments, "sem_ver"),
        (json!({"fractional": []}), ErrorKind::Arguments, "fractional"),
        (json!({"fractional": [["a", 0.5]]}), ErrorKind::Arguments, "fractional[0]"),
        (json!({"fractional": ["seed", ["a", 1], "b"]}), ErrorKind::Arguments, "fractional[2]"),
        (json!({"fractional": [["a", 2_147_483_647], ["b", 1]]}), ErrorKind::Arguments, "fractional"),
    ] {
        let error = Rule::compile(&source, &Segments::new(), HashVersion::V2).unwrap_err();
        assert_eq!((error.kind, error.path.as_str()), (kind, path), "{source}: {error}");
    }
}

#[test]
fn a_mistake_in_a_file_s_segment_spoils_only_the_rules_that_use_it() {
    let sources = [("bad".to_owned(), json!({"tenantry_matches": 1})), ("good".to_owned(), json!(true))];
    let segments = Segments::compile_foreign(sources).unwrap();
    let compile = |name: &str| {
        Rule::compile_foreign(&json!({"if": [{"$ref": name}, "on"]}), &segments, HashVersion::V2)
    };
    assert!(compile("good").is_ok());
    assert_eq!(compile("bad").unwrap_err().kind, ErrorKind::Arguments);
}

#[test]
fn a_rule_tells_what_it_reads_so_that_nothing_else_is_taken_for_constant() {
    let read = |source: Value| {
        let rule = Rule::compile_foreign(&source, &Segments::new(), HashVersion::V2).unwrap();
        let attributes: Vec<String> = rule.attributes().map(str::to_owned).collect();
        (attributes.join(" "), rule.reads_time(), rule.reads_flag_key(), rule.is_constant())
    };
    let of = |names: &str| (names.to_owned(), false, false, false);
    assert_eq!(read(json!("on")), (String::new(), false, false, true));
    assert_eq!(read(json!({"if": [true, "on", {"var": "x"}]})), (String::new(), false, false, true));
    assert_eq!(
        read(json!({"if": [{"==": [1, 1]}, "on", {"var": "x"}]})),
        (String::new(), false, false, true)
    );
    assert_eq!(
        read(json!({"if": [{"==": [{"var": "tier"}, "gold"]}, {"var": "user.name"}]})),
        of("tier user")
    );
    assert_eq!(read(json!({"in": [{"var": ["a", {"var": "b"}]}, ["x"]]})), of("a b"));
    assert_eq!(read(json!({"missing": ["a.b", "c"]})), of("a c"));
    assert_eq!(read(json!({"tenantry_matches": [{"var": "a"}, "x"]})), of("a"));
    assert_eq!(read(json!({"some": [{"var": "xs"}, {"var": "y"}]})), of("xs y"));
    assert_eq!(read(json!({"fractional": [["on", 1]]})), ("targetingKey".to_owned(), false, true, false));
    assert_eq!(read(json!({"var": "$flagd.timestamp"})), (String::new(), true, false, false));
    assert_eq!(read(json!({"var": "$flagd.flagKey"})), (String::new(), false, true, true));
    assert_eq!(read(json!({"var": ""})), (String::new(), true, true, false));
    assert_eq!(read(json!({"var": {"var": "x"}})), (" x".to_owned(), true, true, false));
}

#[test]
fn a_number_names_its_variant_as_go_writes_it_in_json() {
    for (number, name) in [
        (json!(1e21), "1e+21"),
        (json!(-2.5e22), "-2.5e+22"),
        (json!(1e20), "100000000000000000000"),
        (json!(1e-7), "1e-7"),
        (json!(0.000_001), "0.000001"),
        (json!(0), "0"),
        (json!([1e21, 1.5]), "[1e+21,1.5]"),
    ] {
        assert_eq!(select(&json!({"var": "n"}), HashVersion::V2, "f", &json!({"n": number})), name);
    }
}

#[test]
fn the_whole_context_is_never_empty_since_flagd_adds_to_it() {
    let rule = json!({"if": [{"var": ""}, "there", "empty"]});
    assert_eq!(select(&rule, HashVersion::V2, "f", &json!({})), "there");
}

/// flagd's engine reads a text as Go does, and no two engines agree: docs/OPENFEATURE.md lists these.
#[test]
fn a_text_beside_a_number_is_read_without_white_space_at_its_ends_and_as_a_decimal_number() {
    for (text, at_least, is_it) in [
        ("5 ", 5, true),
        ("\t5", 5, true),
        ("5\n", 6, false),
        ("1E400", 6, true),
        ("1_000", 0, false),
        ("0x1p4", 0, false),
        ("0x10", 0, false),
    ] {
        let said = apply(&json!({">=": [{"var": "t"}, at_least]}), &json!({ "t": text }));
        assert_eq!(said, Ok(json!(is_it)), "{text:?}");
    }
}
