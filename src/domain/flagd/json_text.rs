//! JSON as text: numbers and texts stay as they are written. A number that was read would be one of 64 bits.

use std::fmt::Write as _;

/// Drops the white space between tokens.
pub(super) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for token in tokens(text) {
        out.push_str(token);
    }
    out
}

/// Lays JSON out over lines, for people and for Git.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                // An empty one stays on its line.
                if let Some(end) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    out.push_str(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
    }
    out.push('\n');
    out
}

/// A text in quotes, as a token of JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `{"name":value,…}` of members that are JSON text already.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, value) in members {
        let comma = if out.len() > 1 { "," } else { "" };
        // Writing into a text does not fail.
        let _ = write!(out, "{comma}{}:{value}", quoted(name));
    }
    out.push('}');
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// The tokens of a valid JSON text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let first = rest.chars().next()?;
        let end = match first {
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            '"' => end_of_string(rest),
            _ => rest.find([',', ':', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

/// Where the string that a text begins with ends.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_stays_and_white_space_goes() {
        let text =
            "{ \"a b\" : [ 1.0 , 12345678901234567890123 , -0.0,1E+2 ],\n\t\"q\\\" \\\\\": {} , \"\": [ ] }";
        let small = r#"{"a b":[1.0,12345678901234567890123,-0.0,1E+2],"q\" \\":{},"":[]}"#;
        assert_eq!(compact(text), small);
        assert_eq!(compact(&pretty(text)), small);
        assert_eq!(pretty("{\"a\":[1,{}]}"), "{\n  \"a\": [\n    1,\n    {}\n  ]\n}\n");
    }

    proptest! {
        #[test]
        fn no_layout_changes_a_value(text in any::<String>(), number in any::<f64>()) {
            let value = serde_json::json!({ &text: [number, &text, {}, [], null, {"b": &text}] });
            for laid_out in [compact(&value.to_string()), pretty(&value.to_string())] {
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&laid_out).unwrap(), &value);
            }
        }
    }
}
