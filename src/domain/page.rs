//! Page tokens: where the next page of a list begins.
//!
//! A token holds the last row's sort values and a fingerprint of the query it belongs to, and is signed: a client can
//! neither read another query's place out of it nor make one up. Signing is the caller's, so that no key comes here.
//!
//! ```text
//! version:u8 fingerprint:u64 count:u8 { kind:u8 [payload] } signature:[u8; 16]      numbers are big-endian
//! ```

use jiff::Timestamp;

use super::filter::{FieldValue, OrderBy, Record};

const VERSION: u8 = 1;
/// Length of a signature, in bytes.
pub const SIGNATURE_LENGTH: usize = 16;
/// Longest token, in bytes; five sort values of the longest fields are far below.
pub const LENGTH_MAX: usize = 16 << 10;

/// A row's value of one field of the order.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// Not set.
    Absent,
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// A moment.
    Time(Timestamp),
    /// true or false.
    Boolean(bool),
}

impl SortValue {
    /// As a row's value, to be compared with rows.
    pub fn as_field(&self) -> FieldValue<'_> {
        match self {
            Self::Absent => FieldValue::Absent,
            Self::Text(text) => FieldValue::Text(text),
            Self::Number(number) => FieldValue::Number(*number),
            Self::Time(time) => FieldValue::Time(*time),
            Self::Boolean(value) => FieldValue::Boolean(*value),
        }
    }
}

impl From<FieldValue<'_>> for SortValue {
    fn from(value: FieldValue<'_>) -> Self {
        match value {
            FieldValue::Absent => Self::Absent,
            FieldValue::Text(text) => Self::Text(text.to_owned()),
            FieldValue::Number(number) => Self::Number(number),
            FieldValue::Time(time) => Self::Time(time),
            FieldValue::Boolean(value) => Self::Boolean(value),
        }
    }
}

/// Where a page goes on: behind the row with these sort values, the unique key (the tenant's id) last.
#[derive(Debug, Clone, PartialEq)]
pub struct PageToken {
    /// Which query it belongs to, see [`fingerprint`].
    pub fingerprint: u64,
    /// The last row's value for each field of the order.
    pub last: Vec<SortValue>,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Cut, changed, made up, or from another installation or version.
    #[error("the page token is not one that this service gave")]
    NotOurs,
    /// The filter, the order or another part of the query changed between pages.
    #[error("the page token belongs to another query; keep filter, order and all else but the page size")]
    OtherQuery,
}

/// A fingerprint of everything but the page size that makes a query: the method, the filter, the order, the parent.
/// Stable between builds. Two queries may collide by chance, never to anyone's gain: tokens are signed.
pub fn fingerprint(parts: &[&str]) -> u64 {
    // FNV-1a. The length goes in first, so that ("ab", "c") and ("a", "bc") differ.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for part in parts {
        feed(&(part.len() as u64).to_be_bytes());
        feed(part.as_bytes());
    }
    hash
}

impl PageToken {
    /// The token behind a row.
    pub fn after<R: Record>(row: &R, order: &OrderBy, fingerprint: u64) -> Self {
        let last = order.keys().iter().map(|key| row.field(key.field).into()).collect();
        Self { fingerprint, last }
    }

    /// Whether a row comes behind the token's row in the order.
    pub fn is_before<R: Record>(&self, row: &R, order: &OrderBy) -> bool {
        order.compare_to(row, self.last.iter().map(SortValue::as_field)).is_gt()
    }

    /// The token as bytes, signed.
    pub fn encode(&self, sign: impl Fn(&[u8]) -> [u8; SIGNATURE_LENGTH]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.fingerprint.to_be_bytes());
        // An order has at most five fields, see `filter::OrderBy`.
        bytes.push(u8::try_from(self.last.len()).unwrap_or(u8::MAX));
        for value in self.last.iter().take(usize::from(u8::MAX)) {
            match value {
                SortValue::Absent => bytes.push(0),
                SortValue::Text(text) => {
                    bytes.push(1);
                    bytes.extend((text.len() as u64).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
                SortValue::Number(number) => {
                    bytes.push(2);
                    bytes.extend(number.to_bits().to_be_bytes());
                }
                SortValue::Time(time) => {
                    bytes.push(3);
                    bytes.extend(time.as_nanosecond().to_be_bytes());
                }
                SortValue::Boolean(value) => bytes.extend([4, u8::from(*value)]),
            }
        }
        let signature = sign(&bytes);
        bytes.extend(signature);
        bytes
    }

    /// Reads a token. The signature is checked before anything else is looked at.
    pub fn decode(
        bytes: &[u8],
        fingerprint: u64,
        sign: impl Fn(&[u8]) -> [u8; SIGNATURE_LENGTH],
    ) -> Result<Self, Error> {
        if bytes.len() > LENGTH_MAX {
            return Err(Error::NotOurs);
        }
        let (payload, signature) = bytes.split_last_chunk::<SIGNATURE_LENGTH>().ok_or(Error::NotOurs)?;
        // Every byte is compared whatever the first ones say: time must not tell how much of a forgery fits.
        let differing = sign(payload).iter().zip(signature).fold(0, |sum, (a, b)| sum | (a ^ b));
        if differing != 0 {
            return Err(Error::NotOurs);
        }
        let token = read(payload).ok_or(Error::NotOurs)?;
        if token.fingerprint == fingerprint { Ok(token) } else { Err(Error::OtherQuery) }
    }
}

fn read(payload: &[u8]) -> Option<PageToken> {
    let mut rest = payload;
    let [version] = take(&mut rest)?;
    if version != VERSION {
        return None;
    }
    let fingerprint = u64::from_be_bytes(take(&mut rest)?);
    let [count] = take(&mut rest)?;
    let mut last = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let [kind] = take(&mut rest)?;
        last.push(match kind {
            0 => SortValue::Absent,
            1 => {
                let length = usize::try_from(u64::from_be_bytes(take(&mut rest)?)).ok()?;
                let (text, behind) = rest.split_at_checked(length)?;
                rest = behind;
                SortValue::Text(std::str::from_utf8(text).ok()?.to_owned())
            }
            2 => SortValue::Number(f64::from_bits(u64::from_be_bytes(take(&mut rest)?))),
            3 => SortValue::Time(Timestamp::from_nanosecond(i128::from_be_bytes(take(&mut rest)?)).ok()?),
            4 => match take(&mut rest)? {
                [0] => SortValue::Boolean(false),
                [1] => SortValue::Boolean(true),
                _ => return None,
            },
            _ => return None,
        });
    }
    rest.is_empty().then_some(PageToken { fingerprint, last })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::filter::tenant::{SCHEMA, TenantField};
    use crate::domain::filter::{FieldId, Filter};

    /// Not a signature anyone should use: enough to see whether the bytes were changed.
    fn sign(bytes: &[u8]) -> [u8; 16] {
        let mut signature = [0; 16];
        let text: String = bytes.iter().map(|b| char::from(*b)).collect();
        signature[..8].copy_from_slice(&fingerprint(&["key", &text]).to_be_bytes());
        signature[8..].copy_from_slice(&fingerprint(&["more", &text]).to_be_bytes());
        signature
    }

    struct Row(String, f64);

    impl Record for Row {
        fn field(&self, id: FieldId) -> FieldValue<'_> {
            match TenantField::from_id(id) {
                Some(TenantField::TenantId) => FieldValue::Text(&self.0),
                Some(TenantField::HealthScore) => FieldValue::Number(self.1),
                _ => FieldValue::Absent,
            }
        }

        fn entry(&self, _: FieldId, _: &str) -> Option<&str> {
            None
        }

        fn has_any(&self, _: FieldId) -> bool {
            false
        }

        fn any_item(&self, _: FieldId, _: &mut dyn FnMut(&str) -> bool) -> bool {
            false
        }
    }

    #[test]
    fn fingerprints_tell_queries_apart_and_stay_the_same_between_builds() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_ne!(fingerprint(&["a"]), fingerprint(&["a", ""]));
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(
            fingerprint(&["tenant.list", "status = ACTIVE"]),
            fingerprint(&["tenant.list", "status = ACTIVE"])
        );
    }

    #[test]
    fn a_token_of_another_query_says_so() {
        let token = PageToken { fingerprint: 1, last: vec![SortValue::Text("hr".into())] };
        assert_eq!(PageToken::decode(&token.encode(sign), 1, sign), Ok(token.clone()));
        assert_eq!(PageToken::decode(&token.encode(sign), 2, sign), Err(Error::OtherQuery));
        assert_eq!(PageToken::decode(&token.encode(|_| [0; 16]), 1, sign), Err(Error::NotOurs));
        assert_eq!(PageToken::decode(&[], 1, sign), Err(Error::NotOurs));
    }

    #[test]
    fn pages_one_after_the_other_show_every_row_once() {
        let mut rows: Vec<Row> = (0..25).map(|i| Row(format!("t{i}"), f64::from(i % 4))).collect();
        let order = OrderBy::parse("health_score desc", &SCHEMA).unwrap();
        rows.sort_by(|a, b| order.compare(a, b));
        let all: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
        let mut seen = Vec::new();
        let mut token: Option<PageToken> = None;
        loop {
            let page: Vec<&Row> = rows
                .iter()
                .filter(|row| token.as_ref().is_none_or(|t| t.is_before(*row, &order)))
                .take(4)
                .collect();
            let Some(last) = page.last() else { break };
            let bytes = PageToken::after(*last, &order, 7).encode(sign);
            token = Some(PageToken::decode(&bytes, 7, sign).unwrap());
            seen.extend(page.iter().map(|row| row.0.as_str()));
        }
        assert_eq!(seen, all);
        assert!(Filter::ALL.matches(&rows[0]));
    }

    fn some_value() -> impl Strategy<Value = SortValue> {
        prop_oneof![
            Just(SortValue::Absent),
            any::<String>().prop_map(SortValue::Text),
            any::<f64>().prop_filter("compares", |n| !n.is_nan()).prop_map(SortValue::Number),
            (-1_000_000_000_000_i64..1_000_000_000_000)
                .prop_map(|ms| SortValue::Time(Timestamp::from_millisecond(ms).unwrap())),
            any::<bool>().prop_map(SortValue::Boolean),
        ]
    }

    proptest! {
        #[test]
        fn tokens_come_back_as_they_were_and_any_changed_byte_is_noticed(
            fingerprint in any::<u64>(), last in prop::collection::vec(some_value(), 0..6), at in any::<prop::sample::Index>(), flip in 1_u8..
        ) {
            let token = PageToken { fingerprint, last };
            let mut bytes = token.encode(sign);
            prop_assert_eq!(PageToken::decode(&bytes, fingerprint, sign), Ok(token));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(PageToken::decode(&bytes, fingerprint, sign), Err(Error::NotOurs));
            bytes.truncate(at);
            prop_assert_eq!(PageToken::decode(&bytes, fingerprint, sign), Err(Error::NotOurs));
        }

        #[test]
        fn no_signed_bytes_break_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..60), version in any::<bool>()) {
            if version && !bytes.is_empty() {
                bytes[0] = VERSION;
            }
            bytes.extend(sign(&bytes));
            let _ = PageToken::decode(&bytes, 0, sign);
        }
    }
}
