//! The part of Alertmanager's API v2 that silences need.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::unreached::{Unreached, unreached};
use super::super::{Failure, TenantRef, Unusable};
use super::plan::{Held, Kind, Phase, Silence};
use crate::config::targets::{self, alertmanager::Login};
use crate::domain::lifecycle::Desired;

/// Who our silences are by. A silence by somebody else is none of our business.
const AUTHOR: &str = "tenantry";
/// A label that no alert has, so that a note matches none.
const NOTE_LABEL: &str = "tenantry_note";
/// When a new silence begins. Alertmanager takes its own clock's now for what is past. Our now would be in its future where
/// our clock is ahead, and the silence would do nothing until then.
const NOW: &str = "2000-01-01T00:00:00Z";
/// When a silence ends unless it is ended: later than any suspension that anybody remembers. By no clock, so that none that
/// is wrong makes it the past, which is refused.
const NEVER: &str = "2100-01-01T00:00:00Z";
/// Longest time to open a connection: as long as the other targets take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Largest answer, in bytes. A silence takes about 500, and ours are few for a tenant.
const ANSWER_MAX: usize = 8 << 20;

/// A client of one Alertmanager.
pub(super) struct Api {
    client: Client,
    base: String,
    login: Login,
    label: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    /// Not there before 0.22, where it was always true.
    #[serde(default = "yes")]
    is_equal: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    id: String,
    matchers: Vec<Matcher>,
    created_by: String,
    comment: String,
    ends_at: String,
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    matchers: Vec<Matcher>,
    starts_at: &'a str,
    ends_at: &'a str,
    created_by: &'a str,
    comment: String,
}

impl Api {
    pub(super) fn new(settings: &targets::Alertmanager, deadline: Duration) -> Result<Self, Unusable> {
        let unusable = |what: &str| Unusable(format!("its {what} cannot be used"));
        let mut builder = Client::builder()
            .user_agent(AUTHOR)
            .timeout(deadline)
            .connect_timeout(CONNECT_MAX.min(deadline))
            // A redirect would take our credentials elsewhere.
            .redirect(redirect::Policy::none());
        if let Some(authorities) = &settings.tls.authorities {
            builder = builder.tls_certs_only(
                Certificate::from_pem_bundle(authorities.as_bytes()).map_err(|_| unusable("`ca_file`"))?,
            );
        }
        if let Some((certificate, key)) = &settings.tls.identity {
            let both = format!("{certificate}\n{}", key.expose());
            builder = builder.identity(
                Identity::from_pem(both.as_bytes()).map_err(|_| unusable("`cert_file` or `key_file`"))?,
            );
        }
        Ok(Self {
            client: builder.build().map_err(|_| unusable("`ca_file`, or `cert_file` and `key_file`"))?,
            base: settings.endpoint.expose().trim_end_matches('/').to_owned(),
            login: settings.login.clone(),
            label: settings.label.clone(),
        })
    }

    /// Our silences for a tenant, also those that have ended and are still kept.
    pub(super) async fn silences(&self, tenant: &TenantRef) -> Result<Vec<Silence>, Failure> {
        let request = self.client.get(self.url("silences")).query(&[("filter", self.filter(tenant))]);
        let found: Vec<Found> = read(self.ask(request).await?).await?;
        Ok(found.into_iter().filter_map(|found| self.ours(tenant, found)).collect())
    }

    /// Whether an alert of the tenant would reach somebody.
    pub(super) async fn has_loud_alert(&self, tenant: &TenantRef) -> Result<bool, Failure> {
        let request = self.client.get(self.url("alerts")).query(&[
            ("filter", self.filter(tenant).as_str()),
            ("active", "true"),
            ("silenced", "false"),
            ("inhibited", "false"),
        ]);
        let alerts: Vec<serde::de::IgnoredAny> = read(self.ask(request).await?).await?;
        Ok(!alerts.is_empty())
    }

    pub(super) async fn create(&self, tenant: &TenantRef, kind: Kind, held: Held) -> Result<(), Failure> {
        self.post(tenant, kind, held, None).await
    }

    /// Puts a silence that begins now in the place of a pending one: with another start it is no change but a new one, and
    /// Alertmanager ends the old one before.
    pub(super) async fn begin(
        &self,
        tenant: &TenantRef,
        silence: &Silence,
        held: Held,
    ) -> Result<(), Failure> {
        self.post(tenant, silence.kind, held, Some(&silence.id)).await
    }

    async fn post(
        &self,
        tenant: &TenantRef,
        kind: Kind,
        held: Held,
        id: Option<&str>,
    ) -> Result<(), Failure> {
        let posted = Posted {
            id,
            matchers: self.matchers(tenant, kind),
            starts_at: NOW,
            ends_at: NEVER,
            created_by: AUTHOR,
            comment: comment(tenant, held),
        };
        self.ask(self.client.post(self.url("silences")).json(&posted)).await.map(drop)
    }

    pub(super) async fn expire(&self, id: &str) -> Result<(), Failure> {
        let response = self.send(self.client.delete(self.url(&format!("silence/{id}")))).await?;
        // Somebody else was first.
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        accepted(&response)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v2/{path}", self.base)
    }

    fn filter(&self, tenant: &TenantRef) -> String {
        let value = tenant.names.monitoring_label.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{}=\"{value}\"", self.label)
    }

    fn matchers(&self, tenant: &TenantRef, kind: Kind) -> Vec<Matcher> {
        let matcher = |name: &str, value: String| Matcher {
            name: name.to_owned(),
            value,
            is_regex: false,
            is_equal: true,
        };
        let mut matchers = vec![matcher(&self.label, tenant.names.monitoring_label.clone())];
        if kind == Kind::Note {
            matchers.push(matcher(NOTE_LABEL, tenant.uid.to_string()));
        }
        matchers
    }

    /// A silence as one of ours for this tenant; the filter also finds others'. One that denied an earlier tenant with this label, which is
    /// purged by now, came late: it counts as older than all that is asked for this one.
    fn ours(&self, tenant: &TenantRef, found: Found) -> Option<Silence> {
        let (uid, held) = noted(&found.comment).filter(|_| found.created_by == AUTHOR)?;
        let exact = |matcher: &&Matcher| !matcher.is_regex && matcher.is_equal;
        let is = |matcher: &Matcher, name: &str, value: &str| matcher.name == name && matcher.value == value;
        let matchers: Vec<&Matcher> = found.matchers.iter().filter(exact).collect();
        if matchers.len() != found.matchers.len()
            || !matchers.iter().any(|matcher| is(matcher, &self.label, &tenant.names.monitoring_label))
        {
            return None;
        }
        let kind = match matchers.len() {
            1 => Kind::Deny,
            2 if matchers.iter().any(|matcher| matcher.name == NOTE_LABEL) => Kind::Note,
            _ => return None,
        };
        let held = match uid.cmp(&tenant.uid) {
            Ordering::Equal => held,
            Ordering::Less if kind == Kind::Deny => Held { generation: 0, ..held },
            Ordering::Less | Ordering::Greater => return None,
        };
        let phase = match found.status.state.as_str() {
            "active" => Phase::Active,
            "pending" => Phase::Pending,
            _ => Phase::Expired,
        };
        let lasts = is_same_time(&found.ends_at, NEVER);
        Some(Silence { id: found.id, kind, held, phase, lasts })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.send(request).await?;
        accepted(&response)?;
        Ok(response)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match &self.login {
            Login::None => request,
            Login::Basic { username, password } => request.basic_auth(username, Some(password.expose())),
            Login::Bearer(token) => request.bearer_auth(token.expose()),
        };
        request.send().await.map_err(unsent)
    }
}

/// For people, and at its end for us.
fn comment(tenant: &TenantRef, held: Held) -> String {
    let Held { state, generation } = held;
    let (id, uid) = (&tenant.tenant_id, tenant.uid);
    format!("Tenant {id} is {state}. [uid={uid} state={state} generation={generation}]")
}

/// What a comment of ours says, and of whom.
fn noted(comment: &str) -> Option<(Uuid, Held)> {
    let (_, ours) = comment.strip_suffix(']')?.rsplit_once('[')?;
    let mut words = ours.split(' ');
    let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
    let uid = value("uid")?.parse().ok()?;
    let state = value("state")?;
    let generation = value("generation")?.parse().ok()?;
    let state = Desired::named(state)?;
    Some((uid, Held { state, generation }))
}

fn is_same_time(one: &str, other: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    time(one).is_some_and(|one| Some(one) == time(other))
}

/// Reads a bounded answer.
async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unsent)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX {
            return Err(Failure::retryable("Alertmanager answers with more than 8 MiB"));
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        tracing::warn!(error = %error, "Alertmanager's answer cannot be read");
        Failure::retryable("Alertmanager's answer cannot be read")
    })
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

fn accepted(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    tracing::warn!(status = status.as_u16(), "Alertmanager did not do it");
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::retryable("Alertmanager does not accept our account")
        }
        StatusCode::NOT_FOUND => Failure::permanent("there is no Alertmanager API v2 at this target's `url`"),
        // A server that wants TLS answers so what is not encrypted, and in no JSON.
        StatusCode::BAD_REQUEST if !is_json(response) => Failure::permanent(
            "what answers at this target's `url` is not Alertmanager, or wants to be spoken to by https",
        ),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Failure::permanent("Alertmanager refuses the silence as malformed")
        }
        status if status.is_redirection() => {
            Failure::permanent("this target's `url` leads elsewhere; give the place that it leads to")
        }
        // Of a proxy: what it was sent may still arrive.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Failure::unknown(format!("what is before Alertmanager answers with status {}", status.as_u16()))
        }
        status => Failure::retryable(format!("Alertmanager failed with status {}", status.as_u16())),
    })
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn unsent(error: reqwest::Error) -> Failure {
    // Without the URL, which may hold a password.
    let error = error.without_url();
    tracing::warn!(error = ?error, "Alertmanager failed");
    if error.is_timeout() && !error.is_connect() {
        return Failure::unknown("Alertmanager did not answer in time");
    }
    let Unreached { words, cause } = unreached(&error);
    let failure = if error.is_connect() {
        Failure::retryable(format!("Alertmanager {words}"))
    } else if cause.is_none() {
        Failure::unknown(format!("Alertmanager {words}"))
    } else {
        Failure::unknown("the connection to Alertmanager broke")
    };
    failure.with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{TenantId, TierId};
    use crate::domain::tenant::{Profile, Tenant};

    fn tenant(uid: u128) -> TenantRef {
        let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
        let tenant_id = TenantId::parse("finance").unwrap();
        let ada = "ada".into();
        let tenant =
            Tenant::provisioning(tenant_id, Uuid::from_u128(uid), profile, ada, Timestamp::UNIX_EPOCH);
        TenantRef::of(&tenant, None)
    }

    #[test]
    fn a_comment_is_read_back() {
        for state in Desired::ALL {
            let held = Held { state, generation: 7 };
            let text = comment(&tenant(1), held);
            assert_eq!(noted(&text), Some((Uuid::from_u128(1), held)));
        }
        for text in
            ["", "[]", "maintenance [uid=x state=SUSPENDED generation=1]", "Tenant finance is SUSPENDED."]
        {
            assert_eq!(noted(text), None, "{text}");
        }
    }
}
