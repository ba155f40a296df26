//! Monitoring: a real Alertmanager, and a receiver that hears what is not silenced.

mod late;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tenantry::app::dev_servers::alertmanager::{Alertmanager, Options};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, TenantRef};
use tenantry::proto::v1;

use super::certificates::Certificates;
use super::{blocking, bring, closed, holds_its_generation, mute, protection, target, tenant, told, until};
use crate::support::{Replica, Setup};

/// Whoever is paged: remembers the tenant of every alert that comes.
#[derive(Clone, Default)]
struct Pager(Arc<Mutex<Vec<String>>>);

impl Pager {
    async fn serve(&self) -> String {
        let heard = self.0.clone();
        let hear = async move |axum::Json(page): axum::Json<Value>| {
            let alerts = page["alerts"].as_array().cloned().unwrap_or_default();
            let tenants =
                alerts.iter().filter_map(|alert| alert["labels"]["tenant"].as_str().map(str::to_owned));
            heard.lock().unwrap().extend(tenants);
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/", axum::routing::post(hear));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn heard(&self, tenant: &TenantRef) -> bool {
        self.0.lock().unwrap().contains(&tenant.names.monitoring_label)
    }
}

async fn server(options: Options) -> Alertmanager {
    blocking(move || Alertmanager::start(&options).expect("Alertmanager starts")).await
}

/// Raises an alert of a tenant, as Prometheus does again and again.
async fn raise(base: &str, tenant: &TenantRef, name: &str) {
    let labels = json!({ "alertname": name, "tenant": tenant.names.monitoring_label });
    let posted = reqwest::Client::new()
        .post(format!("{base}/api/v2/alerts"))
        .json(&json!([{ "labels": labels }]))
        .send()
        .await
        .unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
}

async fn get(base: &str, path: &str) -> Vec<Value> {
    reqwest::get(format!("{base}/api/v2/{path}")).await.unwrap().json().await.unwrap()
}

/// Posts a silence of a tenant's alerts by hand.
async fn silence(base: &str, tenant: &TenantRef, starts_at: &str, author: &str, comment: &str) {
    let label = &tenant.names.monitoring_label;
    let silence = json!({
        "matchers": [{ "name": "tenant", "value": label, "isRegex": false, "isEqual": true }],
        "startsAt": starts_at, "endsAt": "2099-01-01T00:00:00Z", "createdBy": author, "comment": comment
    });
    let url = format!("{base}/api/v2/silences");
    let posted = reqwest::Client::new().post(url).json(&silence).send().await.unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
}

#[tokio::test]
async fn alerts_of_a_tenant_that_is_locked_out_reach_nobody_and_the_neighbours_do() {
    let pager = Pager::default();
    let server = server(Options { webhook: Some(pager.serve().await), ..Options::default() }).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}/\""));
    let (finance, neighbour) = (tenant("finance"), tenant("finance-2"));
    let mut generation = 0;
    for state in [Desired::Active, Desired::Suspended, Desired::ReadOnly, Desired::Archived, Desired::Active]
    {
        generation += 1;
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        assert_eq!(bring(&target, &neighbour, Desired::Active, generation).await, Some(Desired::Active));
        pager.clear();
        let name = format!("Slow{generation}");
        let is_loud = matches!(state, Desired::Active | Desired::ReadOnly);
        raise(&base, &finance, &name).await;
        raise(&base, &neighbour, &name).await;
        until("the neighbour's alert arrives", async || pager.heard(&neighbour)).await;
        if is_loud {
            until("the tenant's alert arrives", async || pager.heard(&finance)).await;
        } else {
            // Both were raised at once, and the neighbour's has come.
            assert!(!pager.heard(&finance), "{state}");
            let seen = get(&base, "alerts?filter=tenant%3D%22finance%22").await;
            assert!(
                !seen.is_empty() && seen.iter().all(|alert| alert["status"]["state"] == "suppressed"),
                "{seen:?}"
            );
        }
    }
    let active = get(&base, "silences").await;
    assert!(active.iter().all(|silence| silence["status"]["state"] == "expired"), "{active:?}");
    assert_eq!(bring(&target, &finance, Desired::Suspended, 9).await, Some(Desired::Suspended));
    holds_its_generation(&target, &finance, Desired::Suspended, 9).await;
    assert_eq!(bring(&target, &finance, Desired::Deleted, 10).await, Some(Desired::Deleted));
    holds_its_generation(&target, &finance, Desired::Deleted, 10).await;
    assert_eq!(bring(&target, &finance, Desired::Archived, 11).await, Some(Desired::Archived));
}

#[tokio::test]
async fn every_state_again_makes_no_second_silence_and_leaves_other_peoples_alone() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    let finance = tenant("finance");
    silence(&base, &finance, "2020-01-01T00:00:00Z", "ada", "night shift").await;
    for generation in 1..=3 {
        for _ in 0..3 {
            bring(&target, &finance, Desired::Suspended, generation).await;
        }
        let active: Vec<Value> = get(&base, "silences")
            .await
            .into_iter()
            .filter(|silence| silence["status"]["state"] == "active")
            .collect();
        let authors: Vec<&Value> = active.iter().map(|silence| &silence["createdBy"]).collect();
        assert_eq!(active.len(), 2, "{active:?}");
        assert!(authors.contains(&&json!("ada")) && authors.contains(&&json!("tenantry")), "{active:?}");
    }
    bring(&target, &finance, Desired::Active, 4).await;
    let active = get(&base, "silences").await;
    let active: Vec<&Value> =
        active.iter().filter(|silence| silence["status"]["state"] == "active").collect();
    assert!(active.len() == 1 && active[0]["createdBy"] == "ada", "{active:?}");
}

#[tokio::test]
async fn a_silence_that_somebody_ended_by_hand_is_seen_and_mended() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Suspended, 2).await;
    let id = get(&base, "silences").await[0]["id"].as_str().unwrap().to_owned();
    let ended = reqwest::Client::new().delete(format!("{base}/api/v2/silence/{id}")).send().await.unwrap();
    assert!(ended.status().is_success());
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active));
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn silences_of_ours_that_are_still_to_come_are_seen_and_none_is_left() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    for state in Desired::ALL {
        let tenant = tenant(&format!("t-{}", state.as_str().to_lowercase().replace('_', "-")));
        let comment = format!("Tenant x is SUSPENDED. [uid={} state=SUSPENDED generation=1]", tenant.uid);
        for _ in 0..3 {
            silence(&base, &tenant, "2090-01-01T00:00:00Z", "tenantry", &comment).await;
        }
        silence(&base, &tenant, "2090-01-01T00:00:00Z", "ada", "a plan").await;
        let seen = target.observe(&tenant).await.unwrap();
        assert_eq!(seen.state, Some(Desired::Active), "they do nothing yet");
        let amiss = seen.amiss.unwrap_or_default();
        assert_eq!(amiss, "3 silences of ours for the tenant will begin later, by themselves");
        assert_eq!(bring(&target, &tenant, state, 2).await, Some(state));
        assert_eq!(target.observe(&tenant).await.unwrap().amiss, None, "{state}");
        let label = &tenant.names.monitoring_label;
        let all = get(&base, &format!("silences?filter=tenant%3D%22{label}%22")).await;
        let left = |author: &str| {
            let theirs = all.iter().filter(|one| one["createdBy"] == author);
            let mut states: Vec<&str> = theirs.map(|one| one["status"]["state"].as_str().unwrap()).collect();
            states.retain(|state| *state != "expired");
            states
        };
        let kept = if matches!(state, Desired::Active | Desired::Deleted) { vec![] } else { vec!["active"] };
        assert_eq!(left("tenantry"), kept, "{state}");
        assert_eq!(left("ada"), ["pending"], "{state}: somebody else's is none of our business");
        assert!(all.len() <= 5, "{state}: no more than one is posted: {all:?}");
    }
}

#[tokio::test]
async fn a_silence_that_somebody_shortened_is_drift_before_it_ends() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let (target, acme) = (target(&format!("kind = \"alertmanager\", url = \"{base}\"")), tenant("acme"));
    bring(&target, &acme, Desired::Suspended, 3).await;
    let mut ours = get(&base, "silences").await.remove(0);
    ours["endsAt"] = json!(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    ours.as_object_mut().unwrap().retain(|key, _| !["status", "updatedAt"].contains(&key.as_str()));
    let posted =
        reqwest::Client::new().post(format!("{base}/api/v2/silences")).json(&ours).send().await.unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
    let seen = target.observe(&acme).await.unwrap();
    assert_eq!(
        seen.amiss.as_deref(),
        Some("somebody shortened our silence for the tenant: it ends by itself")
    );
    assert_eq!(bring(&target, &acme, Desired::Suspended, 4).await, Some(Desired::Suspended));
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
}

/// A suspension's write may arrive after its tenant was purged, and another one be made with its id.
#[tokio::test]
async fn a_silence_of_an_earlier_tenant_with_the_same_label_is_ended_and_none_of_a_later_one() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    let (former, later) = (tenant("acme"), tenant("acme"));
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 3), (Desired::ReadOnly, 5)] {
        bring(&target, &later, state, generation).await;
        let comment = format!("Tenant acme is ARCHIVED. [uid={} state=ARCHIVED generation=9]", former.uid);
        silence(&base, &former, "2020-01-01T00:00:00Z", "tenantry", &comment).await;
        let seen = target.observe(&later).await.unwrap();
        let is_silent = state == Desired::Suspended;
        assert_eq!(seen.state, Some(if is_silent { state } else { Desired::Archived }), "{state}");
        assert_eq!(bring(&target, &later, state, generation + 1).await, Some(state));
        let mut left = get(&base, "silences").await;
        left.retain(|silence| silence["status"]["state"] != "expired");
        assert!(left.iter().all(|one| one["comment"].as_str().unwrap().contains(&later.uid.to_string())));
        assert_eq!(left.len(), usize::from(state != Desired::Active), "{left:?}");
    }
    bring(&target, &later, Desired::Suspended, 7).await;
    bring(&target, &former, Desired::Active, 10).await;
    assert_eq!(target.observe(&later).await.unwrap().state, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_verify_finds_a_silence_that_would_mute_an_active_tenant_later_and_has_it_ended() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let targets = format!("alerts = {{ kind = \"alertmanager\", url = \"{base}\" }}");
    let settings = vec![("cascade.targets", targets)];
    let mut replica = Replica::start(&Setup { settings, ..Setup::default() }).await;
    let made = replica.tenant("finance").await;
    let mut finance = tenant("finance");
    finance.uid = made.uid.parse().unwrap();
    let comment = format!("Tenant finance is SUSPENDED. [uid={} state=SUSPENDED generation=1]", made.uid);
    for _ in 0..40 {
        silence(&base, &finance, "2090-01-01T00:00:00Z", "tenantry", &comment).await;
    }
    let found = protection::verify(&mut replica).await;
    let check = found.targets.iter().find(|check| check.target == "alerts").unwrap();
    assert_eq!(check.result(), v1::CheckResult::Drifted, "{check:?}");
    assert!(check.error.contains("40 silences of ours for the tenant will begin later"), "{check:?}");
    assert_eq!(found.operation.unwrap().state(), v1::OperationState::Succeeded);
    let found = protection::verify(&mut replica).await;
    assert!(found.targets.iter().all(|check| check.result() == v1::CheckResult::AsDesired), "{found:?}");
    let left = get(&base, "silences").await;
    assert!(left.iter().all(|silence| silence["status"]["state"] == "expired"), "{left:?}");
    replica.stop().await;
}

#[tokio::test]
async fn accounts_and_certificates_are_shown_and_a_wrong_one_is_told() {
    let certificates = Certificates::new().await;
    // The hash is of the word `test`; the server asks for our certificate too.
    let web = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: {}\nbasic_auth_users:\n  tenantry: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay\n",
        certificates.path("server.crt").display(),
        certificates.path("server.key").display(),
        certificates.path("authority.crt").display(),
    );
    let server = server(Options { web_config: Some(web), ..Options::default() }).await;
    let url = format!("kind = \"alertmanager\", url = \"https://127.0.0.1:{}\"", server.port());
    let login = |password: &str| format!("username = \"tenantry\", password = \"{password}\"");
    let known = target(&format!("{url}, {}, {}", login("test"), certificates.settings("client")));
    assert_eq!(bring(&known, &tenant("finance"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    let wrong = target(&format!("{url}, {}, {}", login("guess"), certificates.settings("client")));
    let seen = told(wrong.apply(&tenant("hr"), Desired::Suspended, 1).await);
    assert_eq!(seen, (FailureKind::Retryable, "Alertmanager does not accept our account".to_owned()));
    let stranger = target(&format!("{url}, {}, {}", login("test"), certificates.trust()));
    assert!(stranger.apply(&tenant("hr"), Desired::Suspended, 1).await.is_err(), "without a certificate");
    let other = format!("ca_file = \"{}\"", certificates.path("stranger.crt").display());
    let distrusting = target(&format!("{url}, {}, {other}", login("test")));
    let seen = told(distrusting.apply(&tenant("hr"), Desired::Suspended, 1).await);
    let words =
        "Alertmanager cannot be reached: its certificate is of no authority that we trust (`ca_file`)";
    assert_eq!(seen, (FailureKind::Retryable, words.to_owned()));
}

#[tokio::test]
async fn each_failure_has_its_class_and_our_words() {
    let server = server(Options::default()).await;
    let (_listener, silent) = mute();
    for (url, kind, words) in [
        (
            format!("http://127.0.0.1:{}", closed()),
            FailureKind::Retryable,
            "Alertmanager cannot be reached: it refuses connections",
        ),
        (format!("http://127.0.0.1:{silent}"), FailureKind::Unknown, "Alertmanager did not answer in time"),
        (
            format!("{}/elsewhere", server.endpoint()),
            FailureKind::Permanent,
            "there is no Alertmanager API v2 at this target's `url`",
        ),
    ] {
        let target = target(&format!("kind = \"alertmanager\", url = \"{url}\", deadline = \"500ms\""));
        let seen = told(target.apply(&tenant("finance"), Desired::Suspended, 1).await);
        assert_eq!(seen, (kind, words.to_owned()), "{url}");
    }
}
