//! One revision of everything.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Delta;
use super::operations::Operations;
use crate::domain::bulk::Bulk;
use crate::domain::error::{Error, Reason};
use crate::domain::event::{AppliedSet, Event};
use crate::domain::flag::{CompiledFlags, Flag, FlagFile, Segment, TenantFacts, TenantOverride, TierDefault};
use crate::domain::health::Score;
use crate::domain::ids::{OperationId, Revision, TargetName, TenantId, TierId};
use crate::domain::lifecycle::Status;
use crate::domain::operation::{Operation, State};
use crate::domain::shared_text::Texts;
use crate::domain::target::TargetControl;
use crate::domain::tenant::{Claim, Health, NameKind, Tenant};
use crate::domain::text::quote;
use crate::domain::tier::Tier;
use crate::store::committed::{Followed, Rows};
use crate::store::log::Mark;
use crate::store::reading::Unreadable;

/// Most rows that an error names.
const UNREADABLE_NAMED_MAX: usize = 3;

/// A tenant and what was last heard of its health.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The tenant.
    pub tenant: Tenant,
    /// Its last health report.
    pub health: Option<Box<Health>>,
}

impl Record {
    /// The revision of the last change of either.
    pub fn revision(&self) -> Revision {
        self.health.as_ref().map_or(self.tenant.revision, |health| health.revision.max(self.tenant.revision))
    }

    /// Its health score: the best before any report.
    pub fn score(&self) -> Score {
        self.health.as_ref().map_or(Score::BEST, |health| health.score)
    }

    /// What the evaluation of flags needs to know.
    pub fn facts(&self) -> TenantFacts<'_> {
        TenantFacts {
            tenant_id: &self.tenant.tenant_id,
            tier: &self.tenant.profile.tier,
            access: self.tenant.access(),
        }
    }
}

/// Counts over all tenants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Tenants that are not deleted.
    pub total: u64,
    /// By status, all of them, deleted ones too.
    pub by_status: BTreeMap<Status, u64>,
    /// By tier, without deleted ones.
    pub by_tier: BTreeMap<TierId, u64>,
    /// By region, without deleted ones; an empty name is none.
    pub by_region: BTreeMap<Arc<str>, u64>,
    /// By business unit, without deleted ones; an empty name is none.
    pub by_business_unit: BTreeMap<Arc<str>, u64>,
    /// Mean health score of tenants that are not deleted; 0 without any.
    pub average_health: f64,
    /// Operations that have begun and not ended.
    pub open_operations: u64,
    /// Operations that begin later.
    pub scheduled_operations: u64,
}

/// Everything, at one revision. Cheap to clone: all its maps share what did not change.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Which log it is of.
    pub epoch: Uuid,
    /// Everything up to this revision is in it, and nothing after.
    pub revision: Revision,
    /// The log's entry at this revision: what tells whether a log is still the one that was read. `None` where there is none.
    pub mark: Option<Mark>,
    /// Counts, in this process, how often another log took the place of the one that was followed, or an older state of it:
    /// what was told of a snapshot of another history may never have been.
    pub history: u64,
    /// Where the log stood when this history was found: a revision from before may be of another one. 0 for the first history.
    pub began: Revision,
    /// Watches cannot resume from before this revision.
    pub compacted: Revision,
    /// Signs page tokens, on every replica alike.
    pub page_key: Uuid,
    /// Every tenant by id, deleted ones too.
    pub tenants: OrdMap<TenantId, Arc<Record>>,
    /// Every tier by id.
    pub tiers: OrdMap<TierId, Arc<Tier>>,
    /// Every flag with its defaults and overrides, compiled.
    pub flags: CompiledFlags,
    /// The operations that are at hand.
    pub operations: Operations,
    /// Every bulk operation by id.
    pub bulks: OrdMap<OperationId, Arc<Bulk>>,
    /// What operators said of targets; those they said nothing of are not in it.
    pub targets: OrdMap<TargetName, Arc<TargetControl>>,
    /// The resource names of tenants that chose any, with the holder's uid.
    pub(super) claims: Claims,
    /// Rows that cannot be read, by table and key. What they were before they became so is kept where there was any.
    pub unreadable: OrdMap<(&'static str, String), Arc<Unreadable>>,
    statistics: OnceLock<Arc<Statistics>>,
}

pub(super) type Claims = OrdMap<Claim, Uuid>;

impl Snapshot {
    /// Nothing, of the log `epoch`; of operations that have ended, about `ended_operations` will be kept.
    pub fn empty(epoch: Uuid, page_key: Uuid, ended_operations: usize) -> Self {
        Self { epoch, page_key, operations: Operations::new(ended_operations), ..Self::default() }
    }

    /// A copy to change, at its new place in the log.
    pub(super) fn successor(&self, revision: Revision, mark: Option<Mark>, compacted: Revision) -> Self {
        Self { revision, mark, compacted, statistics: OnceLock::new(), ..self.clone() }
    }

    /// Whether a log that has `found` at this revision is the one that this is of, gone on.
    pub fn is_of(&self, epoch: Uuid, found: Option<Mark>) -> bool {
        self.epoch == epoch && self.mark == found
    }

    /// Why something is not there: it may be, in a row that cannot be read.
    pub fn missing(&self, table: &'static str, key: &str, not_found: Error) -> Error {
        match self.unreadable.get(&(table, key.to_owned())) {
            None => not_found,
            Some(row) => unreadable(std::iter::once(&**row)),
        }
    }

    /// The tenant of an id.
    pub fn tenant(&self, id: &TenantId) -> Option<&Arc<Record>> {
        self.tenants.get(id)
    }

    /// The operation that a tenant has open.
    pub fn open_operation(&self, tenant: &TenantId) -> Option<&Arc<Operation>> {
        self.operations.get(&self.tenant(tenant)?.tenant.operation_id?)
    }

    /// The resource names of a tenant to be made that another holds, or that reach into another's.
    pub fn names_taken(&self, new: &Tenant) -> Vec<Claim> {
        let derived_label = |claim: &Claim| {
            let id = TenantId::parse(&claim.name).ok().filter(|_| claim.kind == NameKind::MonitoringLabel);
            let record = id.and_then(|id| self.tenants.get(&id));
            record.is_some_and(|record| record.tenant.resource_names.is_none())
        };
        let claims = new.resource_names().claims().into_iter();
        claims.filter(|claim| claim.is_taken(&self.claims) || derived_label(claim)).collect()
    }

    /// The tier of a tenant.
    pub fn tier_of(&self, record: &Record) -> Option<&Arc<Tier>> {
        self.tiers.get(&record.tenant.profile.tier)
    }

    /// What rules see of a tenant.
    pub fn attributes(&self, record: &Record) -> Map<String, Value> {
        record.tenant.attributes(self.tier_of(record).map(|tier| &**tier))
    }

    /// With what a replica committed; `None` where a change does not say what it left.
    pub(super) fn with(mut self, changes: Vec<Option<Rows>>, texts: &mut Texts) -> Option<(Self, Delta)> {
        let mut delta = Delta { revision: self.revision, ..Delta::default() };
        for rows in changes {
            let Rows { tenant, health, operation, followed } = rows?;
            if let Some(mut tenant) = tenant {
                tenant.share(texts);
                delta.tenants.push(tenant.tenant_id.clone());
                Self::insert_tenant(&mut self.tenants, &mut self.claims, tenant);
            }
            if let Some(health) = health {
                delta.tenants.push(health.tenant_id.clone());
                self.take_health(health);
            }
            if let Some(operation) = operation {
                delta.operations.push(operation.operation_id);
                self.take_operation(operation);
            }
            if let Some(Followed { tenant: written, verb }) = followed {
                let record = self.tenants.get(&written.tenant_id);
                let mut tenant = record.filter(|record| record.tenant.uid == written.uid)?.tenant.clone();
                tenant.take_state_of(&written, verb);
                tenant.share(texts);
                delta.tenants.push(tenant.tenant_id.clone());
                Self::insert_tenant(&mut self.tenants, &mut self.claims, tenant);
            }
        }
        Some((self, delta))
    }

    /// Puts a tenant in, keeping what is known of its health.
    pub(super) fn insert_tenant(
        tenants: &mut OrdMap<TenantId, Arc<Record>>,
        claims: &mut Claims,
        tenant: Tenant,
    ) {
        if let Some(names) = &tenant.resource_names {
            claims.extend(names.claims().map(|claim| (claim, tenant.uid)));
        }
        let health = tenants.get(&tenant.tenant_id).and_then(|record| record.health.clone());
        tenants.insert(tenant.tenant_id.clone(), Arc::new(Record { tenant, health }));
    }

    pub(super) fn take_health(&mut self, health: Health) {
        if let Some(record) = self.tenants.get_mut(&health.tenant_id) {
            Arc::make_mut(record).health = Some(Box::new(health));
        }
    }

    pub(super) fn take_tier(&mut self, tier: Tier) {
        self.tiers.insert(tier.id.clone(), Arc::new(tier));
    }

    pub(super) fn take_operation(&mut self, operation: Operation) {
        self.operations.take(operation);
    }

    pub(super) fn take_bulk(&mut self, bulk: Bulk) {
        self.bulks.insert(bulk.bulk_id, Arc::new(bulk));
    }

    pub(super) fn take_target(&mut self, control: TargetControl) {
        self.targets.insert(control.target.clone(), Arc::new(control));
    }

    /// What operators said of a target, if it is paused.
    pub fn paused(&self, target: &TargetName) -> Option<&Arc<TargetControl>> {
        self.targets.get(target).filter(|control| control.paused)
    }

    fn change_flags(&mut self, change: impl FnOnce(CompiledFlags) -> CompiledFlags) {
        self.flags = change(std::mem::take(&mut self.flags));
    }

    pub(super) fn take_segments(&mut self, segments: Vec<Segment>) {
        self.change_flags(|flags| flags.with_segments(segments.into_iter().map(Arc::new)));
    }

    pub(super) fn take_file(&mut self, file: FlagFile) {
        self.change_flags(|flags| flags.with_file(Arc::new(file)));
    }

    pub(super) fn take_flag(&mut self, flag: Flag) {
        self.change_flags(|flags| flags.with_flag(Arc::new(flag)));
    }

    pub(super) fn take_tier_default(&mut self, default: TierDefault) {
        self.change_flags(|flags| flags.with_tier_default(Arc::new(default)));
    }

    pub(super) fn take_override(&mut self, own: TenantOverride) {
        self.change_flags(|flags| flags.with_override(Arc::new(own)));
    }

    /// Takes out what an event says was removed. Rows that were made anew after it are taken in afterwards.
    pub(super) fn take_removal(&mut self, event: &Event) {
        match event {
            Event::TenantPurged { tenant, .. } => self.forget_tenant(tenant),
            Event::TierDeleted { tier_id } => {
                self.tiers.remove(tier_id);
                let keys: Vec<_> = self.flags.flags().map(|flag| flag.key().clone()).collect();
                for key in keys {
                    self.change_flags(|flags| flags.without_tier_default(key.as_str(), tier_id.as_str()));
                }
            }
            Event::FlagDeleted { flag_key } => {
                self.change_flags(|flags| flags.without_flag(flag_key.as_str()));
            }
            Event::TierDefaultCleared { flag_key, tier_id } => {
                self.change_flags(|flags| flags.without_tier_default(flag_key.as_str(), tier_id.as_str()));
            }
            Event::TenantOverrideCleared { flag_key, tenant_id } => {
                self.change_flags(|flags| flags.without_override(flag_key.as_str(), tenant_id.as_str()));
            }
            Event::SegmentDeleted { segment_name } => {
                self.change_flags(|flags| flags.without_segment(segment_name));
            }
            Event::FlagsApplied { set } => self.change_flags(|flags| without_applied(flags, set)),
            _ => {}
        }
    }

    /// A tenant that was made anew under the same id stays.
    fn forget_tenant(&mut self, Tenant { tenant_id, uid, resource_names, .. }: &Tenant) {
        for claim in resource_names.iter().flat_map(|names| names.claims()) {
            if self.claims.get(&claim) == Some(uid) {
                self.claims.remove(&claim);
            }
        }
        if self.tenants.get(tenant_id).is_some_and(|record| record.tenant.uid == *uid) {
            self.tenants.remove(tenant_id);
        }
        let keys: Vec<_> = self.flags.flags().map(|flag| flag.key().clone()).collect();
        for key in keys {
            self.change_flags(|flags| flags.without_override(key.as_str(), tenant_id.as_str()));
        }
    }

    /// Counts over all tenants: counted once a snapshot, when first asked for.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(self.statistics.get_or_init(|| Arc::new(self.count())))
    }

    fn count(&self) -> Statistics {
        let mut counts = Statistics {
            by_status: Status::ALL.into_iter().map(|status| (status, 0)).collect(),
            ..Statistics::default()
        };
        for operation in self.operations.values() {
            counts.open_operations += u64::from(operation.state.is_open());
            counts.scheduled_operations += u64::from(operation.state == State::Scheduled);
        }
        let mut points = 0_u64;
        for record in self.tenants.values() {
            let tenant = &record.tenant;
            *counts.by_status.entry(tenant.status).or_default() += 1;
            if tenant.status == Status::Deleted {
                continue;
            }
            counts.total += 1;
            points += u64::from(record.score().get());
            // Most tenants share a name with another: look before cloning.
            add(&mut counts.by_tier, &tenant.profile.tier);
            add(&mut counts.by_region, &tenant.profile.region);
            add(&mut counts.by_business_unit, &tenant.profile.business_unit);
        }
        #[allow(clippy::cast_precision_loss)] // A mean of up to 2^46 tenants is exact enough.
        if counts.total > 0 {
            counts.average_health = points as f64 / counts.total as f64;
        }
        counts
    }
}

/// The error of what hangs on rows that cannot be read.
pub fn unreadable<'a>(rows: impl IntoIterator<Item = &'a Unreadable>) -> Error {
    let named: Vec<_> =
        rows.into_iter().take(UNREADABLE_NAMED_MAX).map(|row| format!("{} {}", row.table, row.key)).collect();
    let named = named.join(", ");
    Error::new(Reason::RowUnreadable, format!("what is stored cannot be read: {}", quote(&named)))
        .with("rows", named)
}

/// Takes out what the application of a set removed.
fn without_applied(mut flags: CompiledFlags, set: &AppliedSet) -> CompiledFlags {
    for (flag_key, tier_id) in &set.tier_defaults_cleared {
        flags = flags.without_tier_default(flag_key.as_str(), tier_id.as_str());
    }
    for flag_key in &set.flags_deleted {
        flags = flags.without_flag(flag_key.as_str());
    }
    for segment in &set.segments_deleted {
        flags = flags.without_segment(segment);
    }
    flags
}

fn add<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else {
        counts.insert(key.clone(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_takes_little_more_than_half_a_kibibyte_before_its_texts() {
        // A ratchet: with a million tenants each byte here is a megabyte. What most tenants do not have belongs in a box.
        let bytes = size_of::<Record>();
        assert!(bytes <= 560, "a record takes {bytes} bytes");
    }
}
