//! The bytes that version 3 of `fractional` hashes: CBOR in its deterministic form (RFC 8949, section 4.2.1), so that
//! every language gets the same.

use serde_json::{Map, Value};

use super::datum::Datum;

/// An unsigned number (0), a negative number (1), text (3), a list (4), an object (5).
#[derive(Clone, Copy)]
enum Major {
    Unsigned = 0,
    Negative = 1,
    Text = 3,
    Array = 4,
    Map = 5,
}

/// Where the bytes go, piece by piece.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]);

/// Writes a value. Allocates only to order the members of objects.
pub(super) fn write(datum: &Datum<'_>, into: Sink<'_>) {
    match datum {
        Datum::Null => into(&[0xf6]),
        Datum::Bool(bool) => into(&[if *bool { 0xf5 } else { 0xf4 }]),
        Datum::Number(number) => write_number(*number, into),
        Datum::Text(_) | Datum::Made(_) => write_text(datum.text().unwrap_or_default(), into),
        Datum::Json(Value::Object(map)) => write_map(map, into),
        Datum::Whole(context) => write_map(&context.to_map(), into),
        Datum::Json(_) | Datum::List(_) => {
            write_array_head(datum.len().unwrap_or(0), &mut *into);
            for item in datum.items() {
                write(&item, &mut *into);
            }
        }
    }
}

pub(super) fn write_text(text: &str, into: Sink<'_>) {
    write_text_head(text.len(), &mut *into);
    into(text.as_bytes());
}

/// What stands before a text of so many bytes.
pub(super) fn write_text_head(bytes: usize, into: Sink<'_>) {
    write_head(Major::Text, bytes as u64, into);
}

pub(super) fn write_array_head(items: usize, into: Sink<'_>) {
    write_head(Major::Array, items as u64, into);
}

/// Members are in the order of their encoded names: shorter before longer, then by bytes.
fn write_map(map: &Map<String, Value>, into: Sink<'_>) {
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_unstable_by_key(|(name, _)| (name.len(), name.as_bytes()));
    write_head(Major::Map, members.len() as u64, &mut *into);
    for (name, value) in members {
        write_text(name, &mut *into);
        write(&Datum::of(value), &mut *into);
    }
}

/// A number's length or a number itself in the fewest bytes.
#[allow(clippy::cast_possible_truncation)] // Each arm has checked the range.
fn write_head(major: Major, number: u64, into: Sink<'_>) {
    let major = (major as u8) << 5;
    match number {
        0..=23 => into(&[major | number as u8]),
        24..=0xff => into(&[major | 0x18, number as u8]),
        0x100..=0xffff => {
            into(&[major | 0x19]);
            into(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            into(&[major | 0x1a]);
            into(&(number as u32).to_be_bytes());
        }
        _ => {
            into(&[major | 0x1b]);
            into(&number.to_be_bytes());
        }
    }
}

/// A number without fraction is written as an integer where CBOR's plain integers and 64 bits reach, so that 1 and 1.0
/// are the same in every language; -0 is 0. Others are floats of the fewest bytes that hold them.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The ranges are checked.
fn write_number(number: f64, into: Sink<'_>) {
    // 2^64 and 2^63, the first that do not fit.
    const ABOVE: f64 = 18_446_744_073_709_551_616.0;
    const BELOW: f64 = -9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (0.0..ABOVE).contains(&number) {
        write_head(Major::Unsigned, number as u64, into);
    } else if number.fract() == 0.0 && (BELOW..0.0).contains(&number) {
        // -1 is written as 0, -2 as 1 and so on.
        write_head(Major::Negative, !(number as i64) as u64, into);
    } else if let Some(half) = to_half(number) {
        into(&[0xf9]);
        into(&half.to_be_bytes());
    } else if f64::from(number as f32).to_bits() == number.to_bits() {
        into(&[0xfa]);
        into(&(number as f32).to_be_bytes());
    } else {
        into(&[0xfb]);
        into(&number.to_be_bytes());
    }
}

/// The number as an IEEE 754 half, where that loses nothing.
fn to_half(number: f64) -> Option<u16> {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = number.to_bits();
    let sign = u16::from(number.is_sign_negative()) << 15;
    if number.is_nan() {
        return Some(0x7e00);
    }
    if number.is_infinite() {
        return Some(sign | 0x7c00);
    }
    let exponent = i32::try_from((bits >> 52) & 0x7ff).ok()? - 1023;
    let fraction = bits & FRACTION;
    let narrow = |kept: u64| u16::try_from(kept).ok();
    match exponent {
        // Normal: 10 bits of fraction.
        -14..=15 if fraction.trailing_zeros() >= 42 => {
            let biased = narrow(u64::try_from(exponent + 15).ok()?)?;
            Some(sign | (biased << 10) | narrow(fraction >> 42)?)
        }
        // Subnormal: the leading one becomes explicit and moves right.
        -24..=-15 => {
            let whole = fraction | (1 << 52);
            let drop = u32::try_from(42 + (-14 - exponent)).ok()?;
            (whole.trailing_zeros() >= drop).then(|| narrow(whole >> drop).map(|kept| sign | kept))?
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hex(value: &Value) -> String {
        let mut bytes = Vec::new();
        write(&Datum::of(value), &mut |piece| bytes.extend_from_slice(piece));
        bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    #[test]
    fn the_examples_of_rfc_8949_are_written_as_there() {
        for (value, expected) in [
            (json!(0), "00"),
            (json!(23), "17"),
            (json!(24), "1818"),
            (json!(255), "18ff"),
            (json!(1000), "1903e8"),
            (json!(1_000_000), "1a000f4240"),
            (json!(1_000_000_000_000_u64), "1b000000e8d4a51000"),
            (json!(-1), "20"),
            (json!(-1000), "3903e7"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!(1.5), "f93e00"),
            (json!(100_000.5), "fa47c35040"),
            (json!(1.0e300), "fb7e37e43c8800759c"),
            (json!(5.960_464_477_539_063e-8), "f90001"),
            (json!(0.000_061_035_156_25), "f90400"),
            (json!(-4.1), "fbc010666666666666"),
            (json!(false), "f4"),
            (json!(true), "f5"),
            (json!(null), "f6"),
            (json!(""), "60"),
            (json!("IETF"), "6449455446"),
            (json!("ü"), "62c3bc"),
            (json!([]), "80"),
            (json!([1, [2, 3], [4, 5]]), "8301820203820405"),
            (json!({}), "a0"),
            (json!({"a": 1, "b": [2, 3]}), "a26161016162820203"),
        ] {
            assert_eq!(hex(&value), expected, "{value}");
        }
    }

    #[test]
    fn numbers_without_fraction_are_integers_and_zero_has_no_sign() {
        assert_eq!(hex(&json!(1.0)), hex(&json!(1)));
        assert_eq!(hex(&json!(-2.0)), hex(&json!(-2)));
        assert_eq!(hex(&json!(-0.0)), "00");
        assert_eq!(hex(&json!(9_223_372_036_854_775_808.0)), "1b8000000000000000");
        assert_eq!(hex(&json!(-9_223_372_036_854_775_808.0)), "3b7fffffffffffffff");
        assert_eq!(hex(&json!(1e20)), "fb4415af1d78b58c40");
    }

    #[test]
    fn members_are_ordered_by_length_then_bytes() {
        assert_eq!(hex(&json!({"aa": 2, "z": 1})), "a2617a0162616102");
        assert_eq!(hex(&json!({"b": 1, "": 0, "a": 2})), "a360006161026162 01".replace(' ', ""));
    }
}
