//! What counts as acceptable text, and how refused text is shown back to people.
//!
//! Display names reach terminals, dashboards and logs: a control or a bidirectional control character there can
//! hide or reorder what an operator reads, so neither is ever stored or echoed raw.

use std::fmt::Write as _;

/// Longest display name, in characters.
pub const DISPLAY_NAME_MAX: usize = 200;
/// Longest name part of a label or annotation key, and longest label value, in bytes.
pub const LABEL_PART_MAX: usize = 63;
/// Longest prefix of a label or annotation key (a DNS name), in bytes.
pub const LABEL_PREFIX_MAX: usize = 253;
/// Most labels, and most annotations, of one resource.
pub const ENTRIES_MAX: usize = 64;
/// Longest annotation value, in bytes.
pub const ANNOTATION_VALUE_MAX: usize = 4096;
/// Most bytes of a tenant's annotations together, keys included: 1,000 tenants fit one answer.
pub const ANNOTATIONS_MAX: usize = 32 << 10;
/// Longest e-mail address, in bytes: the longest path SMTP can carry without its angle brackets.
pub const CONTACT_MAX: usize = 254;
/// How much of refused input is shown back, in characters.
pub const QUOTE_MAX: usize = 64;

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Invalid {
    /// The end of a sentence that starts with the field's name, for example `must not be empty`.
    pub why: String,
}

impl Invalid {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// True for characters that change the direction of the text around them.
pub const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// True for characters that take no room on screen, so that two different texts look the same.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00AD}' | '\u{180E}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// True for characters that end a line outside ASCII; `char::is_control` does not know them.
const fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Shows input back to people: in double quotes, cut to 64 characters, with every character escaped that could
/// control a terminal, reorder the line or not be seen.
pub fn quote(input: &str) -> String {
    let mut quoted = String::with_capacity(input.len().min(QUOTE_MAX) + 4);
    quoted.push('"');
    let mut characters = input.chars();
    for c in characters.by_ref().take(QUOTE_MAX) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || is_bidi_control(c) || is_invisible(c) || is_line_separator(c) => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted.push('"');
    quoted
}

/// A list as text of at most `bytes_max` bytes where the first and the last fit: as many from either end as do, whole, with `…`
/// for those between.
pub fn ends(items: &[String], separator: &str, bytes_max: usize) -> String {
    let all = items.join(separator);
    if all.len() <= bytes_max || items.len() < 3 {
        return all;
    }
    let (mut front, mut back) = (1, 1);
    let length = |items: &[String]| items.iter().map(|item| item.len() + separator.len()).sum::<usize>();
    let mut left =
        bytes_max.saturating_sub(length(&items[..1]) + length(&items[items.len() - 1..]) + '…'.len_utf8());
    while front + back < items.len() - 1 {
        let next = if front > back { items.len() - 1 - back } else { front };
        let Some(rest) = left.checked_sub(length(&items[next..=next])) else { break };
        left = rest;
        if front > back { back += 1 } else { front += 1 }
    }
    let shown = [&items[..front], &["…".to_owned()], &items[items.len() - back..]].concat();
    shown.join(separator)
}

/// Checks a name for people: 1 to 200 characters on one line, at least one of them visible, none that controls
/// the terminal or the direction of text.
pub fn display_name(name: &str) -> Result<(), Invalid> {
    one_line(name, DISPLAY_NAME_MAX)?;
    if !is_seen(name) {
        return Err(Invalid::new("must not be empty or blank"));
    }
    Ok(())
}

/// Checks an optional one-line text that people read: as [`one_line`], and not blank where it is not empty.
pub fn optional_line(text: &str, chars_max: usize) -> Result<(), Invalid> {
    if text.is_empty() || is_seen(text) {
        return one_line(text, chars_max);
    }
    Err(Invalid::new("must be empty, or hold a character that can be seen"))
}

/// Whether any of it can be seen.
fn is_seen(text: &str) -> bool {
    !text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// Checks a one-line text of at most `chars_max` characters; empty is fine.
pub fn one_line(text: &str, chars_max: usize) -> Result<(), Invalid> {
    length(text, chars_max)?;
    for (index, c) in text.chars().enumerate() {
        if c.is_control() || is_line_separator(c) {
            return Err(Invalid::new(format!(
                "must not contain control characters; character {} is U+{:04X}",
                index + 1,
                u32::from(c)
            )));
        }
        if is_bidi_control(c) || c == '\u{FEFF}' {
            return Err(Invalid::new(format!(
                "must not contain characters that change the direction of text; character {} is U+{:04X}",
                index + 1,
                u32::from(c)
            )));
        }
    }
    Ok(())
}

/// Checks free text of at most `chars_max` characters: lines and tabs are fine, NUL and other control characters
/// are not.
pub fn free(text: &str, chars_max: usize) -> Result<(), Invalid> {
    length(text, chars_max)?;
    match text.chars().position(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        None => Ok(()),
        Some(index) => Err(Invalid::new(format!(
            "must not contain control characters other than line breaks and tabs; character {} is one",
            index + 1
        ))),
    }
}

/// Checks a reason of at most `chars_max` characters: free text that people read in tables and logs, so nothing in it may
/// turn round what stands beside it. Marks of direction, as right-to-left languages use them, are fine.
pub fn reason(text: &str, chars_max: usize) -> Result<(), Invalid> {
    free(text, chars_max)?;
    let turns = |c| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    match text.chars().enumerate().find(|(_, c)| turns(*c)) {
        None => Ok(()),
        Some((index, c)) => Err(Invalid::new(format!(
            "must not contain characters that change the direction of text; character {} is U+{:04X}",
            index + 1,
            u32::from(c)
        ))),
    }
}

fn length(text: &str, chars_max: usize) -> Result<(), Invalid> {
    // The byte length bounds the character count from above, so the common case counts nothing.
    if text.len() <= chars_max {
        return Ok(());
    }
    let count = text.chars().count();
    if count > chars_max {
        return Err(Invalid::new(format!("must have at most {chars_max} characters; it has {count}")));
    }
    Ok(())
}

/// Checks a label or annotation key: `name` or `prefix/name`, in Kubernetes' syntax.
pub fn label_key(key: &str) -> Result<(), Invalid> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_label_part(name) {
        return Err(Invalid::new(format!(
            "has the key {}; the name in a key has 1 to 63 letters, digits, '-', '_' and '.', and starts and ends with a letter or digit",
            quote(key)
        )));
    }
    if prefix.is_some_and(|prefix| !is_dns_name(prefix)) {
        return Err(Invalid::new(format!(
            "has the key {}; the prefix of a key is a DNS name in lower case, for example example.com/team",
            quote(key)
        )));
    }
    Ok(())
}

/// Checks a label's value: empty, or up to 63 letters, digits, `-`, `_` and `.` between letters or digits.
pub fn label_value(value: &str) -> Result<(), Invalid> {
    if value.is_empty() || is_label_part(value) {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "has the value {}; a value is empty or has up to 63 letters, digits, '-', '_' and '.', and starts and ends with a letter or digit",
        quote(value)
    )))
}

/// Checks all labels of a resource: at most 64, each key and value by itself.
pub fn labels<'a, K, V>(labels: impl IntoIterator<Item = (&'a K, &'a V)>) -> Result<(), Invalid>
where
    K: AsRef<str> + 'a,
    V: AsRef<str> + 'a,
{
    entries(labels, label_value)
}

/// Checks all annotations of a resource: at most 64, keys as of labels, values of up to 4 KiB of free text.
pub fn annotations<'a, K, V>(annotations: impl IntoIterator<Item = (&'a K, &'a V)>) -> Result<(), Invalid>
where
    K: AsRef<str> + 'a,
    V: AsRef<str> + 'a,
{
    let annotations: Vec<_> = annotations.into_iter().collect();
    let total: usize = annotations.iter().map(|(key, value)| key.as_ref().len() + value.as_ref().len()).sum();
    if total > ANNOTATIONS_MAX {
        return Err(Invalid::new(format!(
            "have {total} bytes together, keys included; at most {ANNOTATIONS_MAX} are allowed"
        )));
    }
    entries(annotations, |value| {
        if value.len() > ANNOTATION_VALUE_MAX {
            return Err(Invalid::new(format!(
                "has a value of {} bytes; at most {ANNOTATION_VALUE_MAX} are allowed",
                value.len()
            )));
        }
        free(value, ANNOTATION_VALUE_MAX)
    })
}

fn entries<'a, K, V>(
    entries: impl IntoIterator<Item = (&'a K, &'a V)>,
    check_value: impl Fn(&str) -> Result<(), Invalid>,
) -> Result<(), Invalid>
where
    K: AsRef<str> + 'a,
    V: AsRef<str> + 'a,
{
    let mut count = 0_usize;
    for (key, value) in entries {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Invalid::new(format!("must have at most {ENTRIES_MAX} entries")));
        }
        label_key(key.as_ref())?;
        check_value(value.as_ref())
            .map_err(|invalid| Invalid::new(format!("at key {}: {}", quote(key.as_ref()), invalid.why)))?;
    }
    Ok(())
}

/// Checks that a text has the shape of an e-mail address. Only a message that arrives proves an address, so this
/// catches slips (spaces, a missing domain) and refuses nothing that is in use.
pub fn contact(address: &str) -> Result<(), Invalid> {
    let refuse = || Err(Invalid::new(format!("must be an e-mail address; {} is not one", quote(address))));
    if address.len() > CONTACT_MAX || one_line(address, CONTACT_MAX).is_err() {
        return refuse();
    }
    let Some((local, domain)) = address.rsplit_once('@') else { return refuse() };
    let local_fits = !local.is_empty()
        && local.len() <= 64
        && !local
            .chars()
            .any(|c| c.is_whitespace() || is_invisible(c) || matches!(c, '@' | '<' | '>' | ',' | ';' | '"'));
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_PART_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    if local_fits && domain.split('.').all(label_fits) { Ok(()) } else { refuse() }
}

fn is_label_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= LABEL_PART_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= LABEL_PREFIX_MAX
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            bytes.len() <= LABEL_PART_MAX
                && bytes.first().is_some_and(edge)
                && bytes.last().is_some_and(edge)
                && bytes.iter().all(|b| edge(b) || *b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quote_is_cut_to_64_characters_and_says_so() {
        assert_eq!(quote("abc"), "\"abc\"");
        assert_eq!(quote(&"x".repeat(64)), format!("\"{}\"", "x".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
    }

    #[test]
    fn a_quote_escapes_what_could_mislead_a_reader() {
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quote("\x1b[31m\r\n\t\0"), r#""\u{1b}[31m\r\n\t\u{0}""#);
        assert_eq!(quote("a\u{202e}b\u{200b}\u{2028}"), r#""a\u{202e}b\u{200b}\u{2028}""#);
    }

    #[test]
    fn a_long_list_is_shown_by_its_ends() {
        let names = |count: usize| (0..count).map(|number| format!("flag-{number}")).collect::<Vec<_>>();
        assert_eq!(ends(&names(3), " → ", 100), "flag-0 → flag-1 → flag-2");
        assert_eq!(ends(&names(9), " → ", 50), "flag-0 → flag-1 → … → flag-7 → flag-8");
        for bytes_max in 24..200 {
            let shown = ends(&names(30), ",", bytes_max);
            assert!(shown.len() <= bytes_max, "{shown}");
            assert!(shown.starts_with("flag-0,") && shown.ends_with(",flag-29"), "{shown}");
        }
        // Shorter is nothing that shows both.
        assert_eq!(ends(&names(9), ",", 3), "flag-0,…,flag-8");
    }

    #[test]
    fn display_names_are_1_to_200_visible_characters() {
        assert!(display_name("Finance Department").is_ok());
        assert!(display_name("मानव संसाधन").is_ok());
        assert!(display_name(&"x".repeat(200)).is_ok());
        assert!(display_name(&"é".repeat(200)).is_ok());
        assert_eq!(
            display_name(&"é".repeat(201)).unwrap_err().why,
            "must have at most 200 characters; it has 201"
        );
        for blank in ["", " ", "\u{a0}", "\u{200d}\u{200b}"] {
            assert!(display_name(blank).is_err(), "{blank:?}");
        }
    }

    #[test]
    fn display_names_cannot_control_the_terminal_or_the_direction_of_text() {
        for hostile in [
            "a\nb",
            "a\0",
            "\x1b[2J",
            "a\u{85}",
            "\u{2028}",
            "ab\u{202e}cd",
            "\u{2066}",
            "\u{200f}",
            "\u{feff}a",
        ] {
            assert!(display_name(hostile).is_err(), "{hostile:?}");
        }
        assert_eq!(
            display_name("ab\u{202e}").unwrap_err().why,
            "must not contain characters that change the direction of text; character 3 is U+202E"
        );
    }

    #[test]
    fn free_text_may_have_lines_and_tabs_but_no_nul() {
        assert!(free("", 10).is_ok());
        assert!(free("a\n\tb\r\n", 10).is_ok());
        assert!(free("a\0", 10).is_err());
        assert!(free("a\x07", 10).is_err());
        assert!(free("12345678901", 10).is_err());
    }

    #[test]
    fn label_keys_follow_the_kubernetes_syntax() {
        for good in ["team", "a", "A_b.c-9", "example.com/team", "a.b-c.d/x", &"k".repeat(63)] {
            assert!(label_key(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a b",
            "a/b/c",
            "/a",
            "a/",
            "Example.com/a",
            "-a.com/b",
            "a..b/c",
            "ä",
            &"k".repeat(64),
        ] {
            assert!(label_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_values_are_empty_or_short_and_plain() {
        for good in ["", "v1.2_3-4", "0", &"v".repeat(63)] {
            assert!(label_value(good).is_ok(), "{good}");
        }
        for bad in ["-", "a ", "a/b", "é", &"v".repeat(64)] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resource_has_at_most_64_labels_and_the_error_names_the_key() {
        let some =
            |count: usize| (0..count).map(|i| (format!("k{i}"), "v".to_owned())).collect::<BTreeMap<_, _>>();
        assert!(labels(&some(64)).is_ok());
        assert_eq!(labels(&some(65)).unwrap_err().why, "must have at most 64 entries");
        let bad = BTreeMap::from([("team".to_owned(), "a b".to_owned())]);
        assert!(labels(&bad).unwrap_err().why.starts_with("at key \"team\": has the value \"a b\""));
    }

    #[test]
    fn annotations_hold_up_to_4_kib_of_text() {
        let one = |value: String| BTreeMap::from([("note".to_owned(), value)]);
        assert!(annotations(&one("x".repeat(4096))).is_ok());
        assert!(annotations(&one("x".repeat(4097))).is_err());
        assert!(annotations(&one("é".repeat(2049))).is_err(), "bytes are counted, not characters");
        assert!(annotations(&one("a\nb {\"json\": true}".to_owned())).is_ok());
        assert!(annotations(&one("\0".to_owned())).is_err());
        let many = |count: usize| -> BTreeMap<String, String> {
            (0..count).map(|number| (format!("k{number:02}"), "x".repeat(4093))).collect()
        };
        assert!(annotations(&many(8)).is_ok());
        let all = annotations(&many(9)).unwrap_err().to_string();
        assert!(all.contains("36864 bytes together"), "{all}");
    }

    #[test]
    fn contacts_have_the_shape_of_an_address() {
        for good in ["a@b", "first.last+tag@example.com", "ops@bücher.example", "o'neil@example.co.uk"] {
            assert!(contact(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "@b", "a@", "a b@c.d", "a@b..c", "a@-b.c", "a@b@c", "a@b.c\n", "<a@b.c>", "a@b c"]
        {
            assert!(contact(bad).is_err(), "{bad:?}");
        }
        assert!(contact(&format!("{}@example.com", "a".repeat(64))).is_ok());
        assert!(contact(&format!("{}@example.com", "a".repeat(65))).is_err());
    }

    proptest! {
        #[test]
        fn a_quote_is_always_harmless_and_short(input in any::<String>()) {
            let quoted = quote(&input);
            prop_assert!(quoted.chars().all(|c| !c.is_control() && !is_bidi_control(c) && !is_invisible(c)));
            prop_assert!(quoted.chars().count() <= 2 + 1 + QUOTE_MAX * 10);
        }

        #[test]
        fn checks_never_panic_and_accepted_names_print_safely(input in any::<String>()) {
            let _ = (free(&input, 10), label_key(&input), label_value(&input), contact(&input));
            if display_name(&input).is_ok() {
                prop_assert!(!input.chars().any(|c| c.is_control() || is_bidi_control(c)));
            }
        }
    }
}
