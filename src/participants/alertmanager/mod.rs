//! Silences in Alertmanager: alerts of a tenant that is locked out reach nobody.
//!
//! Alertmanager keeps nothing but silences, so a silence of ours also carries what was applied last, in its comment: the
//! state and the generation. One that has expired keeps it for Alertmanager's retention (`--data.retention`, 5 days), and
//! refuses older calls that long. A tenant that was never locked out has none, and that is how it is known as active:
//! every active silence costs Alertmanager time for every alert, so most tenants must have none.
//!
//! Alertmanager cannot be asked to write only where nothing has changed, so a write of a replica that was held up may come after a
//! newer change. It makes a silence beside what there is and changes none, and whoever writes looks again and goes on until
//! the newest change has the last word. One that has left no silence, as the activation of a tenant that has none, cannot be seen:
//! an older write that arrives after it stays until the tenant is looked at again, which the engine has done where it knows that something may
//! come late ([`crate::cascade`]).

mod api;
mod plan;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::api::Api;
use self::plan::{Action, Held, Kind, Phase, Silence, newest, plan};
use self::turns::Turns;
use super::{Failure, Observed, Participant, TenantRef, Unusable};
use crate::config;
use crate::domain::lifecycle::Desired;

/// How often a call writes and looks again at what there is: to make, to expire, and what came between.
const ROUNDS_MAX: u32 = 8;

/// The target.
pub struct Alertmanager {
    api: Arc<Api>,
    turns: Turns,
    deadline: Duration,
}

impl Alertmanager {
    /// A target in the Alertmanager of the settings; one call may take `deadline`. Connects when first used.
    ///
    /// # Errors
    ///
    /// Where a certificate cannot be used.
    pub fn new(settings: &config::targets::Alertmanager, deadline: Duration) -> Result<Self, Unusable> {
        Ok(Self { api: Arc::new(Api::new(settings, deadline)?), turns: Turns::default(), deadline })
    }

    /// Looks, and where something is missing, does it and looks again, until nothing is missing.
    async fn converge(&self, tenant: &TenantRef, wanted: Held) -> Result<(), Failure> {
        // One that was dropped may still be writing; what it wrote tells it from then on that it was overtaken.
        let turn = self.turns.take(tenant.uid).await;
        let silences = self.api.silences(tenant).await?;
        if newer(&silences, wanted).is_some() {
            return Err(overtaken());
        }
        let actions = plan(&silences, wanted);
        if actions.is_empty() {
            return Ok(());
        }
        // A call can be dropped at any time, as when its replica finds that others have taken over. What is on its way by then
        // may come after their changes, so it must still be looked at.
        let (api, tenant) = (Arc::clone(&self.api), tenant.clone());
        let settled = tokio::spawn(async move {
            let _turn = turn;
            settle(&api, &tenant, wanted, actions).await
        });
        settled
            .await
            .unwrap_or_else(|_| Err(Failure::unknown("the change of the tenant's silences was cut off")))
    }

    async fn look(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let silences = self.api.silences(tenant).await?;
        let seen = match newest_active(&silences) {
            None => match newest(&silences) {
                Some(Held { state: Desired::Deleted, generation }) => {
                    Observed::effect(Desired::Deleted, generation)
                }
                // Whatever was noted last: no silence is there, so alerts reach people. Nothing holds a generation.
                _ => Observed::effect(Desired::Active, 0),
            },
            Some(newest) => {
                let Held { state, generation } = newest.held;
                let denying = active(&silences).filter(|silence| silence.kind == Kind::Deny);
                let denies = denying.max_by_key(|silence| silence.held.generation);
                if denies.is_some() && self.api.has_loud_alert(tenant).await? {
                    return Err(Failure::retryable("an alert of the tenant is not silenced"));
                }
                // Whatever was applied last: one that is left from before silences.
                let met = denies.map_or(state, |silence| silence.held.state);
                Observed::effect(met, generation).with_asked(Some(state))
            }
        };
        Ok(seen.with_amiss(pending(&silences).or_else(|| shortened(&silences))))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, Failure> {
        let ended = tokio::time::timeout(self.deadline, work).await;
        ended.unwrap_or_else(|_| Err(Failure::unknown("Alertmanager did not answer in time")))
    }
}

#[async_trait]
impl Participant for Alertmanager {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        self.in_time(self.converge(tenant, Held { state: desired, generation })).await
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        self.in_time(self.look(tenant)).await
    }
}

/// Writes, and looks what came of it; again until nothing is missing. A call that was overtaken on its way must not have the last
/// word: it goes on with the newer state.
async fn settle(
    api: &Api,
    tenant: &TenantRef,
    wanted: Held,
    mut actions: Vec<Action>,
) -> Result<(), Failure> {
    let mut has_begun = false;
    for _ in 0..ROUNDS_MAX {
        let begins = actions.iter().any(|action| matches!(action, Action::Begin(..)));
        // What began now by one clock is pending by another. One more would be, too.
        if begins && has_begun {
            return Err(Failure::retryable(
                "our silence is still to come: the clocks of Alertmanager's members differ",
            ));
        }
        has_begun |= begins;
        let acted = act(api, tenant, actions).await;
        // Also after a failure: what was not answered may have come.
        let looked = api.silences(tenant).await;
        let held = looked.as_ref().ok().and_then(|silences| newer(silences, wanted));
        if held.is_none() {
            acted?;
        }
        actions = plan(&looked?, held.unwrap_or(wanted));
        if actions.is_empty() {
            return if held.is_some() { Err(overtaken()) } else { Ok(()) };
        }
    }
    Err(Failure::retryable("other changes of the tenant's silences keep coming"))
}

async fn act(api: &Api, tenant: &TenantRef, actions: Vec<Action>) -> Result<(), Failure> {
    for action in actions {
        match action {
            Action::Create(kind, held) => api.create(tenant, kind, held).await?,
            Action::Begin(silence, held) => api.begin(tenant, &silence, held).await?,
            Action::Expire(id) => api.expire(&id).await?,
        }
    }
    Ok(())
}

/// What was applied last, where that is newer than what is wanted.
fn newer(silences: &[Silence], wanted: Held) -> Option<Held> {
    newest(silences).filter(|held| held.generation > wanted.generation)
}

fn active(silences: &[Silence]) -> impl Iterator<Item = &Silence> {
    silences.iter().filter(|silence| silence.phase == Phase::Active)
}

fn newest_active(silences: &[Silence]) -> Option<&Silence> {
    active(silences).max_by_key(|silence| silence.held.generation)
}

/// What is wrong where silences of ours are still to come: whatever state the tenant is in then, nobody asked for it.
fn pending(silences: &[Silence]) -> Option<String> {
    let count = silences.iter().filter(|silence| silence.phase == Phase::Pending).count();
    let silences = if count == 1 { "silence" } else { "silences" };
    (count > 0).then(|| format!("{count} {silences} of ours for the tenant will begin later, by themselves"))
}

/// What is wrong where the silence that counts ends by itself, and its tenant's alerts would reach people then.
fn shortened(silences: &[Silence]) -> Option<String> {
    let ends = newest_active(silences).is_some_and(|newest| !newest.lasts);
    ends.then(|| "somebody shortened our silence for the tenant: it ends by itself".to_owned())
}

fn overtaken() -> Failure {
    Failure::permanent("a newer change was applied already")
}
