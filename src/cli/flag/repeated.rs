//! Reads JSON without losing sight of a key that is there twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Its contents; of a key that is there twice, the last.
    pub(super) value: Value,
    /// Where a key is there again, for example `flags.search.variants.on`.
    pub(super) repeated: Vec<String>,
    /// Where YAML has a key that is no text, which was read as it is written; not of the whole.
    pub(super) textless: Vec<String>,
    /// Whether YAML has documents after this one.
    pub(super) is_more: bool,
}

/// Reads JSON.
pub(super) fn json(text: &str) -> Result<Read, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let (mut place, mut repeated) = (String::new(), Vec::new());
    let value = Any { place: &mut place, repeated: &mut repeated }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Read { value, repeated, ..Read::default() })
}

/// Any value, at a place.
struct Any<'a> {
    place: &'a mut String,
    repeated: &'a mut Vec<String>,
}

impl Any<'_> {
    /// Another, inside this.
    fn inside(&mut self) -> Any<'_> {
        Any { place: self.place, repeated: self.repeated }
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.deserialize(reader)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let length = self.place.len();
        let mut list = Vec::new();
        loop {
            self.place.push_str(&format!("[{}]", list.len()));
            let item = items.next_element_seed(self.inside())?;
            self.place.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let length = self.place.len();
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if length > 0 {
                self.place.push('.');
            }
            self.place.push_str(&key);
            if map.contains_key(&key) {
                self.repeated.push(self.place.clone());
            }
            let value = entries.next_value_seed(self.inside())?;
            self.place.truncate(length);
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_key_is_named_by_its_place_and_the_last_counts() {
        let text = r#"{"flags": {"a": {"variants": {"on": 1, "on": 2}}, "b": [{"x": 1}, {"x": 1, "x": 2}], "a": 3}}"#;
        let read = json(text).unwrap();
        assert_eq!(read.repeated, ["flags.a.variants.on", "flags.b[1].x", "flags.a"]);
        assert_eq!(read.value, json!({"flags": {"a": 3, "b": [{"x": 1}, {"x": 2}]}}));
    }

    #[test]
    fn everything_else_is_read_as_before() {
        let text =
            r#"{"a": [null, true, -1, 18446744073709551615, 1e400, 0.1, "é\u0000"], "b": {"a": {}}, "": []}"#;
        assert!(json(text).is_err(), "a number that no double holds");
        let text = text.replace("1e400", "1e300");
        let read = json(&text).unwrap();
        assert_eq!(read.value, serde_json::from_str::<Value>(&text).unwrap());
        assert!(read.repeated.is_empty());
        assert!(json("{} {}").is_err() && json("{").is_err());
    }
}
