//! `JsonLogic`'s own operators.

use serde_json::{Value, json};

use super::apply;

/// Rows of rule, data and result.
fn check(rows: &[(Value, Value, Value)]) {
    for (rule, data, expected) in rows {
        assert_eq!(normal(apply(rule, data).unwrap()), normal(expected.clone()), "{rule} of {data}");
    }
}

/// Numbers are doubles.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

/// Rows of rule and result, without data.
fn check_constants(rows: &[(Value, Value)]) {
    check(
        &rows.iter().map(|(rule, expected)| (rule.clone(), json!({}), expected.clone())).collect::<Vec<_>>(),
    );
}

#[test]
fn what_is_no_operation_is_a_value() {
    for value in [json!(true), json!(17), json!(3.5), json!("apple"), json!(null), json!(["a", 1])] {
        check_constants(&[(value.clone(), value)]);
    }
    check_constants(&[(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2}))]);
}

#[test]
fn var_reads_a_path_of_names_and_places() {
    let data = json!({"a": {"b": [{"c": 7}, null]}, "n": null, "": 1, "false": false});
    let rows = [
        (json!({"var": "a.b.0.c"}), json!(7)),
        (json!({"var": ["a.b.0.c"]}), json!(7)),
        (json!({"var": "a..b.0.c"}), json!(7)),
        (json!({"var": "a.b.1"}), json!(null)),
        (json!({"var": ["a.b.1", "x"]}), json!("x")),
        (json!({"var": "a.b.2"}), json!(null)),
        (json!({"var": "a.b.x"}), json!(null)),
        (json!({"var": ["z", 1]}), json!(1)),
        (json!({"var": ["n", 1]}), json!(1)),
        (json!({"var": ["false", true]}), json!(false)),
        (json!({"var": ["z", {"var": "false"}]}), json!(false)),
        (json!({"var": ["a.b.0.c.d", "x"]}), json!("x")),
        (json!({"var": {"if": [true, "a.b.0.c"]}}), json!(7)),
        (json!({"var": [{"cat": ["a.", {"var": ["z", "b.0.c"]}]}]}), json!(7)),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
    check(&[
        (json!({"var": 1}), json!(["x", "y"]), json!("y")),
        (json!({"var": [1]}), json!(["x", "y"]), json!("y")),
        (json!({"var": ""}), json!(5), json!(5)),
        (json!({"var": []}), json!(5), json!(5)),
        (json!({"var": null}), json!(5), json!(5)),
        (json!({"var": "a"}), json!(null), json!(null)),
        (json!({"var": "a"}), json!("text"), json!(null)),
    ]);
}

#[test]
fn missing_lists_the_paths_to_nothing() {
    let data = json!({"a": 1, "b": {"c": 0}, "n": null});
    let rows = [
        (json!({"missing": "a"}), json!([])),
        (json!({"missing": ["a", "z", "n"]}), json!(["z", "n"])),
        (json!({"missing": [["a", "z"]]}), json!(["z"])),
        (json!({"missing": {"merge": [["z"], "b.c", "b.d"]}}), json!(["z", "b.d"])),
        (json!({"missing": []}), json!([])),
        (json!({"missing_some": [1, ["a", "z"]]}), json!([])),
        (json!({"missing_some": [2, ["a", "z", "y"]]}), json!(["z", "y"])),
        (json!({"missing_some": [0, ["z"]]}), json!([])),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
}

#[test]
fn the_first_true_condition_decides() {
    check_constants(&[
        (json!({"if": []}), json!(null)),
        (json!({"if": ["only"]}), json!("only")),
        (json!({"if": [true, "a"]}), json!("a")),
        (json!({"if": [false, "a"]}), json!(null)),
        (json!({"if": [false, "a", "b"]}), json!("b")),
        (json!({"if": [false, "a", true, "b", "c"]}), json!("b")),
        (json!({"if": [false, "a", 0, "b", "c"]}), json!("c")),
        (json!({"if": [false, "a", [], "b"]}), json!(null)),
        (json!({"?:": ["0", 1, 2]}), json!(1)),
        (json!({"?:": [{}, 1, 2]}), json!(2)),
    ]);
}

#[test]
fn truth_is_what_is_not_zero_empty_or_null() {
    let truths = [json!(true), json!(-1), json!("0"), json!([0])];
    let lies = [json!(false), json!(0), json!(0.0), json!(""), json!([]), json!({}), json!(null)];
    for (values, is_true) in [(truths.as_slice(), true), (lies.as_slice(), false)] {
        for value in values {
            let data = json!({"x": value});
            check(&[
                (json!({"!!": [{"var": "x"}, 1]}), data.clone(), json!(is_true)),
                (json!({"!": [{"var": "x"}, 1]}), data.clone(), json!(!is_true)),
                (json!({"if": [{"var": "x"}, true, false]}), data, json!(is_true)),
            ]);
        }
    }
}

#[test]
fn and_gives_the_first_false_and_or_the_first_true_value() {
    check_constants(&[
        (json!({"and": [1, 2, 3]}), json!(3)),
        (json!({"and": [1, 0, 3]}), json!(0)),
        (json!({"and": ["", 1]}), json!("")),
        (json!({"or": [0, "", "x", 1]}), json!("x")),
        (json!({"or": [0, false]}), json!(false)),
        (json!({"and": []}), json!(null)),
        (json!({"or": true}), json!(true)),
    ]);
}

#[test]
fn loose_equality_reads_numbers_and_nothing_equals_null_but_null() {
    check_constants(&[
        (json!({"==": [1, 1]}), json!(true)),
        (json!({"==": [1, "1"]}), json!(true)),
        (json!({"==": [1, "1.0"]}), json!(true)),
        (json!({"==": ["1", "1.0"]}), json!(false)),
        (json!({"==": [1, true]}), json!(true)),
        (json!({"==": [0, ""]}), json!(true)),
        (json!({"==": [0, " "]}), json!(true)),
        (json!({"==": [0, "x"]}), json!(false)),
        (json!({"==": [null, null]}), json!(true)),
        (json!({"==": [null, 0]}), json!(false)),
        (json!({"==": [[1], [1]]}), json!(false)),
        (json!({"==": ["a"]}), json!(false)),
        (json!({"!=": [1, 2]}), json!(true)),
        (json!({"!=": [1, "1"]}), json!(false)),
        (json!({"===": [1, 1.0]}), json!(true)),
        (json!({"===": [1, "1"]}), json!(false)),
        (json!({"===": [false, false]}), json!(true)),
        (json!({"===": [0, false]}), json!(false)),
        (json!({"===": [null, null]}), json!(true)),
        (json!({"!==": [1, "1"]}), json!(true)),
        (json!({"!==": ["a", "a"]}), json!(false)),
    ]);
}

#[test]
fn order_is_by_number_unless_both_are_texts() {
    check_constants(&[
        (json!({"<": [1, 2]}), json!(true)),
        (json!({"<": ["10", "9"]}), json!(true)),
        (json!({"<": ["10", 9]}), json!(false)),
        (json!({"<": [1, 2, 3]}), json!(true)),
        (json!({"<": [1, 1, 3]}), json!(false)),
        (json!({"<": [1, 4, 3]}), json!(false)),
        (json!({"<=": [1, 1, 3]}), json!(true)),
        (json!({"<=": [1, 4, 3]}), json!(false)),
        (json!({">": [2, 1]}), json!(true)),
        (json!({">": [3, 2, 1]}), json!(true)),
        (json!({">": [3, 3, 1]}), json!(false)),
        (json!({">=": [3, 3, 1]}), json!(true)),
        (json!({"<": [null, 1]}), json!(true)),
        (json!({"<": ["x", 1]}), json!(false)),
        (json!({">": ["x", 1]}), json!(false)),
        (json!({"<": [[], 1]}), json!(false)),
        (json!({"<": [1]}), json!(false)),
    ]);
}

#[test]
fn arithmetic_reads_texts_and_gives_null_for_what_is_no_number() {
    check_constants(&[
        (json!({"+": [1, 2, "3"]}), json!(6)),
        (json!({"+": "3.25"}), json!(3.25)),
        (json!({"+": []}), json!(0)),
        (json!({"-": [5, 2]}), json!(3)),
        (json!({"-": [5, 2, 1]}), json!(2)),
        (json!({"-": 2}), json!(-2)),
        (json!({"*": [2, 3, 4]}), json!(24)),
        (json!({"/": [12, 3]}), json!(4)),
        (json!({"/": [1, 0]}), json!(null)),
        (json!({"%": [7, 3]}), json!(1)),
        (json!({"%": [-7, 3]}), json!(-1)),
        (json!({"%": [1, 0]}), json!(null)),
        (json!({"max": [1, 3, 2]}), json!(3)),
        (json!({"max": []}), json!(null)),
        (json!({"min": [3, "1", 2]}), json!(1)),
        (json!({"abs": -3}), json!(3)),
        (json!({"+": [1, null]}), json!(null)),
        (json!({"*": [2, true]}), json!(null)),
        (json!({"+": [1, "x"]}), json!(1)),
        (json!({"max": [{"var": "z"}, 1]}), json!(null)),
    ]);
    check(&[(json!({"max": {"var": "xs"}}), json!({"xs": [1, 5, 3]}), json!(5))]);
}

#[test]
fn texts_are_put_together_and_cut() {
    check_constants(&[
        (json!({"cat": ["a", "b", 1, 2.5]}), json!("ab12.5")),
        (json!({"cat": "a"}), json!("a")),
        (json!({"cat": []}), json!("")),
        (json!({"cat": [1]}), json!("1")),
        (json!({"cat": ["a", null, true]}), json!("atrue")),
        (json!({"cat": [" a ", " b "]}), json!("a  b")),
        (json!({"cat": [" a "]}), json!(" a ")),
        (json!({"cat": ["a", ["b", 1]]}), json!("ab,1")),
        (json!({"cat": [1e21]}), json!("1000000000000000000000")),
        (json!({"substr": ["jsonlogic", 4]}), json!("logic")),
        (json!({"substr": ["jsonlogic", -5]}), json!("logic")),
        (json!({"substr": ["jsonlogic", 0, 1]}), json!("j")),
        (json!({"substr": ["jsonlogic", 4, 5]}), json!("logic")),
        (json!({"substr": ["jsonlogic", -5, -2]}), json!("log")),
        (json!({"substr": ["jsonlogic", 1, -5]}), json!("son")),
        (json!({"substr": ["jsonlogic", 4, 50]}), json!("logic")),
        (json!({"substr": ["jsonlogic", 50]}), json!("jsonlogic")),
        (json!({"substr": ["äöü", 1, 1]}), json!("ö")),
        (json!({"substr": ["abc", 2, -2]}), json!("")),
        (json!({"substr": [12345, 1, 2]}), json!("23")),
        (json!({"substr": ["abc", null]}), json!(null)),
    ]);
}

#[test]
fn in_finds_parts_of_texts_items_of_lists_and_numbers_in_ranges() {
    check_constants(&[
        (json!({"in": ["ring", "Springfield"]}), json!(true)),
        (json!({"in": ["x", "Springfield"]}), json!(false)),
        (json!({"in": ["b", ["a", "b"]]}), json!(true)),
        (json!({"in": ["c", ["a", "b"]]}), json!(false)),
        (json!({"in": ["c", []]}), json!(false)),
        (json!({"in": [1, [1, 2]]}), json!(true)),
        (json!({"in": [1, ["1"]]}), json!(true)),
        (json!({"in": ["1", [1]]}), json!(false)),
        (json!({"in": [0, ["x"]]}), json!(false)),
        (json!({"in": [null, [null]]}), json!(true)),
        (json!({"in": [true, [true]]}), json!(true)),
        (json!({"in": [5, [[1, 10]]]}), json!(true)),
        (json!({"in": [11, [[1, 10], 12]]}), json!(false)),
        (json!({"in": ["a", null]}), json!(false)),
        (json!({"in": [null, "abc"]}), json!(false)),
        (json!({"in": ["a", 5]}), json!(false)),
        (json!({"in": ["a"]}), json!(false)),
    ]);
    let data = json!({"x": "b", "n": 1, "xs": ["a", "b"]});
    let rows = [
        (json!({"in": [{"var": "x"}, ["a", "b"]]}), json!(true)),
        (json!({"in": [{"var": "z"}, ["a", "b"]]}), json!(false)),
        (json!({"in": [{"var": "n"}, ["a", "1"]]}), json!(true)),
        (json!({"in": ["b", {"var": "xs"}]}), json!(true)),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
}

#[test]
fn lists_are_merged_and_asked_for_items() {
    check_constants(&[
        (json!({"merge": [[1, 2], 3, [[4]]]}), json!([1, 2, 3, [4]])),
        (json!({"merge": 1}), json!([1])),
        (json!({"merge": []}), json!([])),
        (json!({"contains_all": [["a", "b", "c"], ["c", "a"]]}), json!(true)),
        (json!({"contains_all": [["a"], ["a", "b"]]}), json!(false)),
        (json!({"contains_any": [["a", "b"], ["x", "b"]]}), json!(true)),
        (json!({"contains_any": [["a"], []]}), json!(false)),
        (json!({"contains_none": [["a"], ["x"]]}), json!(true)),
        (json!({"contains_none": [["a"], ["a"]]}), json!(false)),
        (json!({"contains_all": ["a", ["a"]]}), json!(false)),
        (json!({"contains_none": ["a", ["a"]]}), json!(true)),
    ]);
}

#[test]
fn every_item_of_a_list_is_what_var_is_relative_to() {
    let users = json!([{"n": "a", "age": 20}, {"n": "b", "age": 10}]);
    let data = json!({"xs": [1, 2, 3, 4], "users": users, "limit": 15, "e": []});
    let rows = [
        (json!({"map": [{"var": "xs"}, {"*": [{"var": ""}, 2]}]}), json!([2, 4, 6, 8])),
        (json!({"map": [{"var": "users"}, {"var": "n"}]}), json!(["a", "b"])),
        (json!({"map": [{"var": "z"}, {"var": ""}]}), json!([])),
        (json!({"filter": [{"var": "xs"}, {">": [{"var": ""}, 2]}]}), json!([3, 4])),
        (json!({"filter": [[1, 2, 3], {"%": [{"var": ""}, 2]}]}), json!([1, 3])),
        (json!({"all": [{"var": "xs"}, {">": [{"var": ""}, 0]}]}), json!(true)),
        (json!({"all": [{"var": "xs"}, {">": [{"var": ""}, 1]}]}), json!(false)),
        (json!({"all": [{"var": "e"}, true]}), json!(false)),
        (json!({"some": [{"var": "users"}, {"==": [{"var": "n"}, "b"]}]}), json!(true)),
        (json!({"some": [{"var": "e"}, true]}), json!(false)),
        (json!({"none": [{"var": "users"}, {"==": [{"var": "n"}, "c"]}]}), json!(true)),
        (json!({"none": [{"var": "z"}, true]}), json!(true)),
        (json!({"some": [{"var": "users"}, {"<": [{"var": "age"}, {"var": "limit"}]}]}), json!(true)),
        (json!({"map": [{"var": "users"}, {"var": "limit"}]}), json!([null, null])),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
}

#[test]
fn an_items_own_attribute_hides_the_outer_one() {
    let data = json!({"name": "admin", "roles": [{"name": "reader"}]});
    check(&[(json!({"some": [{"var": "roles"}, {"==": [{"var": "name"}, "admin"]}]}), data, json!(false))]);
}

#[test]
fn reduce_gathers_and_keeps_the_type_it_begins_with() {
    let sum = json!({"+": [{"var": "current"}, {"var": "accumulator"}]});
    let ages = json!({"+": [{"var": "current.age"}, {"var": "accumulator"}]});
    let any = json!({"or": [{"var": "accumulator"}, {"==": [{"var": "current"}, 3]}]});
    let all = json!({"merge": [{"var": "accumulator"}, {"var": "current"}]});
    let data = json!({"xs": [1, 2, null, 3], "users": [{"age": 2}, {"age": 5}]});
    let rows = [
        (json!({"reduce": [{"var": "xs"}, sum, 0]}), json!(6)),
        (json!({"reduce": [{"var": "xs"}, sum, "4"]}), json!("10")),
        (json!({"reduce": [{"var": "z"}, sum, 7]}), json!(7)),
        (json!({"reduce": [{"var": "users"}, ages, 0]}), json!(7)),
        (json!({"reduce": [{"var": "xs"}, any, false]}), json!(true)),
        (json!({"reduce": [{"var": "xs"}, all, []]}), json!([1, 2, 3])),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
}

#[test]
fn an_expression_that_gives_a_list_gives_the_arguments() {
    let data = json!({"xs": [3, 4], "t": ["a", "b"]});
    let rows = [
        (json!({"+": {"var": "xs"}}), json!(7)),
        (json!({"cat": {"var": "t"}}), json!("ab")),
        (json!({"<": {"var": "xs"}}), json!(true)),
        (json!({"==": {"merge": [1, "1"]}}), json!(true)),
    ];
    check(&rows.map(|(rule, expected)| (rule, data.clone(), expected)));
}

#[test]
fn log_gives_what_it_is_given() {
    check_constants(&[(json!({"log": "apple"}), json!("apple")), (json!({"log": [1]}), json!(1))]);
}
