//! What would hurt: depth, size, cost.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::{apply, select};

/// `levels` of lists around a value.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

fn compile(source: &Value) -> Result<Rule, Error> {
    Rule::compile(source, &Segments::new(), HashVersion::V2)
}

#[test]
fn a_source_is_at_most_64_levels_deep() {
    assert!(compile(&nested(63)).is_ok());
    assert_eq!(compile(&nested(64)).unwrap_err().kind, ErrorKind::Depth);
    let mut operators = json!(1);
    for _ in 0..100 {
        operators = json!({"!": [operators]});
    }
    assert_eq!(compile(&operators).unwrap_err().kind, ErrorKind::Depth);
    let two = json!({"a": nested(70), "b": 1});
    assert_eq!(compile(&two).unwrap_err().kind, ErrorKind::Depth);
}

#[test]
fn a_source_has_at_most_10000_values_and_a_mebibyte_of_text() {
    assert!(compile(&json!({"in": [{"var": "x"}, vec!["a"; 9_990]]})).is_ok());
    assert_eq!(compile(&json!({"in": [{"var": "x"}, vec!["a"; 10_000]]})).unwrap_err().kind, ErrorKind::Size);
    assert_eq!(compile(&json!({"a": vec![1; 10_000], "b": 1})).unwrap_err().kind, ErrorKind::Size);
    assert_eq!(compile(&json!({"cat": ["x".repeat((1 << 20) + 1)]})).unwrap_err().kind, ErrorKind::Size);
}

/// 56 KB of such patterns held a serving thread for 20 s, and a flag of one rule kept 73 MB.
#[test]
fn patterns_are_counted_by_what_they_come_to() {
    let all = |patterns: Vec<String>| {
        let tests = patterns.into_iter().map(|pattern| json!({"tenantry_matches": [{"var": "x"}, pattern]}));
        json!({ "or": tests.collect::<Vec<_>>() })
    };
    for too_large in [r"\w{20}", r"\p{L}{50}", "(?:a{1000}){1000}", r"(\w{100}){100}"] {
        let error = compile(&all(vec![too_large.to_owned()])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Pattern, "{too_large}");
        assert!(error.why.contains("too large"), "{error}");
    }
    let mail = |place: usize| format!(r"^[\w.+-]+@team{place}\.example\.com$");
    let some = compile(&all((0..10).map(mail).collect())).unwrap();
    assert!((400_000..1 << 20).contains(&some.pattern_bytes()), "{}", some.pattern_bytes());
    let error = compile(&all((0..64).map(mail).collect())).unwrap_err();
    assert!(error.why.contains("too large"), "{error}");
    // Together those of segments have a bound, too: what is beyond it is left out.
    let segment =
        |place: usize| (format!("s{place:03}"), all((0..10).map(|it| mail(100 * place + it)).collect()));
    assert!(Segments::compile((0..10).map(segment)).is_ok());
    assert_eq!(Segments::compile((0..100).map(segment)).unwrap_err().kind, ErrorKind::Size);
}

/// 395 kB of an attribute took 0.3 s for each of 40 flags.
#[test]
fn a_search_costs_by_the_pattern_s_size_and_a_call_s_rules_cost_so_much_together() {
    let pattern = "(?-u)[a-q][a-t]{200}[u-z](?:[a-q][a-t]{90}[u-z])";
    let rule = compile(&json!({"tenantry_matches": [{"var": "x"}, pattern]})).unwrap();
    let context = |length: usize| {
        Context::new(json!({"x": "abcdefgh".repeat(length / 8)}).as_object().unwrap().clone()).unwrap()
    };
    let (long, short) = (context(395_000), context(8_000));
    let input = |context| Input { flag_key: "f", now: Timestamp::UNIX_EPOCH, context };
    assert_eq!(rule.value(&input(&long)), Err(Failure::TooExpensive));
    assert_eq!(rule.value(&input(&short)), Ok(Some(json!(false))));
    let call = Budget::of_call(Effort::Full);
    let calls = (0..1_000).take_while(|_| {
        rule.matches_within(&input(&short), &call);
        !call.is_spent()
    });
    assert!((50..500).contains(&calls.count()));
    // What is no client's has no bound together.
    let own = Budget::default();
    for _ in 0..1_000 {
        rule.matches_within(&input(&short), &own);
    }
    assert!(!own.is_spent());
}

#[test]
fn segments_that_multiply_are_counted_as_often_as_they_stand_for_something() {
    let mut sources = vec![("s0".to_owned(), json!({"==": [{"var": "x"}, "y"]}))];
    for level in 1..10 {
        let before = json!({"$ref": format!("s{}", level - 1)});
        sources.push((format!("s{level}"), json!({"or": vec![before; 10]})));
    }
    assert_eq!(Segments::compile(sources).unwrap_err().kind, ErrorKind::Size);
    let chain = (0..200).map(|level| (format!("s{level:03}"), json!({"$ref": format!("s{:03}", level + 1)})));
    assert_eq!(Segments::compile(chain).unwrap_err().kind, ErrorKind::Depth);
}

#[test]
fn lists_of_the_client_cannot_make_a_rule_cost_more_than_its_budget() {
    let all = json!({"map": [{"var": "xs"}, {"map": [{"var": "ys"}, {"var": ""}]}]});
    let pairs = json!({"filter": [{"var": "xs"}, {"in": [{"var": ""}, {"var": "xs"}]}]});
    let doubled =
        json!({"reduce": [{"var": "xs"}, {"merge": [{"var": "accumulator"}, {"var": "accumulator"}]}, [1]]});
    let longer =
        json!({"reduce": [{"var": "xs"}, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "abc"]});
    let deeper = json!({"reduce": [{"var": "xs"}, [{"var": "accumulator"}], []]});
    let xs: Vec<usize> = (0..5_000).collect();
    let item = json!({"ys": xs});
    let data = json!({"xs": vec![item; 100]});
    assert_eq!(apply(&all, &data), Err(Failure::TooExpensive));
    let data = json!({ "xs": xs });
    for rule in [pairs, doubled, longer, deeper] {
        assert_eq!(apply(&rule, &data), Err(Failure::TooExpensive), "{rule}");
    }
    // A thousand looks at one long text.
    let digits = json!({"t": "1".repeat(100_000), "xs": ["1".repeat(100_000)]});
    for look in [
        json!({"+": [{"var": "t"}]}),
        json!({"==": [{"var": "t"}, 1]}),
        json!({"starts_with": [{"var": "t"}, {"var": "t"}]}),
        json!({"in": [2, {"var": "xs"}]}),
        json!({"fractional": [{"var": "t"}, [0, 1]]}),
        json!({"var": [{"var": "t"}]}),
        json!({"sem_ver": [{"var": "t"}, "<", {"var": "t"}]}),
        json!({"tenantry_matches": [{"var": "t"}, "2"]}),
    ] {
        let looks = json!({"map": [vec![look.clone(); 1_000], 1]});
        assert_eq!(apply(&looks, &digits), Err(Failure::TooExpensive), "{look}");
    }
}

/// Whoever sent 500 kB had an error for an answer.
#[test]
fn a_rule_that_costs_too_much_by_what_a_client_sends_says_nothing() {
    let text = json!({"t": "x".repeat(500_000), "xs": vec!["x".repeat(70); 4_000]});
    let t = || json!({"var": "t"});
    for condition in [
        json!({"==": [{"substr": [t(), 1, 2]}, "xx"]}),
        json!({"==": [{"lower": [t()]}, "x"]}),
        json!({"==": [{"cat": [t(), "x"]}, "x"]}),
        json!({"tenantry_matches": [t(), "x$"]}),
        json!({"some": [{"var": "xs"}, {"in": [{"var": ""}, {"var": "xs"}]}]}),
        json!({"none": [{"var": "xs"}, {"in": ["y", {"var": "xs"}]}]}),
    ] {
        let rule = json!({"if": [condition, "on", "off"]});
        assert_ne!(apply(&rule, &json!({"t": "xx", "xs": []})), Err(Failure::TooExpensive), "{rule}");
        let said = select(&rule, HashVersion::V2, "f", &text);
        let is_cheap = condition.get("some").is_some();
        assert_eq!(said, if is_cheap { "on" } else { "(default)" }, "{rule}");
    }
}

#[test]
fn a_context_is_limited_in_depth_count_and_bytes_and_the_error_names_the_place() {
    let new = |value: Value| Context::new(value.as_object().unwrap().clone());
    assert!(new(json!({"a": nested(31)})).is_ok());
    let error = new(json!({"user": {"roles": nested(40)}})).unwrap_err();
    assert_eq!(error.path, "user.roles[0][0][0]");
    let error = new(json!({"xs": vec![1; 10_001]})).unwrap_err();
    assert_eq!(error.to_string(), "context has 10002 values; at most 10000 are allowed");
    let error = new(json!({"x": "y".repeat(1 << 20)})).unwrap_err();
    assert_eq!(error.to_string(), "context has 1048577 bytes; at most 1048576 are allowed");
}

#[test]
fn an_overlay_s_attributes_stand_over_the_client_s() {
    let new = |value: Value| Context::new(value.as_object().unwrap().clone()).unwrap();
    let merged = new(json!({"a": 1, "b": {"c": 1}})).with_overlay(&new(json!({"b": 2, "d": 3})));
    assert_eq!(merged.hash(), new(json!({"a": 1, "b": 2, "d": 3})).hash());
    assert_eq!(merged.get("b"), Some(&json!(2)));
    let many: serde_json::Map<String, Value> = (0..500).map(|n| (format!("name-{n}"), json!(n))).collect();
    let many = Context::new(many).unwrap().with_overlay(&new(json!({"name-7": "x"})));
    for n in 0..500 {
        let expected = if n == 7 { json!("x") } else { json!(n) };
        assert_eq!(many.get(&format!("name-{n}")), Some(&expected));
    }
    assert_eq!(many.get("name-500"), None);
}

#[test]
fn contexts_that_differ_in_a_type_or_a_place_have_other_fingerprints() {
    let hash = |value: Value| Context::new(value.as_object().unwrap().clone()).unwrap().hash();
    let all = [
        json!({}),
        json!({"a": 1}),
        json!({"a": "1"}),
        json!({"a": true}),
        json!({"a": null}),
        json!({"a": [1]}),
        json!({"a": {"0": 1}}),
        json!({"a": ["b", "c"]}),
        json!({"a": ["bc"]}),
        json!({"a": "b", "c": "d"}),
        json!({"a": "bc", "": "d"}),
        json!({"a": {"b": 1}, "c": 2}),
        json!({"a": {"b": 1, "c": 2}}),
    ];
    let mut seen: Vec<u128> = all.iter().cloned().map(hash).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all.len());
    assert_eq!(hash(json!({"a": 1})), hash(json!({"a": 1.0})));
    // A change here makes every client fetch its flags again.
    assert_eq!(format!("{:032x}", hash(json!({"a": [1, "x"], "b": null}))), FINGERPRINT);
}

const FINGERPRINT: &str = "2d40b4edc03594a0ec2014be2164fce1";

/// Every operator, and one that there is not.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "var", "if", "?:", "and", "or", "!", "!!", "==", "===", "!=", "!==", "<", "<=", ">", ">=", "in", "missing",
    "missing_some", "merge", "cat", "substr", "+", "-", "*", "/", "%", "max", "min", "abs", "map", "filter", "reduce",
    "all", "none", "some", "fractional", "sem_ver", "starts_with", "ends_with", "lower", "upper", "log",
    "contains_all", "contains_any", "contains_none", "tenantry_matches", "$ref", "nothing",
];
/// Texts that some operator makes something of.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "a", "b", "", "x.y", "1", "1.2.3", "=", "^", "xs", "current", "accumulator", "$flagd", "$flagd.timestamp",
    "$flagd.flagKey", "targetingKey", "(a|b)+", "é",
];

/// Any JSON, with a liking for what rules are made of.
fn sources() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..60).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(TEXTS).prop_map(Value::from),
        prop::sample::select(vec!["a", "x", "xs", "t", "", "x.y"]).prop_map(|path| json!({"var": path})),
    ];
    leaf.prop_recursive(6, 80, 5, |inner| {
        let word = || prop::sample::select(WORDS);
        let args = prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            args.clone().prop_map(Value::from),
            (word(), args).prop_map(|(word, args)| json!({word: args})),
            (word(), inner).prop_map(|(word, arg)| json!({word: arg})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_source_makes_it_panic_or_contradict_itself(source in sources(), x in sources(), key in "[a-c]{0,2}") {
        let segments = Segments::compile_foreign([("a".to_owned(), x.clone()), ("b".to_owned(), source.clone())]).unwrap();
        let attributes = json!({"x": x, "xs": [1, "a", null, {"x": 1}], "a": "b", "t": "1.2.3", "targetingKey": key});
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let other = Context::new(json!({"zzz": 1}).as_object().unwrap().clone()).unwrap();
        for version in HashVersion::ALL {
            let Ok(rule) = Rule::compile_foreign(&source, &segments, *version) else { continue };
            let input = |context, second| Input { flag_key: "f", now: Timestamp::from_second(second).unwrap(), context };
            let said = rule.select(&input(&context, 0));
            prop_assert_eq!(&said, &rule.select(&input(&context, 0)));
            // What says of itself that it is constant is so: clients may keep such an answer for everybody.
            if rule.is_constant() {
                prop_assert_eq!(&said, &rule.select(&input(&other, 1_000_000_000)));
            }
            // What is compiled strictly says the same.
            if let Ok(strict) = Rule::compile(&source, &segments, *version) {
                prop_assert_eq!(&said, &strict.select(&input(&context, 0)));
            }
        }
    }

    #[test]
    fn no_context_makes_it_panic_and_paths_are_read_alike(value in sources(), path in "[a-z0-9.]{0,12}") {
        let Ok(context) = Context::new(json!({"x": value, "xs": [value]}).as_object().unwrap().clone()) else { return Ok(()) };
        let rule = Rule::compile_foreign(&json!({"missing": [path]}), &Segments::new(), HashVersion::V2).unwrap();
        let input = Input { flag_key: "f", now: Timestamp::UNIX_EPOCH, context: &context };
        if !path.split('.').all(str::is_empty) {
            prop_assert_eq!(rule.matches(&input), context.get(&path).is_none());
        }
    }
}
