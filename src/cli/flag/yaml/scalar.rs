//! What a text of YAML is: the rules are those of flagd's library, YAML 1.2 with what 1.1 had of whole numbers.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Number, Value};

use super::{MERGE, time};

/// What a tag of YAML's own begins with where it is written out.
const OWN_TAGS: &str = "tag:yaml.org,2002:";
/// The last bits of the last letter may be anything.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A text with what says how to read it.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    kind: Kind,
}

/// How a text is to be read.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// As what it looks like.
    Plain,
    /// As a text: in quotes, or a block.
    Text,
    /// As what its tag says, without YAML's prefix.
    Tagged(String),
    /// As a text, whose tag says nothing here.
    Foreign,
}

/// What a plain text is.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Null,
    Bool(bool),
    Whole(Number),
    Double(f64),
    Time(time::Time),
    Text,
}

impl Scalar {
    pub(super) fn new(text: String, is_plain: bool, tag: Option<&str>) -> Self {
        let kind = match tag {
            None | Some("!") => {
                if is_plain {
                    Kind::Plain
                } else {
                    Kind::Text
                }
            }
            Some(tag) => match tag.strip_prefix(OWN_TAGS).or_else(|| tag.strip_prefix("!!")) {
                Some("str") => Kind::Text,
                Some(own) => Kind::Tagged(own.to_owned()),
                None => Kind::Foreign,
            },
        };
        Self { text, kind }
    }

    /// Whether it is a key that brings in another map.
    pub(super) fn is_merge(&self) -> bool {
        let may_be = self.kind == Kind::Plain || self.kind == Kind::Tagged("merge".to_owned());
        may_be && self.text == MERGE
    }

    /// Whether a map with such a key can be an object of JSON's.
    pub(super) fn is_text(&self) -> bool {
        match &self.kind {
            Kind::Plain => plain(&self.text) == Plain::Text,
            Kind::Text => true,
            Kind::Tagged(tag) => tag == "merge",
            Kind::Foreign => false,
        }
    }

    /// As a value of JSON.
    pub(super) fn value(&self) -> Result<Value, String> {
        let text = || Value::from(self.text.as_str());
        let found = match &self.kind {
            Kind::Text | Kind::Foreign => return Ok(text()),
            Kind::Tagged(tag) if tag == "binary" => return self.binary().map(Value::from),
            _ => self.resolved()?,
        };
        match found {
            Plain::Null => Ok(Value::Null),
            Plain::Bool(is_true) => Ok(is_true.into()),
            Plain::Whole(number) => Ok(Value::Number(number)),
            Plain::Double(number) => double(number).ok_or_else(|| {
                format!("{:?} is no number of JSON's, so that flagd refuses it, too", self.text)
            }),
            Plain::Time(time) => time.written().map(Value::from).ok_or_else(|| {
                format!("{:?} is a time with an offset that flagd refuses: it must be below 24:00", self.text)
            }),
            Plain::Text => Ok(text()),
        }
    }

    /// As a key of JSON: as it is written; none of null.
    pub(super) fn key(&self) -> Result<Option<String>, String> {
        match &self.kind {
            Kind::Text | Kind::Foreign => Ok(Some(self.text.clone())),
            Kind::Tagged(tag) if tag == "binary" => self.binary().map(Some),
            _ => {
                let is_null = self.resolved()? == Plain::Null;
                Ok(Some(self.text.clone()).filter(|_| !is_null))
            }
        }
    }

    /// What it is, where that is what its tag says.
    fn resolved(&self) -> Result<Plain, String> {
        let Kind::Tagged(tag) = &self.kind else { return Ok(plain(&self.text)) };
        let found = plain(&self.text);
        match (tag.as_str(), found) {
            ("null", found @ Plain::Null)
            | ("bool", found @ Plain::Bool(_))
            | ("int", found @ Plain::Whole(_))
            | ("float", found @ Plain::Double(_))
            | ("timestamp", found @ Plain::Time(_)) => Ok(found),
            // flagd's library makes none of those beyond 63 bits.
            ("float", Plain::Whole(number)) if number.is_i64() => {
                number.as_f64().map(Plain::Double).ok_or_else(|| format!("{number} is no number"))
            }
            ("null" | "bool" | "int" | "float" | "timestamp", _) => {
                Err(format!("{:?} cannot be read as !!{tag}", self.text))
            }
            _ => Ok(Plain::Text),
        }
    }

    fn binary(&self) -> Result<String, String> {
        let letters: Vec<u8> = self.text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let bytes = BASE64.decode(letters).map_err(|_| "!!binary must be base64".to_owned())?;
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // One for each byte that is no text, as Go writes them.
            text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
        }
        Ok(text)
    }
}

/// A whole number as such: that is how it comes out of flagd's JSON.
fn double(number: f64) -> Option<Value> {
    let is_whole = number.fract() == 0.0 && number.abs() < 2_f64.powi(63);
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if is_whole && !is_negative_zero {
        // Within the bounds, and without a fraction.
        #[allow(clippy::cast_possible_truncation)]
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

/// What a plain text is. What none of these rules knows is a text: `yes`, `on` and `1:20` are, too.
fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::Double(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Plain::Double(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Double(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => fraction(text).map_or(Plain::Text, Plain::Double),
        b'0'..=b'9' | b'+' | b'-' => {
            if let Some(time) = time::Time::parse(text) {
                return Plain::Time(time);
            }
            let text = text.replace('_', "");
            let number = whole(&text).map(Plain::Whole);
            number.or_else(|| decimal(&text).map(Plain::Double)).unwrap_or(Plain::Text)
        }
        _ => Plain::Text,
    }
}

/// A whole number, by its first letters of base 2, 8 or 16: also where a zero alone stands before octal digits.
fn whole(text: &str) -> Option<Number> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (Some(false), &text[1..]),
        b'-' => (Some(true), &text[1..]),
        _ => (None, text),
    };
    let head = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match head.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // The library takes a sign there, but not in base 16, and only in small letters.
    let has_inner_sign = digits.starts_with(['+', '-']);
    if has_inner_sign {
        let may_have = sign.is_none() && (text.starts_with("0b") || text.starts_with("0o"));
        return may_have.then(|| i64::from_str_radix(digits, radix).ok().map(Number::from)).flatten();
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        Some(true) => 0_i64.checked_sub_unsigned(number).map(Number::from),
        // Beyond 63 bits the library takes no sign.
        Some(false) => i64::try_from(number).ok().map(Number::from),
        None => Some(number.into()),
    }
}

/// A number with digits on at least one side of a point, and perhaps an exponent.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && are_digits(digits)
    };
    let is_number = !(before.is_empty() && after.is_empty())
        && are_digits(before)
        && are_digits(after)
        && exponent.is_none_or(is_exponent);
    // One beyond what a double holds stays a text.
    text.parse::<f64>().ok().filter(|number| is_number && number.is_finite())
}

/// A number that begins with its point: here `_` may only stand between digits.
fn fraction(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit =
        |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
    let stands_between = |place: usize| is_digit(place.checked_sub(1)) && is_digit(Some(place + 1));
    let all_between = (0..bytes.len()).filter(|place| bytes[*place] == b'_').all(stands_between);
    all_between.then(|| decimal(&text.replace('_', ""))).flatten()
}
