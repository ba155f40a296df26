//! How long a rule is where it is handed out.

use serde_json::Value;

use super::Segments;

/// About how many bytes a rule has as JSON, with the segments written into it that it refers to.
pub fn written_length(source: &Value, segments: &Segments) -> usize {
    let (mut bytes, mut waiting) = (0_usize, vec![source]);
    while let Some(part) = waiting.pop() {
        bytes = bytes.saturating_add(match part {
            Value::Null | Value::Bool(_) => 4,
            Value::Number(number) => number.to_string().len(),
            Value::String(text) => text_length(text),
            Value::Array(items) => {
                waiting.extend(items);
                items.len() + 1
            }
            Value::Object(map) => {
                if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                    segments.written_length(name)
                } else {
                    waiting.extend(map.values());
                    2 + map.keys().map(|name| text_length(name) + 2).sum::<usize>()
                }
            }
        });
    }
    bytes
}

/// Of how many values a rule is, with the segments written into it that it refers to.
pub fn written_nodes(source: &Value, segments: &Segments) -> usize {
    let (mut nodes, mut waiting) = (0_usize, vec![source]);
    while let Some(part) = waiting.pop() {
        nodes = nodes.saturating_add(1);
        match part {
            Value::Array(items) => waiting.extend(items),
            Value::Object(map) => match map.get("$ref").and_then(Value::as_str) {
                Some(name) => nodes = nodes.saturating_add(segments.written_nodes(name)),
                None => waiting.extend(map.values()),
            },
            _ => {}
        }
    }
    nodes
}

/// How many bytes a text has as JSON.
pub fn text_length(text: &str) -> usize {
    text.len() + 2 + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f)).count()
}
