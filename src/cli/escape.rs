//! What a terminal would obey, escaped. The registry's own rules for text are no business of a client.

/// True for characters that could control a terminal, end a line or change the direction of text.
pub(super) fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text of others as a terminal may have it, whole and on one line: what misleads is escaped. All else stays, marks
/// that join letters too; so twice is as once.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if misleads(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harmless_text_is_whole_and_on_one_line() {
        let hostile = "a\x1b[2K\x1b[1A\rb\n\t\u{9b}\u{202e}\u{2028}";
        let shown = r"a\u{1b}[2K\u{1b}[1A\rb\n\t\u{9b}\u{202e}\u{2028}";
        assert_eq!(harmless(hostile), shown);
        assert_eq!(harmless(shown), shown);
        let kept = "\"é\" \\ क\u{200d}ष → …";
        assert_eq!(harmless(kept), kept);
    }
}
