//! What flagd 0.16's library (`gopkg.in/yaml.v3`, v3.0.1) makes of the same texts, each looked up there: decoded into
//! `map[string]any` and written as JSON.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    read(text).unwrap_or_else(|why| panic!("{text:?}: {why}")).value
}

fn refusal(text: &str) -> String {
    read(text).map(|read| read.value).expect_err(text)
}

/// What stands behind a key, and what it is.
fn check(table: &[(&str, Value)]) {
    for (text, expected) in table {
        assert_eq!(value(&format!("a: {text}\n"))["a"], *expected, "{text}");
    }
}

#[test]
fn a_whole_number_may_be_of_four_bases() {
    check(&[
        ("017", json!(15)),
        ("-017", json!(-15)),
        ("0o17", json!(15)),
        ("+0o17", json!(15)),
        ("0O17", json!(15)),
        ("0o-7", json!(-7)),
        ("0x1F", json!(31)),
        ("0X1f", json!(31)),
        ("0x_1", json!(1)),
        ("0x-1", json!("0x-1")),
        ("0b11", json!(3)),
        ("-0b11", json!(-3)),
        ("0b-1", json!(-1)),
        ("0b2", json!("0b2")),
        ("08", json!(8)),
        ("00", json!(0)),
        ("0x", json!("0x")),
        ("+1", json!(1)),
        ("1_000", json!(1000)),
        ("1__0", json!(10)),
        ("1_", json!(1)),
        ("_1", json!("_1")),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("0x8000000000000000", json!(1_u64 << 63)),
        ("+18446744073709551615", json!(18_446_744_073_709_551_615.0)),
        ("18446744073709551616", json!(18_446_744_073_709_552_000.0)),
        ("-9223372036854775809", json!(-9_223_372_036_854_775_808.0)),
    ]);
}

#[test]
fn a_number_has_digits_and_perhaps_a_fraction_and_an_exponent() {
    assert_eq!(value("a: -0.0")["a"].to_string(), "-0.0");
    check(&[
        ("1.0", json!(1)),
        ("1.", json!(1)),
        ("1.e3", json!(1000)),
        ("1E+3", json!(1000)),
        ("12e03", json!(12000)),
        ("1_0.2_5", json!(10.25)),
        (".5e3", json!(500)),
        ("-.5", json!(-0.5)),
        (".1_5", json!(0.15)),
        ("._5", json!("._5")),
        ("0.1e-400", json!(0)),
        ("1e400", json!("1e400")),
        ("0x1p3", json!("0x1p3")),
        (".", json!(".")),
        ("+", json!("+")),
        (".e3", json!(".e3")),
        ("1:20", json!("1:20")),
    ]);
}

#[test]
fn words_and_times_are_what_flagd_takes_them_for() {
    check(&[
        ("", json!(null)),
        ("Null", json!(null)),
        ("nULL", json!("nULL")),
        ("TRUE", json!(true)),
        ("tRUE", json!("tRUE")),
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("n", json!("n")),
        ("2026-01-01", json!("2026-01-01T00:00:00Z")),
        ("0000-01-01", json!("0000-01-01T00:00:00Z")),
        ("2026-1-2T3:4:5Z", json!("2026-01-02T03:04:05Z")),
        ("2026-01-02t03:04:05Z", json!("2026-01-02T03:04:05Z")),
        ("2026-01-02 03:04:05.120", json!("2026-01-02T03:04:05.12Z")),
        ("2026-01-02T03:04:05,5Z", json!("2026-01-02T03:04:05.5Z")),
        ("2026-01-02T03:04:05.1234567890123Z", json!("2026-01-02T03:04:05.123456789Z")),
        ("2026-01-02T03:04:05+02:00", json!("2026-01-02T03:04:05+02:00")),
        ("2026-01-02T03:04:05-00:30", json!("2026-01-02T03:04:05-00:30")),
        ("2026-01-02T03:04:05-00:00", json!("2026-01-02T03:04:05Z")),
        ("2026-01-02T03:04:05+25:00", json!("2026-01-02T03:04:05+25:00")),
        ("2026-02-30", json!("2026-02-30")),
        ("2026-001-01", json!("2026-001-01")),
        ("20_26-01-01", json!("20_26-01-01")),
        ("2026-01-02T03:04:60Z", json!("2026-01-02T03:04:60Z")),
        ("2026-01-02T24:00:00Z", json!("2026-01-02T24:00:00Z")),
        ("2026-01-02T03:04:05", json!("2026-01-02T03:04:05")),
        ("2026-01-02 03:04:05Z", json!("2026-01-02 03:04:05Z")),
        ("2026-01-02 03:04", json!("2026-01-02 03:04")),
        ("2026-01-02T3:04:05.Z", json!("2026-01-02T3:04:05.Z")),
        ("2026-01-02T03:04:05+0200", json!("2026-01-02T03:04:05+0200")),
    ]);
}

#[test]
fn tags_and_quotes_say_what_a_text_is() {
    check(&[
        ("'017'", json!("017")),
        ("!!str 017", json!("017")),
        ("!!str", json!("")),
        ("!!float 5", json!(5)),
        ("!!int '5'", json!(5)),
        ("!!null ''", json!(null)),
        ("!!timestamp '2026-01-01'", json!("2026-01-01T00:00:00Z")),
        ("!!binary aGk=", json!("hi")),
        ("!!binary /////w==", json!("\u{fffd}\u{fffd}\u{fffd}\u{fffd}")),
        ("!foo 5", json!("5")),
        ("! 017", json!(15)),
        ("! '017'", json!("017")),
        ("!<tag:yaml.org,2002:str> 5", json!("5")),
        ("!!set {x, y}", json!({"x": null, "y": null})),
        ("!!str {b: 1}", json!({"b": 1})),
        ("|\n  017", json!("017\n")),
        ("{b:1}", json!({"b:1": null})),
        ("{\"b\":1}", json!({"b": 1})),
    ]);
}

#[test]
fn aliases_and_merged_maps_are_written_out() {
    for (text, expected) in [
        (
            "x: &m {k: 1, n: ~}\ny: {<<: *m, k: 2}",
            json!({"x": {"k": 1, "n": null}, "y": {"k": 2, "n": null}}),
        ),
        ("y: {k: 2, <<: {k: 1, j: 3}}", json!({"y": {"k": 2, "j": 3}})),
        ("y: {<<: [{k: 1}, {k: 2, j: 3}]}", json!({"y": {"k": 1, "j": 3}})),
        ("y: {<<: {<<: {a: 1, b: 1}, b: 2}, c: 3}", json!({"y": {"a": 1, "b": 2, "c": 3}})),
        ("y: {'<<': {a: 1}}", json!({"y": {"<<": {"a": 1}}})),
        ("y: {!!merge <<: {a: 1}}", json!({"y": {"a": 1}})),
        ("y: {k: 5, <<: {1: z, k: 3}}", json!({"y": {"1": "z", "k": 5}})),
        ("1: own\n<<: {1: merged}", json!({"1": "merged"})),
        ("a: &x\nb: *x", json!({"a": null, "b": null})),
        ("a: &x 1\nb: &x 2\nc: *x", json!({"a": 1, "b": 2, "c": 2})),
        ("k: &k name\n*k : 1", json!({"k": "name", "name": 1})),
        (
            "a: &a {b: [1, &c {d: 2}]}\ne: *a\nf: *c",
            json!({"a": {"b": [1, {"d": 2}]}, "e": {"b": [1, {"d": 2}]}, "f": {"d": 2}}),
        ),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn what_flagd_refuses_is_refused_with_the_line() {
    for (text, expected) in [
        ("a: 1\nb: .inf", "line 2: \".inf\" is no number"),
        ("a: .nan", "line 1: \".nan\" is no number"),
        ("a: -.INF", "line 1: \"-.INF\" is no number"),
        ("a: 2026-01-02T03:04:05+24:00", "offset"),
        ("a: 2026-01-02T03:04:05+23:60", "offset"),
        ("a: !!int x", "\"x\" cannot be read as !!int"),
        ("a: !!bool yes", "\"yes\" cannot be read as !!bool"),
        ("a: !!null x", "\"x\" cannot be read as !!null"),
        ("a: !!float 18446744073709551615", "cannot be read as !!float"),
        ("a: !!binary 'a GE='", "base64"),
        ("y: {<<: 5}", "line 1: the value of << must be a map"),
        ("y: {<<: [1]}", "line 1: the value of << must be a map"),
        ("y: {<<: [[{a: 1}]]}", "line 1: the value of << must be a map"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: {<<: *a}}", "contains itself"),
        ("a: *b", "anchor"),
        ("a: {? [x] : y}", "a key must be a text"),
        ("a: {? {x: 1} : y}", "a key must be a text"),
        ("a: {~: x}", "a key must not be null"),
        ("a:\n\tb: 1", "line 2"),
        ("a: b: c", "line 1"),
        ("a: [", "line "),
        ("a: @b", "line 1"),
        ("a: 'x'y", "line 1"),
    ] {
        let why = refusal(text);
        assert!(why.contains(expected), "{text:?}: {why}");
    }
}

#[test]
fn keys_that_are_there_twice_and_keys_that_are_no_text_are_told() {
    let keys = read("a: {b: 1, 'b': 2, c: [{x: 1, x: 2}]}\na: 3\n").unwrap();
    assert_eq!(keys.repeated, ["a", "a.b", "a.c[0].x"]);
    let keys =
        read("1: top\n~: nothing\na: {1: x, on: y, b: {true: z, 2026-01-01: w, !foo c: v}}\n").unwrap();
    assert_eq!(keys.textless, ["a.1", "a.b.true", "a.b.2026-01-01", "a.b.c"]);
    assert_eq!(keys.value["1"], "top");
    assert_eq!(keys.value.as_object().unwrap().len(), 2);
    assert_eq!(read("x: &m {k: 1, k: 2}\ny: {<<: *m}\n").unwrap().repeated, ["x.k", "y.k"]);
}

#[test]
fn only_the_first_document_is_read() {
    for (text, is_more) in
        [("a: x\n", false), ("---\na: x\n...\n", false), ("a: x\n---\nb: y\n", true), ("a: x\n--- [\n", true)]
    {
        let document = read(text).unwrap();
        assert_eq!((&document.value, document.is_more), (&json!({"a": "x"}), is_more), "{text:?}");
    }
    for text in ["", "# nothing\n", "~"] {
        assert_eq!(value(text), json!(null), "{text:?}");
    }
    assert_eq!(value("[1, x]"), json!([1, "x"]));
}

/// Nine maps of nine aliases each of the one before: 387 million entries out of some hundred bytes.
#[test]
fn a_short_document_does_not_grow_without_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(refusal(&text).contains("mostly aliases"));
    let large = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(", "));
    assert!(refusal(&large).contains("too large"));
    let deep = format!("a: {}{}", "[".repeat(2_000), "]".repeat(2_000));
    assert!(!refusal(&deep).is_empty());
    let deep = (0..300).fold(String::new(), |text, level| format!("{text}{}a:\n", " ".repeat(level)));
    assert!(refusal(&deep).contains("nested more than"));
    let mut by_alias = "a0: &a0 [x]\n".to_owned();
    for level in 1..20 {
        let inside = format!("{}*a{}{}", "[".repeat(9), level - 1, "]".repeat(9));
        by_alias.push_str(&format!("a{level}: &a{level} {inside}\n"));
    }
    assert!(refusal(&by_alias).contains("nested more than"));
    // A file that says much of its flags once is no such document.
    let flag = |number: u32| format!("  f{number}: {{<<: *base, owner: o{number}}}\n");
    let flags = (0..2_000).map(flag).collect::<Vec<_>>().concat();
    let file = value(&format!("base: &base {{type: boolean, kind: release}}\nflags:\n{flags}"));
    assert_eq!(file["flags"]["f1999"], json!({"type": "boolean", "kind": "release", "owner": "o1999"}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[0-9+.:_xobeEnafi~<=y -]{0,8}",
        "20[0-9]{2}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9:.]{0,9}Z?)?",
        "\\PC{0,8}",
        "[a-z\n #'\"]{0,10}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(|number| Value::from(number + 0.5)),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever the command line writes as YAML, it reads as the same.
    #[test]
    fn what_is_written_is_read_again(thing in any_json()) {
        let text = crate::cli::output::as_yaml(&json!({ "thing": thing }));
        let again = read(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
        prop_assert_eq!(&again.value["thing"], &thing, "{}", text);
        prop_assert!(again.textless.is_empty() && again.repeated.is_empty());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-c0-9&*!<>|:{}\\[\\], \\n'\"#%?~-]{0,60}") {
        let _ = read(&text);
    }
}
