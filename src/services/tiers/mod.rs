//! Use cases of tiers.

use std::sync::Arc;

use super::change::{Decision, Reply};
use super::paging::{Keyed, Page, PageRequest, page_by_key};
use super::{Command, Registry};
use crate::domain::error::{Error, Reason};
use crate::domain::flag::removal::TierRemoval;
use crate::domain::ids::{Revision, TierId};
use crate::domain::lifecycle::Status;
use crate::domain::tenant::etag;
use crate::domain::tier::{NewTier, Tier, TierField, TierUsers};
use crate::store::tiers;
use crate::view::Snapshot;

impl Reply for Tier {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

impl Reply for TierRemoval {
    fn set_revision(&mut self, _: Revision) {}
}

/// What is to be changed of a tier.
#[derive(Debug, Clone)]
pub struct TierUpdate {
    /// The new values; the id says which tier.
    pub tier: NewTier,
    /// Which of them.
    pub fields: Vec<TierField>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
}

/// Reads a tier.
pub fn get_tier(snapshot: &Snapshot, tier_id: &TierId) -> Result<Arc<Tier>, Error> {
    let found = snapshot.tiers.get(tier_id).cloned();
    found.ok_or_else(|| snapshot.missing("tier", tier_id.as_str(), not_found(tier_id)))
}

/// Lists tiers by rank, highest first, then by id.
pub fn list_tiers(snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Tier>>, Error> {
    let mut items: Vec<_> = snapshot
        .tiers
        .iter()
        .map(|(id, tier)| {
            // Ten digits hold the distance of any two ranks, so that the keys' order is that of the numbers.
            let below_highest = i64::from(i32::MAX) - i64::from(tier.rank);
            Keyed { key: format!("{below_highest:010}{id}"), item: Arc::clone(tier) }
        })
        .collect();
    items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    page_by_key(snapshot, request, &["tiers"], false, items)
}

impl Registry {
    /// Makes a tier.
    pub async fn create_tier(&self, tier: NewTier, command: &Command) -> Result<Tier, Error> {
        self.change(command, |snapshot, context| {
            if snapshot.tiers.contains_key(&tier.id) {
                return Err(Error::exists(Reason::TierExists, "tier", "tier_id", &tier.id));
            }
            let tier = tier.clone().into_tier(Revision::ZERO, context.now);
            Ok(Decision::Make(Box::new(tiers::tier_create(&tier, context)), tier))
        })
        .await
    }

    /// Changes fields of a tier.
    pub async fn update_tier(&self, update: TierUpdate, command: &Command) -> Result<Tier, Error> {
        self.change(command, |snapshot, context| {
            let current = get_tier(snapshot, &update.tier.id)?;
            check_etag(update.etag.as_deref(), current.revision)?;
            let mut settings = current.settings();
            for field in &update.fields {
                settings.take(*field, &update.tier);
            }
            let violations = settings.violations();
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations).within("tier."));
            }
            let tier = current.with_settings(settings, context.now);
            Ok(Decision::Make(Box::new(tiers::tier_update(&tier, current.revision, context)), tier))
        })
        .await
    }

    /// Deletes a tier that nobody uses. Answers which flags' defaults for it go with it.
    pub async fn delete_tier(
        &self,
        tier_id: &TierId,
        etag: Option<&str>,
        command: &Command,
    ) -> Result<TierRemoval, Error> {
        self.change(command, |snapshot, context| {
            let current = get_tier(snapshot, tier_id)?;
            check_etag(etag, current.revision)?;
            if let Some(refusal) = users(snapshot, tier_id).refusal(tier_id) {
                return Err(refusal);
            }
            let removal = snapshot.flags.removal_of_tier(tier_id);
            let change = tiers::tier_delete(tier_id, current.revision, &removal, context);
            Ok(Decision::Make(Box::new(change), removal))
        })
        .await
    }
}

/// Who would be left without the tier.
fn users(snapshot: &Snapshot, tier_id: &TierId) -> TierUsers {
    let mut users = TierUsers::default();
    for record in snapshot.tenants.values().filter(|record| record.tenant.profile.tier == *tier_id) {
        let deleted = record.tenant.status == Status::Deleted;
        *if deleted { &mut users.deleted } else { &mut users.tenants } += 1;
    }
    for operation in snapshot.operations.values().filter(|operation| operation.needs_tier(tier_id)) {
        users.operations.0 += 1;
        users.operations.1.get_or_insert(operation.operation_id);
    }
    for bulk in snapshot.bulks.values().filter(|bulk| bulk.needs_tier(tier_id)) {
        users.bulks.0 += 1;
        users.bulks.1.get_or_insert(bulk.bulk_id);
    }
    users
}

fn not_found(tier_id: &TierId) -> Error {
    Error::missing(Reason::TierNotFound, "tier", "tier_id", tier_id)
}

/// Refuses a lost update: `given` is what the caller saw last.
pub(super) fn check_etag(given: Option<&str>, revision: Revision) -> Result<(), Error> {
    check_same(given, &etag(revision))
}

/// The same of any mark of what was read.
pub(super) fn check_same(given: Option<&str>, current: &str) -> Result<(), Error> {
    match given {
        Some(given) if given != current => Err(Error::new(
            Reason::EtagMismatch,
            "it changed since it was read; read it again, then try again with its new etag",
        )
        .with("etag", current)),
        _ => Ok(()),
    }
}
