//! Values of flags: five types, checked where they enter.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The type of all of a flag's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FlagType {
    /// true or false.
    Boolean,
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number.
    Double,
    /// A JSON object.
    Object,
    /// Values of several types, or ones that have none of these: a list, null. Only a flagd file brings such flags.
    Mixed,
}

impl FlagType {
    /// The name in the contract, for example `BOOLEAN`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Integer => "INTEGER",
            Self::Double => "DOUBLE",
            Self::Object => "OBJECT",
            Self::Mixed => "MIXED",
        }
    }
}

impl fmt::Display for FlagType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One value. Stored with its type named, because JSON alone cannot tell 3 from 3.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// true or false.
    Boolean(bool),
    /// Text.
    String(Arc<str>),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Double(f64),
    /// A JSON object.
    Object(Arc<serde_json::Map<String, serde_json::Value>>),
    /// A list or null, of a flagd file.
    Json(Arc<serde_json::Value>),
}

impl From<serde_json::Value> for Value {
    /// The value as the type that it has by itself: what is written with a fraction, or has more than 64 bits, is a
    /// double.
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Bool(value) => Self::Boolean(value),
            Json::String(value) => Self::String(value.into()),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Integer(whole),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Json::Object(map) => Self::Object(Arc::new(map)),
            other @ (Json::Null | Json::Array(_)) => Self::Json(Arc::new(other)),
        }
    }
}

impl Value {
    /// The value's type.
    pub const fn flag_type(&self) -> FlagType {
        match self {
            Self::Boolean(_) => FlagType::Boolean,
            Self::String(_) => FlagType::String,
            Self::Integer(_) => FlagType::Integer,
            Self::Double(_) => FlagType::Double,
            Self::Object(_) => FlagType::Object,
            Self::Json(_) => FlagType::Mixed,
        }
    }

    /// The value as one of another type, where that loses nothing: a whole number is a number, and a number without
    /// fraction is a whole number.
    pub fn converted(&self, wanted: FlagType) -> Option<Self> {
        match (self, wanted) {
            #[allow(clippy::cast_precision_loss)] // Whoever asks for a double of 2^60 knows what that is.
            (Self::Integer(number), FlagType::Double) => Some(Self::Double(*number as f64)),
            (Self::Double(number), FlagType::Integer) => {
                serde_json::Number::from_f64(*number).as_ref().and_then(whole).map(Self::Integer)
            }
            (value, wanted) => (value.flag_type() == wanted).then(|| value.clone()),
        }
    }

    /// The boolean, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// Reads JSON as a value of a type: a number without a fraction is an integer as well as a double. The error is
    /// the end of a sentence that starts with the field.
    pub fn from_json(flag_type: FlagType, json: serde_json::Value) -> Result<Self, String> {
        use serde_json::Value as Json;
        match (flag_type, json) {
            (FlagType::Boolean, Json::Bool(value)) => Ok(Self::Boolean(value)),
            (FlagType::String, Json::String(value)) => Ok(Self::String(value.into())),
            (FlagType::Integer, Json::Number(number)) => whole(&number)
                .map(Self::Integer)
                .ok_or_else(|| "must be a whole number of 64 bits".to_owned()),
            (FlagType::Double, Json::Number(number)) => number
                .as_f64()
                .filter(|n| n.is_finite())
                .map(Self::Double)
                .ok_or_else(|| "must be a finite number".to_owned()),
            (FlagType::Object, Json::Object(map)) => Ok(Self::Object(Arc::new(map))),
            (FlagType::Mixed, json) => Ok(json.into()),
            (expected, other) => {
                Err(format!("must be {}; it is {}", with_article(expected), json_kind(&other)))
            }
        }
    }

    /// The value as JSON. A double keeps a fraction (`3.0`), which some clients need to tell it from an integer.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Boolean(value) => (*value).into(),
            Self::String(value) => value.as_ref().into(),
            Self::Integer(value) => (*value).into(),
            Self::Double(value) => (*value).into(),
            Self::Object(map) => serde_json::Value::Object(map.as_ref().clone()),
            Self::Json(json) => json.as_ref().clone(),
        }
    }
}

/// The number as i64 where that loses nothing. Wire formats that know only doubles send 3 as 3.0.
fn whole(number: &serde_json::Number) -> Option<i64> {
    // 2^63 as a double, the first that does not fit.
    const END: f64 = 9_223_372_036_854_775_808.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        #[allow(clippy::cast_possible_truncation)] // Checked to be whole and in range.
        (number.is_f64() && float.fract() == 0.0 && (-END..END).contains(&float)).then_some(float as i64)
    })
}

pub(super) const fn with_article(flag_type: FlagType) -> &'static str {
    match flag_type {
        FlagType::Boolean => "a boolean",
        FlagType::String => "a string",
        FlagType::Integer => "a whole number",
        FlagType::Double => "a number",
        FlagType::Object => "an object",
        FlagType::Mixed => "of any type",
    }
}

const fn json_kind(json: &serde_json::Value) -> &'static str {
    match json {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_the_flag_s_type_and_no_other() {
        let read = Value::from_json;
        assert_eq!(read(FlagType::Boolean, json!(true)), Ok(Value::Boolean(true)));
        assert_eq!(read(FlagType::String, json!("a")), Ok(Value::String("a".into())));
        assert_eq!(read(FlagType::Integer, json!(3)), Ok(Value::Integer(3)));
        assert_eq!(read(FlagType::Double, json!(3)), Ok(Value::Double(3.0)));
        assert_eq!(
            read(FlagType::Boolean, json!("true")),
            Err("must be a boolean; it is a string".to_owned())
        );
        assert_eq!(read(FlagType::Object, json!([1])), Err("must be an object; it is a list".to_owned()));
        assert_eq!(read(FlagType::String, json!(null)), Err("must be a string; it is null".to_owned()));
    }

    #[test]
    fn a_value_is_asked_for_as_another_number_only_where_nothing_is_lost() {
        assert_eq!(Value::Integer(3).converted(FlagType::Double), Some(Value::Double(3.0)));
        assert_eq!(Value::Double(3.0).converted(FlagType::Integer), Some(Value::Integer(3)));
        assert_eq!(Value::Double(3.5).converted(FlagType::Integer), None);
        assert_eq!(Value::Boolean(true).converted(FlagType::String), None);
        assert_eq!(Value::Boolean(true).converted(FlagType::Boolean), Some(Value::Boolean(true)));
    }

    #[test]
    fn integers_may_arrive_as_doubles_but_never_lose_anything() {
        assert_eq!(Value::from_json(FlagType::Integer, json!(3.0)), Ok(Value::Integer(3)));
        assert_eq!(Value::from_json(FlagType::Integer, json!(i64::MAX)), Ok(Value::Integer(i64::MAX)));
        assert_eq!(
            Value::from_json(FlagType::Integer, json!(-9_223_372_036_854_775_808.0)),
            Ok(Value::Integer(i64::MIN))
        );
        for bad in [json!(3.5), json!(1e300), json!(u64::MAX), json!(9_223_372_036_854_775_808.0)] {
            assert!(Value::from_json(FlagType::Integer, bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_of_a_file_has_the_type_that_it_is_written_with() {
        let read = |text: &str| Value::from(serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(read("1"), Value::Integer(1));
        assert_eq!(read("1.0"), Value::Double(1.0));
        assert_eq!(read("9223372036854775808"), Value::Double(9_223_372_036_854_775_808.0));
        assert_eq!(read("[]").flag_type(), FlagType::Mixed);
        assert_eq!(read("null").converted(FlagType::Object), None);
    }

    #[test]
    fn the_largest_doubles_come_back_from_a_column_that_writes_all_their_digits() {
        for number in [f64::MAX, f64::MIN, 1e308, 1.234_567_890_123_456_7e307] {
            let column = format!("{{\"double\":{number}}}");
            assert!(column.len() > 300, "{column}");
            assert_eq!(serde_json::from_str::<Value>(&column).unwrap(), Value::Double(number));
        }
    }

    #[test]
    fn doubles_keep_a_fraction_in_json_and_their_type_in_storage() {
        assert_eq!(Value::Double(3.0).to_json().to_string(), "3.0");
        for value in [
            Value::Boolean(false),
            Value::String("a".into()),
            Value::Integer(3),
            Value::Double(3.0),
            Value::from_json(FlagType::Object, json!({"a": [1, null]})).unwrap(),
            Value::from(json!([1, null])),
            Value::from(json!(null)),
        ] {
            let stored = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), value);
            assert_eq!(Value::from_json(value.flag_type(), value.to_json()).unwrap(), value);
        }
    }
}
