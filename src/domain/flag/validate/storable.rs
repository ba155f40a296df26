//! JSON that can be stored: not nested too deeply, and without NUL, which PostgreSQL's jsonb refuses.

use serde_json::{Map, Value as Json};

use crate::domain::text::quote;

/// Deepest nesting of a rule's test: as deep as the rule language reads.
pub const LOGIC_DEPTH_MAX: usize = 64;
/// How many steps of a way are shown: the rest would be longer than anybody reads.
const STEPS_SHOWN: usize = 8;

/// What keeps a value from being stored, and the way to it from the inside out.
pub(super) struct Misfit {
    is_nul: bool,
    way: Vec<String>,
}

impl Misfit {
    fn inside(mut self, step: impl FnOnce() -> String) -> Self {
        self.way.push(step());
        self
    }

    /// The end of a sentence that starts with the field, which may nest `depth_max` deep.
    pub(super) fn why(&self, depth_max: usize) -> String {
        let mut place = String::new();
        for step in self.way.iter().rev().take(STEPS_SHOWN) {
            if !place.is_empty() && !step.starts_with('[') {
                place.push('.');
            }
            place.push_str(step);
        }
        if self.way.len() > STEPS_SHOWN {
            place.push('…');
        }
        match (self.is_nul, place.as_str()) {
            (true, "") => "must contain no NUL".to_owned(),
            (true, place) => format!("must contain no NUL; there is one in {place}"),
            (false, place) => format!("must nest at most {depth_max} deep; it goes deeper in {place}"),
        }
    }
}

/// How many bytes JSON has as text, where it can be stored: not too deep, not larger than `bytes_max`, without NUL.
pub fn is_storable(json: &Json, bytes_max: usize) -> Result<usize, String> {
    // Depth first: writing JSON text recurses, so nothing deep may reach it.
    fits(json, LOGIC_DEPTH_MAX).map_err(|misfit| misfit.why(LOGIC_DEPTH_MAX))?;
    let bytes = json.to_string().len();
    if bytes > bytes_max {
        return Err(format!("must have at most {bytes_max} bytes as JSON"));
    }
    Ok(bytes)
}

fn fits(json: &Json, depth: usize) -> Result<(), Misfit> {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        Json::String(text) => check_text(text),
        Json::Array(items) => {
            check_depth(depth)?;
            items.iter().enumerate().try_for_each(|(place, item)| {
                fits(item, depth - 1).map_err(|misfit| misfit.inside(|| format!("[{place}]")))
            })
        }
        Json::Object(map) => object_fits(map, depth),
    }
}

pub(super) fn object_fits(map: &Map<String, Json>, depth: usize) -> Result<(), Misfit> {
    check_depth(depth)?;
    map.iter().try_for_each(|(key, child)| {
        let within = |misfit: Misfit| misfit.inside(|| shown(key));
        check_text(key).and_then(|()| fits(child, depth - 1)).map_err(within)
    })
}

const fn check_depth(depth: usize) -> Result<(), Misfit> {
    if depth > 0 { Ok(()) } else { Err(Misfit { is_nul: false, way: Vec::new() }) }
}

fn check_text(text: &str) -> Result<(), Misfit> {
    if text.contains('\0') { Err(Misfit { is_nul: true, way: Vec::new() }) } else { Ok(()) }
}

/// A name as it stands where it is short and plain, else quoted.
fn shown(name: &str) -> String {
    let is_plain = !name.is_empty() && name.len() <= 32 && !name.contains(['"', '\\', '.', '[']);
    if is_plain && !name.contains(char::is_control) { name.to_owned() } else { quote(name) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_nested_too_deeply_is_said_with_the_first_steps_of_the_way() {
        let deep = |times: usize| (0..times).fold(json!(true), |inner, _| json!({ "!": [inner] }));
        assert!(is_storable(&deep(32), 1_000).is_ok(), "an operator and its arguments are two levels");
        let rule = json!({ "if": [true, { "and": [deep(31)] }] });
        let why = is_storable(&rule, 1_000).unwrap_err();
        assert_eq!(why, "must nest at most 64 deep; it goes deeper in if[1].and[0].![0].![0]…");
    }

    #[test]
    fn a_nul_is_said_with_its_place() {
        let why = |json: Json| is_storable(&json, 1_000).unwrap_err();
        assert_eq!(why(json!("\0")), "must contain no NUL");
        assert_eq!(why(json!({"in": ["a", ["b\0"]]})), "must contain no NUL; there is one in in[1][0]");
        assert_eq!(why(json!({"a\0": 1})), r#"must contain no NUL; there is one in "a\u{0}""#);
    }
}
