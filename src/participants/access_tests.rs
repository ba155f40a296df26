use super::*;

#[test]
fn the_servers_words_are_told_where_they_name_things_and_not_where_they_quote_a_row() {
    let asked = "the database did not do what it was asked";
    let full = "could not extend file \"base/1/2\": No space left on device";
    for (code, table, words, told) in [
        ("53100", None, full, format!("{asked} (SQLSTATE 53100: {full})")),
        ("40P01", None, "deadlock detected", format!("{asked} (SQLSTATE 40P01: deadlock detected)")),
        (
            "23514",
            Some("app.bill"),
            "Bob",
            format!("{asked} (SQLSTATE 23514, at app.bill; its words are in our log)"),
        ),
        (
            "42601",
            None,
            "syntax error at or near \"Bob\"",
            format!("{asked} (SQLSTATE 42601; its words are in our log)"),
        ),
    ] {
        assert_eq!(not_done(code, table, words), told);
    }
    assert!(not_done("57P03", None, &"x".repeat(2 * DENIED_MAX)).len() < 2 * DENIED_MAX);
}
