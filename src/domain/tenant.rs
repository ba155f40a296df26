//! A tenant: who it is, what its owner may set, and what the registry knows of it.

mod attributes;
mod bucket_names;
mod names;
mod new;
mod pairs;
mod profile;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::bucket_names::BucketNames;
pub use self::names::{ChosenNames, Claim, NameKind, RESOURCE_NAME_MAX, ResourceNames, SHARED_BUCKET};
pub use self::new::NewTenant;
pub use self::pairs::{Pairs, PairsChange};
pub use self::profile::LINE_MAX;
pub use self::profile::{Contact, DataClassification, IsolationModel, Profile, ProfileField};
use super::health::{Score, Signals};
use super::ids::{OperationId, Revision, TenantId};
use super::lifecycle::{Access, Status, Verb, access_during};
use super::operation::{Operation, Place, PlaceChange, Undecided};
use super::shared_text::Texts;

/// How long a deleted tenant can be undeleted where nobody says.
pub const UNDELETE_PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Where a tenant runs beside its region, and where it is moving.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The part of its region; empty for not said.
    #[serde(default)]
    pub cell: Box<str>,
    /// The migration that has begun and is not finished.
    #[serde(default)]
    pub migration: Option<PlaceChange>,
}

/// A tenant, as stored: the serialised names are the columns' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Chosen by the caller, immutable, never reused before purge.
    pub tenant_id: TenantId,
    /// Made by the server (`UUIDv7`).
    pub uid: Uuid,
    /// What its owner may set.
    #[serde(flatten)]
    pub profile: Profile,
    /// Names chosen at creation; `None` where all are derived.
    #[serde(default)]
    pub resource_names: Option<Box<ResourceNames>>,
    /// Where it runs beside its region; `None` for nothing to say.
    #[serde(default)]
    pub placement: Option<Box<Placement>>,
    /// Targets that hold, or may hold, a newer generation than was asked for, as the last operation left them while nobody has decided
    /// which counts; `None` for none.
    #[serde(default)]
    pub undecided: Option<Box<Undecided>>,
    /// The state that is true in every target system.
    pub status: Status,
    /// When the status was reached.
    pub status_time: Timestamp,
    /// Why, in the words of whoever asked for it.
    pub status_reason: Box<str>,
    /// The state an open operation is making true.
    pub pending_status: Option<Status>,
    /// The open operation; set exactly while there is one.
    pub operation_id: Option<OperationId>,
    /// Grows with every change of the state desired in the targets.
    pub generation: u64,
    /// Who made it.
    pub creator: Arc<str>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// When it was deleted.
    pub delete_time: Option<Timestamp>,
    /// Until when it can be undeleted. In a box, as is what follows: hardly a tenant has them, and a million are kept.
    pub purge_time: Option<Box<Timestamp>>,
    /// Until when its deletion is refused, once it is archived.
    #[serde(default)]
    pub retain_time: Option<Box<Timestamp>>,
    /// The revision of its last change; set by the log.
    #[serde(default)]
    pub revision: Revision,
}

impl Tenant {
    /// A tenant that nobody can use yet.
    pub fn provisioning(
        tenant_id: TenantId,
        uid: Uuid,
        profile: Profile,
        creator: Arc<str>,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant_id,
            uid,
            profile,
            resource_names: None,
            placement: None,
            undecided: None,
            status: Status::Provisioning,
            status_time: now,
            status_reason: Box::default(),
            pending_status: None,
            operation_id: None,
            generation: 1,
            creator,
            create_time: now,
            update_time: now,
            delete_time: None,
            purge_time: None,
            retain_time: None,
            revision: Revision::ZERO,
        }
    }

    /// What the registry grants right now: while an operation is open, the lesser of what it leads from and to.
    pub fn access(&self) -> Access {
        self.pending_status.map_or_else(|| self.status.access(), |to| access_during(self.status, to))
    }

    /// Shows an operation on the tenant as it stands at `now`: under way, or ended with the status it confirmed.
    pub fn follow(&mut self, operation: &Operation, now: Timestamp) {
        self.update_time = now;
        self.generation = operation.generation;
        self.follow_details(operation);
        let Some(confirmed) = operation.confirmed() else {
            self.operation_id = Some(operation.operation_id);
            self.pending_status = Some(operation.heading());
            return;
        };
        self.operation_id = None;
        self.pending_status = None;
        self.undecided = operation.left_undecided().map(Box::new);
        let seconds = operation.details.wish.retention_seconds;
        // One that was archived before keeps its retention unless another is asked for.
        let decides = operation.from_status != operation.to_status || seconds.is_some();
        if operation.verb == Verb::Archive && !operation.backward && decides {
            let end = seconds.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
            self.retain_time = end.map(Box::new);
        }
        if confirmed != self.status {
            self.status = confirmed;
            self.status_time = now;
            self.status_reason = operation.reason.as_str().into();
        }
        if confirmed != Status::Deleted {
            self.delete_time = None;
            self.purge_time = None;
        } else if self.delete_time.is_none() {
            self.delete_time = Some(now);
            let asked = operation.details.wish.undelete_seconds.map(SignedDuration::from_secs);
            self.purge_time = now.checked_add(asked.unwrap_or(UNDELETE_PERIOD)).ok().map(Box::new);
        }
    }

    /// Takes over what a step of an operation writes of its tenant, the same fields as store/sql/operation/advance.sql.
    pub fn take_state_of(&mut self, written: &Self, verb: Verb) {
        let Self { pending_status, operation_id, generation, status, status_time, .. } = written;
        (self.pending_status, self.operation_id, self.generation) =
            (*pending_status, *operation_id, *generation);
        (self.status, self.status_time) = (*status, *status_time);
        self.status_reason.clone_from(&written.status_reason);
        self.undecided.clone_from(&written.undecided);
        self.delete_time = written.delete_time;
        self.purge_time.clone_from(&written.purge_time);
        self.retain_time.clone_from(&written.retain_time);
        if verb == Verb::ChangeTier {
            self.profile.tier = written.profile.tier.clone();
        }
        if matches!(verb, Verb::FinishMigration { .. }) {
            self.profile.region.clone_from(&written.profile.region);
        }
        self.placement.clone_from(&written.placement);
        self.update_time = written.update_time;
        self.revision = written.revision;
    }

    /// Shares what other tenants have as well, so that a million of them fit into memory.
    pub fn share(&mut self, texts: &mut Texts) {
        self.profile.share(texts);
        texts.share(&mut self.creator);
    }

    /// The tier counts from the moment it is asked for; the place when the migration is finished.
    fn follow_details(&mut self, operation: &Operation) {
        if let Some(tier) = &operation.details.tier {
            let now = if operation.backward { &tier.from } else { &tier.to };
            self.profile.tier = now.clone();
        }
        let Some(change) = &operation.details.place else { return };
        let mut placement = self.placement.take().map(|placement| *placement).unwrap_or_default();
        let done = operation.confirmed().is_some() && !operation.backward;
        match operation.verb {
            Verb::StartMigration if operation.backward => placement.migration = None,
            Verb::StartMigration => placement.migration = Some(change.clone()),
            Verb::FinishMigration { .. } if done => {
                self.profile.region = change.to.region.as_ref().into();
                placement = Placement { cell: change.to.cell.clone(), migration: None };
            }
            _ => {}
        }
        self.placement = Some(Box::new(placement)).filter(|placement| **placement != Placement::default());
    }

    /// Forgets a migration that was only being started, or being taken back, where `verb` takes over and does not end it:
    /// it never was.
    pub fn leave_migration(&mut self, verb: Verb) {
        if self.status == Status::Migrating || matches!(verb, Verb::FinishMigration { .. }) {
            return;
        }
        if let Some(placement) = &mut self.placement {
            placement.migration = None;
        }
        self.placement = self.placement.take().filter(|placement| **placement != Placement::default());
    }

    /// Takes the end of a migration for done that is past its point of no return, although not every target was seen there:
    /// whoever takes over from it begins at the new place, in the status that it was to end in.
    pub fn end_migration(&mut self, finishing: &Operation, now: Timestamp) {
        if let Some(change) = &finishing.details.place {
            self.profile.region = change.to.region.as_ref().into();
            let placement = Placement { cell: change.to.cell.clone(), migration: None };
            self.placement =
                Some(Box::new(placement)).filter(|placement| **placement != Placement::default());
        }
        self.status = finishing.to_status;
        self.status_time = now;
        self.status_reason = finishing.reason.as_str().into();
    }

    /// Where it runs.
    pub fn place(&self) -> Place {
        let cell = self.placement.as_ref().map(|placement| placement.cell.clone()).unwrap_or_default();
        Place { region: self.profile.region.as_ref().into(), cell }
    }

    /// The migration that has begun and is not finished.
    pub fn migration(&self) -> Option<&PlaceChange> {
        self.placement.as_ref()?.migration.as_ref()
    }

    /// Names of its resources: chosen or derived.
    pub fn resource_names(&self) -> ResourceNames {
        self.resource_names
            .as_deref()
            .cloned()
            .unwrap_or_else(|| ResourceNames::derived(&self.tenant_id, self.uid))
    }

    /// Changes with every change of the tenant but health reports.
    pub fn etag(&self) -> String {
        etag(self.revision)
    }
}

/// The etag of a resource whose row last changed at `revision`.
pub fn etag(revision: Revision) -> String {
    format!("{:x}", revision.get())
}

/// The last health report of a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// As reported.
    #[serde(flatten)]
    pub signals: Signals,
    /// 0 to 100.
    pub score: Score,
    /// When it was reported.
    pub report_time: Timestamp,
    /// The revision of the report; set by the log.
    #[serde(default)]
    pub revision: Revision,
}
