//! All flags of a snapshot, arranged for evaluation.
//!
//! Persistent maps: a clone costs nothing and a change copies one path, so a new snapshot with one override changed
//! is as cheap with 100,000 overrides as with ten. What follows from several flags (who hangs on whom, who excludes
//! whom, when answers change by time) is kept beside them and brought along with every change.

use std::cmp::Reverse;
use std::sync::Arc;

use imbl::{GenericHashMap, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};
use jiff::Timestamp;

use super::compiled::Compiled;
use super::edition::Edition;
use super::file::{CompiledFile, Sets};
use super::moments::Moments;
use super::segment::evaluators;
use super::{Flag, Segment, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, GroupName, SegmentName, TenantId, TierId};
use crate::domain::rule::Segments;

/// Most bytes of the compiled patterns in the rules of all flags: 500 for mail addresses fit, and reading them all takes a
/// fifth of a second.
pub const PATTERNS_BYTES_MAX: usize = 32 << 20;
/// A tenant with more flags of its own than this has become a product of its own.
pub const OVERRIDES_WARN: usize = 50;

type Own = OrdMap<FlagKey, Arc<TenantOverride>>;
type OwnByTenant = GenericHashMap<TenantId, Own, std::hash::RandomState, DefaultSharedPtr>;

/// One flag with its layers. Layers may arrive before their flag does; until then the flag is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) compiled: Option<Arc<Compiled>>,
    pub(super) tier_defaults: OrdMap<TierId, Arc<TierDefault>>,
    /// The tenants that have an override.
    pub(super) overridden: OrdSet<TenantId>,
}

/// All flags of a snapshot. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct CompiledFlags {
    pub(super) entries: OrdMap<FlagKey, Entry>,
    pub(super) own: OwnByTenant,
    /// The members of each group, the one that wins first.
    groups: OrdMap<GroupName, OrdSet<(Reverse<i32>, FlagKey)>>,
    /// Who needs a flag, by that flag.
    dependents: OrdMap<FlagKey, OrdSet<FlagKey>>,
    segments: OrdMap<SegmentName, Arc<Segment>>,
    pub(super) evaluators: Arc<Segments>,
    /// The flagd files that flags were taken from, by name.
    pub(super) files: OrdMap<String, Arc<CompiledFile>>,
    pub(super) sets: Sets,
    pub(super) moments: Moments,
    pub(super) edition: Edition,
    count: usize,
    /// When the newest that was ever among them was made.
    newest: Option<Timestamp>,
    /// How many of them read the time.
    timed: usize,
    /// What the patterns in their rules take, in bytes.
    pattern_bytes: usize,
    /// What they have of the set of all flags, in bytes, but for what hangs on others.
    pub(super) flags_bytes: usize,
    crowded: usize,
}

impl CompiledFlags {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds all at once, in any order.
    pub fn build(
        flags: impl IntoIterator<Item = Arc<Flag>>,
        tier_defaults: impl IntoIterator<Item = Arc<TierDefault>>,
        overrides: impl IntoIterator<Item = Arc<TenantOverride>>,
    ) -> Self {
        let mut built = flags.into_iter().fold(Self::new(), Self::with_flag);
        built = tier_defaults.into_iter().fold(built, Self::with_tier_default);
        overrides.into_iter().fold(built, Self::with_override)
    }

    /// Adds or replaces a flag; its tier defaults and overrides stay.
    #[must_use]
    pub fn with_flag(mut self, flag: Arc<Flag>) -> Self {
        self.edition = Edition::default();
        let segments = self.evaluators_of(&flag).clone();
        let compiled = Arc::new(Compiled::new(flag, &segments));
        let key = compiled.flag.key().clone();
        if let Some(before) =
            self.entries.entry(key.clone()).or_default().compiled.replace(Arc::clone(&compiled))
        {
            self.unlink(&before);
        }
        self.link(&compiled);
        self
    }

    /// Removes a flag with its tier defaults and overrides.
    #[must_use]
    pub fn without_flag(mut self, key: &str) -> Self {
        self.edition = Edition::default();
        let Some(entry) = self.entries.remove(key) else { return self };
        if let Some(compiled) = &entry.compiled {
            self.unlink(compiled);
        }
        for default in entry.tier_defaults.values() {
            self.moments.remove(&default.flag, default.choice.moments());
        }
        for tenant in &entry.overridden {
            self.take_own(key, tenant.as_str());
        }
        self
    }

    fn link(&mut self, compiled: &Compiled) {
        let settings = &compiled.flag.settings;
        self.count += 1;
        self.newest = self.newest.max(Some(compiled.flag.create_time));
        self.timed += usize::from(compiled.reads_time());
        self.pattern_bytes += compiled.pattern_bytes();
        self.flags_bytes = self.flags_bytes.saturating_add(compiled.size.whole);
        self.sets.add(&settings.flag_set);
        for needed in settings.needs() {
            self.dependents.entry(needed.clone()).or_default().insert(settings.key.clone());
        }
        for group in &settings.conflict_groups {
            let place = (Reverse(settings.priority), settings.key.clone());
            self.groups.entry(group.clone()).or_default().insert(place);
        }
        self.moments.add(&settings.key, compiled.moments());
    }

    fn unlink(&mut self, compiled: &Compiled) {
        let settings = &compiled.flag.settings;
        self.count = self.count.saturating_sub(1);
        self.timed -= usize::from(compiled.reads_time());
        self.pattern_bytes -= compiled.pattern_bytes();
        self.flags_bytes = self.flags_bytes.saturating_sub(compiled.size.whole);
        self.sets.remove(&settings.flag_set);
        for needed in settings.needs() {
            let left = self.dependents.get_mut(needed).is_some_and(|who| {
                who.remove(&settings.key);
                who.is_empty()
            });
            if left {
                self.dependents.remove(needed);
            }
        }
        for group in &settings.conflict_groups {
            let place = (Reverse(settings.priority), settings.key.clone());
            let left = self.groups.get_mut(group).is_some_and(|members| {
                members.remove(&place);
                members.is_empty()
            });
            if left {
                self.groups.remove(group);
            }
        }
        self.moments.remove(&settings.key, compiled.moments());
    }

    /// Adds or replaces what a tier's tenants get.
    #[must_use]
    pub fn with_tier_default(mut self, default: Arc<TierDefault>) -> Self {
        self.edition = Edition::default();
        self = self.without_tier_default(default.flag.as_str(), default.tier.as_str());
        let (key, tier) = (default.flag.clone(), default.tier.clone());
        self.moments.add(&key, default.choice.moments());
        self.entries.entry(key).or_default().tier_defaults.insert(tier, default);
        self
    }

    /// Clears what a tier's tenants get.
    #[must_use]
    pub fn without_tier_default(mut self, key: &str, tier: &str) -> Self {
        self.edition = Edition::default();
        if let Some(before) = self.entries.get_mut(key).and_then(|entry| entry.tier_defaults.remove(tier)) {
            self.moments.remove(&before.flag, before.choice.moments());
        }
        self
    }

    /// Adds or replaces what one tenant gets.
    #[must_use]
    pub fn with_override(mut self, own: Arc<TenantOverride>) -> Self {
        self.edition = Edition::default();
        let (key, tenant) = (own.flag.clone(), own.tenant.clone());
        self.take_own(key.as_str(), tenant.as_str());
        self.moments.add(&key, override_moments(&own));
        self.entries.entry(key.clone()).or_default().overridden.insert(tenant.clone());
        let all = self.own.entry(tenant).or_default();
        all.insert(key, own);
        self.crowded += usize::from(all.len() == OVERRIDES_WARN + 1);
        self
    }

    /// Clears what one tenant gets.
    #[must_use]
    pub fn without_override(mut self, key: &str, tenant: &str) -> Self {
        self.edition = Edition::default();
        self.take_own(key, tenant);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.overridden.remove(tenant);
        }
        self
    }

    fn take_own(&mut self, key: &str, tenant: &str) {
        let Some(all) = self.own.get_mut(tenant) else { return };
        if let Some(before) = all.remove(key) {
            self.crowded -= usize::from(all.len() == OVERRIDES_WARN);
            if all.is_empty() {
                self.own.remove(tenant);
            }
            self.moments.remove(&before.flag, override_moments(&before));
        }
    }

    /// Adds or replaces segments, and compiles the flags anew that use them.
    #[must_use]
    pub fn with_segments(mut self, segments: impl IntoIterator<Item = Arc<Segment>>) -> Self {
        let mut segments = segments.into_iter().peekable();
        if segments.peek().is_none() {
            return self;
        }
        for segment in segments {
            self.segments.insert(segment.settings.name.clone(), segment);
        }
        self.recompile()
    }

    /// Removes a segment.
    #[must_use]
    pub fn without_segment(mut self, name: &SegmentName) -> Self {
        self.segments.remove(name);
        self.recompile()
    }

    fn recompile(mut self) -> Self {
        self.edition = Edition::default();
        self.evaluators = Arc::new(evaluators(&self.segments));
        let compiled = self.entries.values().filter_map(|entry| entry.compiled.as_ref());
        let stale: Vec<_> = compiled
            .filter(|compiled| compiled.flag.origin.is_none() && compiled.names_segments())
            .map(|compiled| Arc::clone(&compiled.flag))
            .collect();
        stale.into_iter().fold(self, Self::with_flag)
    }

    /// The flag, if it exists.
    pub fn flag(&self, key: &str) -> Option<&Arc<Flag>> {
        self.compiled(key).map(|compiled| &compiled.flag)
    }

    pub(super) fn compiled(&self, key: &str) -> Option<&Arc<Compiled>> {
        self.entries.get(key)?.compiled.as_ref()
    }

    /// All flags, by key.
    pub fn flags(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.entries.values().filter_map(|entry| entry.compiled.as_ref()).map(|compiled| &compiled.flag)
    }

    /// How many flags there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When the newest flag was made that was ever among these: one made later is none of them.
    pub const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Which flags these are.
    pub const fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Whether a rule looks at the time, so that answers can change with every second.
    pub const fn reads_time(&self) -> bool {
        self.timed > 0
    }

    /// What the patterns in their rules take in memory, in bytes; those of segments not counted.
    pub const fn pattern_bytes(&self) -> usize {
        self.pattern_bytes
    }

    /// A flag's tier defaults, by tier.
    pub fn tier_defaults(&self, key: &str) -> impl Iterator<Item = &Arc<TierDefault>> {
        self.entries.get(key).into_iter().flat_map(|entry| entry.tier_defaults.values())
    }

    /// A flag's overrides, by tenant.
    pub fn overrides_of_flag<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Arc<TenantOverride>> {
        let tenants = self.entries.get(key).into_iter().flat_map(|entry| &entry.overridden);
        tenants.filter_map(move |tenant| self.own.get(tenant)?.get(key))
    }

    /// A tenant's overrides, by flag.
    pub fn overrides_of_tenant(&self, tenant: &str) -> impl Iterator<Item = &Arc<TenantOverride>> {
        self.own.get(tenant).into_iter().flat_map(OrdMap::values)
    }

    /// How many flags a tenant has something of its own of.
    pub fn override_count(&self, tenant: &str) -> usize {
        self.own.get(tenant).map_or(0, OrdMap::len)
    }

    /// How many tenants have more than [`OVERRIDES_WARN`] of them.
    pub const fn crowded_tenants(&self) -> usize {
        self.crowded
    }

    /// The segment, if it exists.
    pub fn segment(&self, name: &str) -> Option<&Arc<Segment>> {
        self.segments.get(name)
    }

    /// All segments, by name.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.values()
    }

    /// The flags made here whose rules use a segment, directly or through others, by key.
    pub fn users_of_segment<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Flag>> {
        let compiled = self.entries.values().filter_map(|entry| entry.compiled.as_ref());
        let uses = move |compiled: &&Arc<Compiled>| compiled.flag.origin.is_none() && compiled.uses(name);
        compiled.filter(uses).map(|compiled| &compiled.flag)
    }

    /// Whether the rules of a flag use a segment of its own world: of its file's, or of those made here.
    pub fn uses_segment(&self, flag: &Flag, name: &str) -> bool {
        self.compiled(flag.key().as_str()).is_some_and(|compiled| compiled.uses(name))
    }

    /// The segments that the rules of a flag made here use, directly or through others.
    pub fn segments_of<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let compiled = self.compiled(key).filter(|compiled| compiled.flag.origin.is_none());
        compiled.into_iter().flat_map(|compiled| compiled.segments())
    }

    /// Whether a flag's answer can hang on more of the context than the tenant's id.
    pub fn reads_context(&self, key: &str) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let Some(compiled) = &entry.compiled else { return false };
        compiled.reads_context()
            || compiled.hangs_on_others
            || entry.tier_defaults.values().any(|default| default.choice.rollout().is_some())
            || !entry.overridden.is_empty()
    }

    /// The flags that need a flag: those it is a prerequisite or the kill switch of, by key.
    pub fn dependents(&self, key: &str) -> impl Iterator<Item = &FlagKey> {
        self.dependents.get(key).into_iter().flatten()
    }

    /// How many flags a group has.
    pub fn group_size(&self, group: &GroupName) -> usize {
        self.groups.get(group).map_or(0, OrdSet::len)
    }

    /// The members of a group, the one that wins first.
    pub(super) fn members(&self, group: &GroupName) -> impl Iterator<Item = &(Reverse<i32>, FlagKey)> {
        self.groups.get(group).into_iter().flatten()
    }
}

fn override_moments(own: &TenantOverride) -> impl Iterator<Item = jiff::Timestamp> {
    own.expire_time.into_iter().chain(own.choice.moments())
}
