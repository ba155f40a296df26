//! Proto messages to domain types and back. Decoding names every field at fault.

pub(super) mod evaluated;
pub(super) mod flag;
pub(super) mod health;
pub(super) mod lifecycle;
pub(super) mod operation;
pub(super) mod tenant;
pub(super) mod tier;
pub(super) mod value;

use jiff::Timestamp;
use prost::Message;
use prost_types::FieldMask;

use crate::domain::error::{Error, Reason};
use crate::domain::ids::InvalidId;
use crate::domain::text::quote;
use crate::domain::violation::Violation;
use crate::services::paging::{Page, PageRequest};

/// Largest page.
const PAGE_MAX: i32 = 1_000;
/// Page where none is asked for.
const PAGE_DEFAULT: usize = 50;
/// Where a page ends early, in bytes: clients take answers of up to 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 3 << 20;
/// Most paths in an update mask.
const PATHS_MAX: usize = 100;

/// Gathers the fields at fault while a message is decoded, so that a caller hears of all of them at once.
#[derive(Default)]
pub(super) struct Faults(Vec<Violation>);

impl Faults {
    pub(super) fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Violation::new(field, why));
    }

    /// The value, or the fault remembered.
    pub(super) fn id<T>(&mut self, field: &str, parsed: Result<T, InvalidId>) -> Option<T> {
        parsed.map_err(|invalid| self.add(field, invalid.to_string())).ok()
    }

    /// As [`id`](Self::id), for a field that may be empty.
    pub(super) fn optional_id<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() { None } else { self.id(field, parse(text)) }
    }

    pub(super) fn extend(&mut self, violations: Vec<Violation>) {
        for violation in violations {
            // What could not be decoded has said so already.
            if !self.0.iter().any(|known| known.field == violation.field) {
                self.0.push(violation);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The decoded value if nothing was at fault.
    pub(super) fn check<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::invalid(Reason::InvalidField, self.0)),
        }
    }
}

/// Reads one id.
pub(super) fn id<T>(field: &str, parsed: Result<T, InvalidId>) -> Result<T, Error> {
    parsed.map_err(|invalid| Error::field(field, invalid.to_string()))
}

/// An etag that was given.
pub(super) fn etag(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Reads which page is asked for.
pub(super) fn page(size: i32, token: String) -> Result<PageRequest, Error> {
    let size = match size {
        0 => PAGE_DEFAULT,
        1..=PAGE_MAX => usize::try_from(size).unwrap_or(PAGE_DEFAULT),
        _ => {
            return Err(Error::field(
                "page_size",
                format!("must be from 1 to {PAGE_MAX}, or 0 for {PAGE_DEFAULT}"),
            ));
        }
    };
    Ok(PageRequest { size, token })
}

/// Encodes a page, and ends it early where an answer would be larger than clients usually take.
pub(super) fn fit<T, M: Message>(
    request: &PageRequest,
    list: impl Fn(&PageRequest) -> Result<Page<T>, Error>,
    encode: impl Fn(&T) -> M,
) -> Result<Page<M>, Error> {
    let Page { items: listed, next_token, total } = list(request)?;
    let (mut items, mut bytes) = (Vec::with_capacity(listed.len()), 0);
    for item in &listed {
        let message = encode(item);
        bytes += message.encoded_len();
        if bytes > PAGE_BYTES_MAX && !items.is_empty() {
            // Only a list knows its tokens: the one behind what fits ends a page of that size.
            let shorter = list(&PageRequest { size: items.len(), token: request.token.clone() })?;
            return Ok(Page { items, next_token: shorter.next_token, total });
        }
        items.push(message);
    }
    Ok(Page { items, next_token, total })
}

/// A count as the wire has it.
pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Encodes a moment.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    // A moment before 1970 has a negative fraction here and never on the wire.
    let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// Decodes a moment, to the microsecond that the database keeps.
pub(super) fn decode_timestamp(time: prost_types::Timestamp) -> Result<Timestamp, &'static str> {
    const RANGE: &str = "must be a time from year 1 to 9999-12-30 with 0 to 999999999 nanoseconds";
    // What RFC 3339 can write, less the last day, which not every time zone could still write.
    if !(-62_135_596_800..=253_402_207_200).contains(&time.seconds)
        || !(0..=999_999_999).contains(&time.nanos)
    {
        return Err(RANGE);
    }
    Timestamp::from_microsecond(time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)).map_err(|_| RANGE)
}

/// Reads an update mask: which of `all` are named. `prefix` stands before each name in `fixed`, fields that exist but
/// cannot be changed.
pub(super) fn mask<F: Copy + PartialEq + 'static>(
    mask: Option<FieldMask>,
    all: &'static [F],
    name: impl Fn(F) -> &'static str,
    fixed: &[&str],
) -> Result<Vec<F>, Error> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::field(
            "update_mask",
            "must name the fields to change, or * for all that can be changed",
        ));
    }
    if paths.len() > PATHS_MAX {
        return Err(Error::field("update_mask", format!("must have at most {PATHS_MAX} paths")));
    }
    let mut fields = Vec::new();
    let mut faults = Faults::default();
    for path in &paths {
        if path == "*" {
            return Ok(all.to_vec());
        }
        let known = all.iter().copied().find(|field| name(*field) == path);
        match known {
            Some(field) if fields.contains(&field) => {}
            Some(field) => fields.push(field),
            None if fixed.contains(&path.as_str()) => {
                faults.add("update_mask", format!("{} cannot be changed by an update", quote(path)));
            }
            None => faults.add("update_mask", format!("{} is not a field that can be changed", quote(path))),
        }
    }
    if faults.is_empty() { Ok(fields) } else { faults.check(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tier::TierField;

    fn read(paths: &[&str]) -> Result<Vec<TierField>, Error> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        mask(Some(FieldMask { paths }), TierField::ALL, TierField::as_str, &["tier_id"])
    }

    #[test]
    fn a_mask_names_fields_once_each() {
        assert_eq!(read(&["rank", "limits", "rank"]).unwrap(), [TierField::Rank, TierField::Limits]);
        assert_eq!(read(&["*"]).unwrap(), TierField::ALL);
    }

    #[test]
    fn a_mask_with_anything_else_is_refused_by_name() {
        assert!(read(&[]).is_err());
        let error = read(&["rank", "tier_id", "nonsense\0"]).unwrap_err();
        assert!(error.message.contains("\"tier_id\" cannot be changed"), "{}", error.message);
        assert!(error.message.contains("nonsense\\u{0}"), "{}", error.message);
    }

    #[test]
    fn times_read_back_and_impossible_ones_are_refused() {
        for seconds in [-62_135_596_800, -1, 0, 253_402_207_199] {
            let time = prost_types::Timestamp { seconds, nanos: 123_456_000 };
            assert_eq!(timestamp(decode_timestamp(time).unwrap()), time);
        }
        for (seconds, nanos) in
            [(i64::MAX, 0), (i64::MIN, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000)]
        {
            assert!(decode_timestamp(prost_types::Timestamp { seconds, nanos }).is_err());
        }
    }
}
