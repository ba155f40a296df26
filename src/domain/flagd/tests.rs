use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::flag::{CompiledFlags, FlagFile, FlagType, Origin, Query};
use crate::domain::ids::Revision;
use crate::domain::rule::{Context, Effort};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn read(file: &Value) -> File {
    File::parse(&file.to_string()).unwrap()
}

/// The file as it is given back.
fn written(file: &File) -> String {
    file.head.write(&file.flags.iter().map(|(key, entry)| (key.as_str(), entry.text.clone())).collect())
}

fn again(file: &Value) -> Value {
    serde_json::from_str(&written(&read(file))).unwrap()
}

/// The flags of a file as they are evaluated.
fn compiled(file: &File) -> CompiledFlags {
    let name = file.head.flag_set();
    let head = FlagFile::new(name.clone(), &file.head, NOW);
    let mut flags = CompiledFlags::new().with_file(head.into());
    for (key, entry) in &file.flags {
        let origin = Origin { file: name.clone(), source: entry.text.as_str().into(), is_changed: false };
        let flag = settings(key, entry, &name, None).unwrap().into_flag(Revision(1), NOW);
        flags = flags.with_flag(crate::domain::flag::Flag { origin: Some(origin), ..flag }.into());
    }
    flags
}

#[test]
fn what_cannot_be_read_is_said_in_our_words() {
    let refused = |text: &str| File::parse(text).unwrap_err().to_string();
    for (text, sentence) in [
        ("fro", "must be JSON; it cannot be read at line 1, column 2"),
        (
            r#"{"flags": {}, "metadata": {"a": 1e999}}"#,
            "it is nested too deep, or has a number that is too large",
        ),
    ] {
        assert!(refused(text).contains(sentence), "{}", refused(text));
    }
}

fn sample() -> Value {
    json!({
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "metadata": {"flagSetId": "shop", "version": "7"},
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@us.example"]}},
        "flags": {
            "plain": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
            "off": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
            "mixed": {"state": "ENABLED", "variants": {"a": 1, "b": "x", "c": {"d": [null]}, "e": 1.5}},
            "null-default": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null},
            "empty-default": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": ""},
            "ruled": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [{"$ref": "staff"}, "a"]}},
            "no-rule": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {}},
            "described": {"state": "ENABLED", "variants": {"a": 1}, "metadata": {"owner": "x"}, "future": [1]},
            "stateless": {"variants": {"a": 1}},
            "strange": {"state": "PAUSED", "variants": {"a": 1}},
            "nulls": {"state": null, "variants": null, "metadata": null, "targeting": null},
            "nothing": null,
            "a key of ours? no: Ü": {"variants": {"a name of ours? neither ": []}},
        },
    })
}

#[test]
fn a_file_is_written_as_it_was_read() {
    assert_eq!(again(&sample()), sample());
    for head in [
        json!({"flags": {}}),
        json!({"flags": null}),
        json!({"flags": []}),
        json!({"flags": {}, "$evaluators": {}, "metadata": {}}),
        json!({"flags": {}, "$evaluators": null, "metadata": null, "future": {"a": [1]}}),
        json!({"flags": {"": {"variants": {}}}}),
    ] {
        assert_eq!(again(&head), head);
    }
}

#[test]
fn numbers_are_written_to_the_digit() {
    let text = r#"{"flags":{"n":{"targeting":{"if":[{"==":[1.0,{"var":"x"}]},"a"]},"variants":{"a":1.0,"b":12345678901234567890123,"c":1e2,"d":-0.0}}},"metadata":{"v":1.10}}"#;
    assert_eq!(written(&File::parse(text).unwrap()), text);
}

#[test]
fn a_list_is_written_as_a_list_with_what_flagd_reads_past() {
    let flag = |key: &str, value: u32| json!({"key": key, "variants": {"a": value}});
    let file =
        json!({"flags": [flag("b", 1), flag("a", 1), null, {"variants": {}}, flag("b", 2), flag("", 3)]});
    assert_eq!(again(&file), file);
    let read = read(&file);
    assert_eq!(read.flags["b"].flag.as_ref().unwrap().variants["a"], 2, "the last one counts");
    // Flags that come and go leave the order of the others.
    let flags = BTreeMap::from([("b", r#"{"key":"b"}"#.to_owned()), ("c", "{}".to_owned())]);
    let changed: Value = serde_json::from_str(&read.head.write(&flags)).unwrap();
    assert_eq!(changed["flags"].as_array().unwrap().last(), Some(&json!({"key": "c"})));
}

#[test]
fn flags_are_read_as_flagd_reads_them() {
    let file = read(&sample());
    let flag = |key: &str| file.flags[key].flag.clone().unwrap();
    assert!(flag("off").is_disabled && !flag("plain").is_disabled);
    assert!(!flag("stateless").is_disabled && !flag("strange").is_disabled);
    assert_eq!(flag("plain").default_variant.as_deref(), Some("off"));
    assert_eq!([flag("null-default").default_variant, flag("empty-default").default_variant], [None, None]);
    assert_eq!(flag("no-rule").targeting, None);
    assert_eq!(flag("ruled").targeting, Some(json!({"if": [{"$ref": "staff"}, "a"]})));
    assert_eq!(flag("nothing"), Flag::default());
    let cased = read(&json!({"flags": {"f": {"STATE": "DISABLED", "Variants": {"a": 1}}}}));
    assert!(cased.flags["f"].flag.as_ref().unwrap().is_disabled, "flagd reads members in any case");
    assert_eq!(file.head.metadata()["version"], "7");
}

#[test]
fn an_unreadable_flag_spoils_no_other_answers_parse_error_and_is_written_as_it_stands() {
    let file = json!({"flags": {
        "good": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"},
        "number": 5,
        "variants": {"variants": [1]},
        "default": {"variants": {"a": 1}, "defaultVariant": "b"},
        "default-type": {"variants": {"a": 1}, "defaultVariant": 1},
        "state": {"state": true, "variants": {"a": 1}},
        "metadata": {"metadata": "x", "variants": {"a": 1}},
    }});
    assert_eq!(again(&file), file);
    let flags = compiled(&read(&file));
    let context = Context::default();
    let query = Query { tenant: None, context: &context, now: NOW };
    flags
        .evaluate_all(&query, Effort::Full, |key, evaluation| {
            let expected = (key.as_str() != "good").then_some("PARSE_ERROR");
            assert_eq!(evaluation.error_code(), expected, "{key}");
        })
        .unwrap();
}

#[test]
fn what_is_no_flag_file_is_refused_with_its_place() {
    for (text, path) in [
        ("", "file"),
        ("[]", "file"),
        ("{", "file"),
        ("{}", "flags"),
        (r#"{"flags": 1}"#, "flags"),
        (r#"{"flags": [{"key": 1}]}"#, "flags[0].key"),
        (r#"{"flags": [1]}"#, "flags[0]"),
        (r#"{"flags": {"a": {"variants": {"a": 1e400}}}}"#, "flags[\"a\"]"),
        (r#"{"flags": {}, "metadata": 1}"#, "metadata"),
        (r#"{"flags": {}, "$evaluators": []}"#, "$evaluators"),
        (r#"{"flags": [{"key": "a"}, {"key": "a", "metadata": {"flagSetId": "x"}}]}"#, "flags[1]"),
    ] {
        assert_eq!(File::parse(text).unwrap_err().path, path, "{text}");
    }
}

#[test]
fn what_the_database_cannot_hold_is_refused_by_its_place() {
    let refused = |key: &str, flag: Value| {
        let file = read(&json!({"flags": {key: flag}}));
        let found = settings(key, &file.flags[key], "", None).unwrap_err();
        found.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
    };
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(refused("a\0", json!({})), [r#"flags["a\u{0}"]"#]);
    assert_eq!(refused("a", json!({"variants": {"x": "\0"}})), [r#"flags["a"].variants"#]);
    assert_eq!(refused("a", json!({"variants": {"x": deep}})), [r#"flags["a"].variants"#]);
    assert_eq!(refused("a", json!({"targeting": deep})), [r#"flags["a"].targeting"#]);
    assert_eq!(refused("a", json!({"variants": {"n".repeat(1_025): 1}})), [r#"flags["a"].variants"#]);
    assert_eq!(refused("a", json!({"variants": {"x": "x".repeat(1 << 20)}}))[0], r#"flags["a"]"#);
}

#[test]
fn a_flag_has_the_type_of_its_values() {
    for (variants, expected) in [
        (json!({"a": 1, "b": 2}), FlagType::Integer),
        (json!({"a": 1, "b": 2.5}), FlagType::Double),
        (json!({"a": 1, "b": "x"}), FlagType::Mixed),
        (json!({"a": []}), FlagType::Mixed),
        (json!({}), FlagType::Mixed),
        (json!({"a": {}}), FlagType::Object),
    ] {
        let file = read(&json!({"flags": {"f": {"variants": variants}}}));
        let flag = settings("f", &file.flags["f"], "", None).unwrap();
        assert_eq!(flag.flag_type, expected);
    }
}

#[test]
fn segments_of_a_file_are_its_own() {
    let file = read(&json!({
        "metadata": {"flagSetId": "shop"},
        "$evaluators": {"staff": {"==": [{"var": "who"}, "ada"]}},
        "flags": {
            "known": {"variants": {"a": 1}, "targeting": {"if": [{"$ref": "staff"}, "a"]}},
            "dangling": {"variants": {"a": 1}, "targeting": {"if": [{"$ref": "ours"}, "a"]}},
        },
    }));
    let ours = crate::domain::flag::NewSegment {
        name: crate::domain::ids::SegmentName::parse("ours").unwrap(),
        description: String::new(),
        source: json!(true),
    };
    let flags = compiled(&file).with_segments([ours.into_segment(NOW).into()]);
    let Value::Object(attributes) = json!({"who": "ada"}) else { unreachable!() };
    let context = Context::new(attributes).unwrap();
    let query = Query { tenant: None, context: &context, now: NOW };
    assert_eq!(flags.evaluate(&query, "known").variant.unwrap().as_str(), "a");
    assert_eq!(flags.evaluate(&query, "dangling").error_code(), Some("PARSE_ERROR"));
    assert_eq!(flags.users_of_segment("ours").count(), 0, "a file does not use what is ours");
}

#[test]
fn a_newer_file_keeps_the_segments_that_it_does_not_name() {
    let older = read(&json!({"flags": {}, "$evaluators": {"a": 1, "b": 2}, "metadata": {"x": 1}}));
    let newer = read(&json!({"flags": {}, "$evaluators": {"b": 3}}));
    let both = older.head.with(&newer.head);
    assert_eq!(both.evaluators, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "3".into())]));
    assert!(both.metadata().is_empty());
    let none = read(&json!({"flags": {}, "$evaluators": {}}));
    let merged: Value = serde_json::from_str(&older.head.with(&none.head).write(&BTreeMap::new())).unwrap();
    assert_eq!(merged["$evaluators"], json!({"a": 1, "b": 2}));
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        "[a-z\"\\\\ ü]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z$]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A flag, mostly of the shape that one has.
fn any_flag() -> impl Strategy<Value = Value> {
    let variants = prop::collection::btree_map("[a-c]{0,1}", any_json(), 0..3);
    let state = prop_oneof![Just(json!("ENABLED")), Just(json!("DISABLED")), Just(json!(null)), any_json()];
    let default = prop_oneof![Just(json!("a")), Just(json!("")), Just(json!(null)), any_json()];
    let rule = prop_oneof![
        Just(json!({"if": [{"==": [{"var": "who"}, "ada"]}, "a", "b"]})),
        Just(json!({"if": [{"$ref": "staff"}, "a"]})),
        Just(json!({"fractional": [["a", 1], ["b", 1]]})),
        any_json()
    ];
    let whole = (variants, state, default, rule, any_json(), 0_u8..32).prop_map(|parts| {
        let (variants, state, default, rule, metadata, which) = parts;
        let members = [
            ("variants", Value::Object(variants.into_iter().collect())),
            ("state", state),
            ("defaultVariant", default),
            ("targeting", rule),
            ("metadata", if which < 24 { json!({"m": metadata}) } else { metadata }),
        ];
        let chosen = members.into_iter().enumerate().filter(|(place, _)| which & 1 << place != 0);
        Value::Object(chosen.map(|(_, (name, value))| (name.to_owned(), value)).collect())
    });
    prop_oneof![8 => whole, 1 => any_json()]
}

fn any_file() -> impl Strategy<Value = Value> {
    let flags = prop::collection::btree_map("[a-f ü/]{0,3}", any_flag(), 0..6);
    let evaluators = prop::collection::btree_map("staff|[a-z]{0,3}", any_json(), 0..3);
    (flags, evaluators, any::<bool>(), any_json(), 0_u8..8).prop_map(
        |(flags, evaluators, listed, rest, which)| {
            let object = |map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect());
            let mut file = json!({});
            file["flags"] = if listed {
                let entry = |(key, mut flag): (String, Value)| {
                    if let Some(flag) = flag.as_object_mut() {
                        flag.insert("key".to_owned(), key.into());
                    }
                    if flag.is_object() { flag } else { Value::Null }
                };
                flags.into_iter().map(entry).collect()
            } else {
                object(flags)
            };
            for (place, (name, value)) in [
                ("$evaluators", object(evaluators)),
                ("metadata", json!({"flagSetId": "shop", "v": rest.clone()})),
                ("more", rest),
            ]
            .into_iter()
            .enumerate()
            {
                if which & 1 << place != 0 {
                    file[name] = value;
                }
            }
            file
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_file_is_given_back_and_evaluates_without_a_panic(file in any_file()) {
        let read = read(&file);
        prop_assert_eq!(&serde_json::from_str::<Value>(&written(&read)).unwrap(), &file);
        let flags = compiled(&read);
        let context = Context::default();
        let query = Query { tenant: None, context: &context, now: NOW };
        flags.evaluate_all(&query, Effort::Full, |key, evaluation| {
            let expected = &read.flags[key.as_str()].flag;
            assert!(expected.is_ok() || evaluation.error_code() == Some("PARSE_ERROR"));
        }).unwrap();
        // A flag that was decided for nobody is a definition that says the same.
        for resolved in flags.resolved(&query) {
            let entry = Entry::again(&definition(&resolved));
            let before = &read.flags[resolved.flag.key().as_str()].flag;
            prop_assert_eq!(
                entry.flag.as_ref().map(|flag| flag.is_disabled).ok(),
                Some(before.as_ref().is_ok_and(|flag| flag.is_disabled))
            );
        }
    }
}
