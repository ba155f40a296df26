//! Pages: signed tokens, and slices of what is listed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::domain::error::{Error, Reason};
use crate::domain::filter::Field;
use crate::domain::filter::{FieldId, FieldType, FieldValue, OrderBy, Record, Schema};
use crate::domain::page::{PageToken, SIGNATURE_LENGTH, SortValue, fingerprint};
use crate::domain::violation::Violation;
use crate::view::Snapshot;

/// Which page is asked for.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// 1 to 1,000.
    pub size: usize,
    /// The token of the page before; empty for the first.
    pub token: String,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Leads to the next one; empty on the last.
    pub next_token: String,
    /// How many there are on all pages.
    pub total: usize,
}

/// A question whose answer is cut into pages.
pub struct Query<'a> {
    /// Everything but the page that makes the question: a token fits no other.
    pub parts: &'a [&'a str],
    /// The order of the answer.
    pub order: &'a OrderBy,
    /// Whether the items are in that order already.
    pub sorted: bool,
}

/// Cuts the asked page out of `items`.
pub fn page<T: Record>(
    snapshot: &Snapshot,
    request: &PageRequest,
    query: &Query<'_>,
    mut items: Vec<T>,
) -> Result<Page<T>, Error> {
    let Query { parts, order, sorted } = *query;
    let fingerprint = fingerprint(parts);
    let after = read_token(snapshot, request, fingerprint)?;
    if !sorted {
        items.sort_unstable_by(|a, b| order.compare(a, b));
    }
    let total = items.len();
    let start = after.map_or(0, |token| items.partition_point(|item| !token.is_before(item, order)));
    let end = start.saturating_add(request.size).min(total);
    items.truncate(end);
    let items: Vec<T> = items.drain(start..).collect();
    let next_token = match items.last() {
        Some(last) if end < total => write_token(snapshot, &PageToken::after(last, order, fingerprint)),
        _ => String::new(),
    };
    Ok(Page { items, next_token, total })
}

/// The place behind which the asked page begins; none for the first.
fn read_token(
    snapshot: &Snapshot,
    request: &PageRequest,
    fingerprint: u64,
) -> Result<Option<PageToken>, Error> {
    if request.token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(&request.token)
        .map_err(|_| invalid_token("the page token is not one that this service gave"))?;
    PageToken::decode(&bytes, fingerprint, |bytes| sign(snapshot, bytes))
        .map(Some)
        .map_err(|error| invalid_token(&error.to_string()))
}

fn write_token(snapshot: &Snapshot, token: &PageToken) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(token.encode(|bytes| sign(snapshot, bytes)))
}

fn invalid_token(why: &str) -> Error {
    Error::invalid(Reason::InvalidPageToken, vec![Violation::new("page_token", why)])
}

fn sign(snapshot: &Snapshot, bytes: &[u8]) -> [u8; SIGNATURE_LENGTH] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, snapshot.page_key.as_bytes());
    let tag = hmac::sign(&key, bytes);
    let mut signature = [0; SIGNATURE_LENGTH];
    signature.copy_from_slice(&tag.as_ref()[..SIGNATURE_LENGTH]);
    signature
}

/// What is listed by one key alone: tiers by id, flags by key, operations by id.
pub struct Keyed<T> {
    /// The key.
    pub key: String,
    /// What it is the key of.
    pub item: T,
}

/// The schema of [`Keyed`].
pub static BY_KEY: Schema =
    Schema { fields: &[Field { name: "key", field_type: FieldType::Text, orderable: true }], unique: 0 };

impl<T> Record for Keyed<T> {
    fn field(&self, _: FieldId) -> FieldValue<'_> {
        FieldValue::Text(&self.key)
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

/// The pages of what is listed by key and does not all come from the snapshot: where they begin and how they go on.
pub struct Keys<'a> {
    snapshot: &'a Snapshot,
    fingerprint: u64,
}

impl<'a> Keys<'a> {
    /// Of a question, as in [`Query::parts`].
    pub fn of(snapshot: &'a Snapshot, parts: &[&str]) -> Self {
        Self { snapshot, fingerprint: fingerprint(parts) }
    }

    /// The key behind which the asked page begins; none for the first.
    pub fn after(&self, request: &PageRequest) -> Result<Option<String>, Error> {
        let token = read_token(self.snapshot, request, self.fingerprint)?;
        Ok(token.and_then(|token| match token.last.into_iter().next() {
            Some(SortValue::Text(key)) => Some(key),
            _ => None,
        }))
    }

    /// The token of the page behind a key.
    pub fn token(&self, key: &str) -> String {
        let last = vec![SortValue::Text(key.to_owned())];
        write_token(self.snapshot, &PageToken { fingerprint: self.fingerprint, last })
    }
}

/// A page of what is listed by key; `items` are in that order (or in the reverse one, if `newest_first`).
pub fn page_by_key<T>(
    snapshot: &Snapshot,
    request: &PageRequest,
    query: &[&str],
    newest_first: bool,
    items: Vec<Keyed<T>>,
) -> Result<Page<T>, Error> {
    let order = OrderBy::parse(if newest_first { "key desc" } else { "" }, &BY_KEY).map_err(Error::bug)?;
    let query = Query { parts: query, order: &order, sorted: true };
    let page = page(snapshot, request, &query, items)?;
    Ok(Page {
        items: page.items.into_iter().map(|keyed| keyed.item).collect(),
        next_token: page.next_token,
        total: page.total,
    })
}
