//! Tokens as a platform makes them for its tenants: JSON Web Tokens (RFC 7519), signed with the server's key.
//!
//! The server looks for a point that fits the claim `value_exists` on each call, so the point decides from one call to
//! the next whether the token is accepted.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tonic::metadata::AsciiMetadataValue;
use uuid::Uuid;

use crate::config::Secret;

/// How long a token of ours is good, in seconds. It ends by the server's clock and is dated by ours: either may be wrong by an
/// hour, to opposite sides, and then ten minutes are left for the call. A token that outlives its call opens nothing that
/// its record does not.
const LIFETIME: i64 = 2 * 60 * 60 + 10 * 60;

/// What a token may do with its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Grant {
    /// The word in a record's payload.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Makes tokens.
pub(super) struct Mint {
    key: hmac::Key,
    /// The collection with the records.
    records: String,
}

impl Mint {
    pub(super) fn new(key: &Secret<String>, records: String) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()), records }
    }

    /// A token for the collection of a name, good while the record of `uid` has the grant.
    pub(super) fn token(&self, name: &str, uid: Uuid, grant: Grant) -> Option<AsciiMetadataValue> {
        let access = if grant == Grant::Read { "r" } else { "rw" };
        let claims = json!({
            "exp": Timestamp::now().as_second() + LIFETIME,
            "access": [{ "collection": name, "access": access }],
            "value_exists": {
                "collection": self.records,
                "matches": [{ "key": "uid", "value": uid.to_string() }, { "key": "grants", "value": grant.as_str() }],
            },
        });
        let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        let mut token: AsciiMetadataValue =
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).parse().ok()?;
        token.set_sensitive(true);
        Some(token)
    }
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the server reads it.
    fn claims(token: &AsciiMetadataValue) -> Value {
        let payload = token.to_str().unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_good_where_our_clock_is_an_hour_behind_and_the_servers_an_hour_ahead() {
        let mint = Mint::new(&Secret::new("key".to_owned()), "records".to_owned());
        let token = mint.token("tenant", Uuid::from_u128(1), Grant::Read).unwrap();
        let ends = claims(&token)["exp"].as_i64().unwrap();
        let theirs = Timestamp::now().as_second() + 2 * 60 * 60;
        assert!(ends >= theirs + 5 * 60, "it ends {} s too early", theirs - ends);
    }
}
