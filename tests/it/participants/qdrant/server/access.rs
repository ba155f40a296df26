//! Who may do what: keys, and tokens (HS256) with their claims, in the codes of Qdrant's gRPC side: `UNAUTHENTICATED` for
//! what it does not know, `PERMISSION_DENIED` for what it knows and refuses.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::state::State;

/// How much later than its end a token is still taken, in seconds.
const LEEWAY: i64 = 30;

pub(super) struct Keys {
    pub key: Option<&'static str>,
    pub jwt_rbac: bool,
}

/// What a caller may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Access {
    Global(Global),
    Collections(Vec<Collection>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Global {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "m")]
    Manage,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Collection {
    collection: String,
    access: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Mode {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "rw")]
    ReadWrite,
    /// Points alone: no snapshots, no indexes.
    #[serde(rename = "prw")]
    Points,
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    /// To read what is more than points.
    ReadMore,
    Write,
    /// To write what is more than points.
    WriteMore,
    Manage,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    exp: Option<i64>,
    #[serde(default = "everything")]
    access: Access,
    value_exists: Option<ValueExists>,
}

#[derive(Debug, Deserialize)]
struct ValueExists {
    collection: String,
    matches: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    value: serde_json::Value,
}

const fn everything() -> Access {
    Access::Global(Global::Manage)
}

impl Access {
    /// Whether the caller has the server's own key.
    pub(super) const fn is_manager(&self) -> bool {
        matches!(self, Self::Global(Global::Manage))
    }

    /// Names are taken as the caller says them: an alias is not looked up.
    pub(super) fn check(&self, name: &str, need: Need) -> Result<(), Status> {
        let refused = |words: String| Err(Status::permission_denied(format!("Forbidden: {words}")));
        let list = match self {
            Self::Global(Global::Manage) => return Ok(()),
            Self::Global(Global::Read) => {
                return match need {
                    Need::Read | Need::ReadMore => Ok(()),
                    _ => refused("Global manage access is required".to_owned()),
                };
            }
            Self::Collections(list) => list,
        };
        if need == Need::Manage {
            return refused("Global manage access is required".to_owned());
        }
        let Some(found) = list.iter().find(|found| found.collection == name) else {
            return refused(format!("Access to collection {name} is required"));
        };
        match (need, found.access) {
            (Need::Read, _)
            | (Need::ReadMore, Mode::Read)
            | (Need::Write, Mode::Points)
            | (_, Mode::ReadWrite) => Ok(()),
            _ => refused(format!("More access to collection {name} is required")),
        }
    }
}

impl Keys {
    pub(super) fn access(&self, headers: &MetadataMap, state: &State) -> Result<Access, Status> {
        let Some(key) = self.key else { return Ok(everything()) };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let given =
            text("api-key").or_else(|| text("authorization").and_then(|it| it.strip_prefix("Bearer ")));
        let Some(given) = given else {
            return Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token"));
        };
        if given == key {
            return Ok(everything());
        }
        let unknown = || Status::unauthenticated("Invalid API key or JWT");
        if !self.jwt_rbac {
            return Err(unknown());
        }
        let claims = claims(given, key).map_err(|refused| refused.unwrap_or_else(unknown))?;
        if let Some(wanted) = claims.value_exists {
            let Some(collection) = state.find(&wanted.collection) else {
                return Err(Status::permission_denied("Invalid JWT, stateful validation failed"));
            };
            let is_there = collection.points.values().any(|point| {
                wanted.matches.iter().all(|pair| super::state::holds(&point.payload, &pair.key, &pair.value))
            });
            if !is_there {
                return Err(Status::unauthenticated("Invalid JWT, stateful validation failed"));
            }
        }
        Ok(claims.access)
    }
}

/// The claims of a token; the error has no status where it is no token at all.
fn claims(token: &str, key: &str) -> Result<Claims, Option<Status>> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err(None) };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| None);
    let algorithm: Header = serde_json::from_slice(&decode(header)?).map_err(|_| None)?;
    if algorithm.alg != "HS256" {
        return Err(None);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signed = format!("{header}.{claims}");
    if hmac::verify(&key, signed.as_bytes(), &decode(signature)?).is_err() {
        return Err(Some(Status::permission_denied("InvalidSignature")));
    }
    let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| None)?;
    let now = jiff::Timestamp::now().as_second();
    if claims.exp.is_some_and(|end| end + LEEWAY < now) {
        return Err(Some(Status::permission_denied("ExpiredSignature")));
    }
    Ok(claims)
}
