//! Finds out which flags changed, once for all who want to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::scope::Scope;
use crate::domain::flag::Query;
use crate::domain::ids::{FlagKey, TenantId, TierId};
use crate::domain::rule::Context;
use crate::view::{Delta, Record, Snapshot, View};

/// Changes that a stream may lag behind before it is told of every flag.
const CHANGES_MAX: usize = 256;
/// For how long a change is told to those who come back: longer than any provider keeps what it has without a
/// connection (its grace period, 5 s unless configured).
const RECENT: Duration = Duration::from_mins(5);
/// Overrides of a flag that are compared one by one; with more, a change of one is told to everybody.
const COMPARED_MAX: usize = 2_000;
/// Longest wait for a moment: clocks are set now and then.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What happened to a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Write,
    /// It, or an answer of it, changed.
    Update,
    /// It is gone.
    Delete,
}

impl Kind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Whom a change of a flag concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Everybody.
    All,
    /// The tenants of tiers, and tenants.
    Some(BTreeSet<TierId>, BTreeSet<TenantId>),
}

impl Reach {
    fn extend(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Some(tiers, tenants), Self::Some(more_tiers, more_tenants)) => {
                tiers.extend(more_tiers);
                tenants.extend(more_tenants);
            }
            (_, Self::All) => *self = Self::All,
            (Self::All, Self::Some(..)) => {}
        }
    }

    fn concerns(&self, tenant: Option<&Record>) -> bool {
        match (self, tenant) {
            (Self::All, _) | (_, None) => true,
            (Self::Some(tiers, tenants), Some(record)) => {
                tiers.contains(&record.tenant.profile.tier) || tenants.contains(&record.tenant.tenant_id)
            }
        }
    }
}

/// One flag's change.
#[derive(Debug, Clone)]
struct Changed {
    kind: Kind,
    reach: Reach,
    /// The set it is in, or was.
    flag_set: String,
}

/// Flags that changed together.
#[derive(Debug, Default)]
pub struct Change {
    flags: BTreeMap<FlagKey, Changed>,
    /// Tenants that changed themselves.
    tenants: BTreeSet<TenantId>,
    /// Tiers of which tenants have something else now.
    tiers: BTreeSet<TierId>,
}

impl Change {
    /// The flags that concern a scope, and what happened to them.
    pub(super) fn seen_by<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a FlagKey, Kind)> {
        self.flags
            .iter()
            .filter(|(_, changed)| {
                scope.flag_set.as_ref().is_none_or(|set| *set == changed.flag_set)
                    && changed.reach.concerns(scope.tenant.as_deref())
            })
            .map(|(key, changed)| (key, changed.kind))
    }

    /// Whether the scope's tenant is one that changed itself, or its tier.
    pub(super) fn touches(&self, scope: &Scope) -> bool {
        scope.tenant.as_ref().is_some_and(|record| {
            let tenant = &record.tenant;
            self.tenants.contains(&tenant.tenant_id) || self.tiers.contains(&tenant.profile.tier)
        })
    }

    fn add(&mut self, key: &FlagKey, before: &Snapshot, after: &Snapshot, reach: Reach) {
        let (old, new) = (before.flags.flag(key.as_str()), after.flags.flag(key.as_str()));
        let Some(flag) = new.or(old) else { return };
        let kind = match (old, new) {
            (None, _) => Kind::Write,
            (_, None) => Kind::Delete,
            _ => Kind::Update,
        };
        let flag_set = flag.settings.flag_set.clone();
        // New and gone flags are everybody's business.
        let reach = if kind == Kind::Update { reach } else { Reach::All };
        match self.flags.get_mut(key) {
            Some(changed) => changed.reach.extend(reach),
            None => drop(self.flags.insert(key.clone(), Changed { kind, reach, flag_set })),
        }
    }
}

/// Tells of changes.
#[derive(Debug)]
pub(super) struct Announcer {
    changes: broadcast::Sender<Arc<Change>>,
    /// What changed not long ago, and when.
    recent: Mutex<BTreeMap<FlagKey, (Instant, Changed)>>,
}

impl Default for Announcer {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(CHANGES_MAX), recent: Mutex::default() }
    }
}

impl Announcer {
    /// What changes from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// What changed not long ago.
    pub(super) fn recent(&self) -> Change {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = recent.iter().filter(|(_, (when, _))| when.elapsed() < RECENT);
        let flags = fresh.map(|(key, (_, changed))| (key.clone(), changed.clone())).collect();
        Change { flags, ..Change::default() }
    }

    /// Looks until the drain.
    pub(super) async fn run(self: Arc<Self>, view: Arc<View>, drain: CancellationToken) {
        let mut deltas = view.deltas();
        tokio::select! {
            () = view.loaded() => {}
            () = drain.cancelled() => return,
        }
        let Ok(mut before) = view.snapshot() else { return };
        let mut told_until = crate::services::now();
        self.remember(&made_lately(&before, told_until));
        loop {
            let due = due(before.flags.next_change(told_until), crate::services::now());
            let received = tokio::select! {
                received = deltas.recv() => Some(received),
                () = tokio::time::sleep(due) => None,
                () = drain.cancelled() => return,
            };
            let Ok(after) = view.snapshot() else { continue };
            let mut change = match received {
                Some(Ok(delta)) => difference(&before, &after, &delta),
                Some(Err(RecvError::Lagged(_))) => everything(&before, &after),
                Some(Err(RecvError::Closed)) => return,
                None => Change::default(),
            };
            let now = crate::services::now();
            for key in after.flags.changed_by_time(told_until, now) {
                change.add(&key, &before, &after, Reach::All);
            }
            told_until = now.max(told_until);
            before = after;
            self.tell(change);
        }
    }

    fn tell(&self, change: Change) {
        if change.flags.is_empty() && change.tenants.is_empty() {
            return;
        }
        self.remember(&change);
        // Nobody listening is no failure.
        let _ = self.changes.send(Arc::new(change));
    }

    fn remember(&self, change: &Change) {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (when, _)| now.duration_since(*when) < RECENT);
        for (key, changed) in &change.flags {
            // Whoever comes back needs to hear of all that it may have missed.
            let mut remembered = changed.clone();
            if let Some((_, earlier)) = recent.remove(key) {
                remembered.reach.extend(earlier.reach);
            }
            recent.insert(key.clone(), (now, remembered));
        }
    }
}

/// How long until a moment.
fn due(moment: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(moment) = moment else { return WAIT_MAX };
    Duration::try_from(moment.duration_since(now)).unwrap_or_default().min(WAIT_MAX)
}

/// What changed before this process began to look: its clients may come from another one.
fn made_lately(snapshot: &Snapshot, now: Timestamp) -> Change {
    let mut change = Change::default();
    let since = now.checked_sub(RECENT).unwrap_or(now);
    for flag in snapshot.flags.flags() {
        let key = flag.key();
        let is_new = flag.update_time >= since
            || snapshot.flags.overrides_of_flag(key.as_str()).any(|own| own.update_time >= since);
        if is_new {
            change.add(key, snapshot, snapshot, Reach::All);
        }
    }
    change
}

/// What one step of the view changed.
fn difference(before: &Snapshot, after: &Snapshot, delta: &Delta) -> Change {
    // Another log, or an older state of it, was put in place.
    if before.history != after.history {
        return everything(before, after);
    }
    let mut change = Change::default();
    for key in &delta.flags {
        change.add(key, before, after, reach(key.as_str(), before, after));
    }
    for tenant in &delta.tenants {
        add_tenant(&mut change, before, after, tenant);
    }
    if delta.tiers {
        add_tiers(&mut change, before, after);
    }
    change
}

/// Whom a flag's change concerns: everybody, unless nothing but its tier defaults and overrides changed.
fn reach(key: &str, before: &Snapshot, after: &Snapshot) -> Reach {
    let (Some(old), Some(new)) = (before.flags.flag(key), after.flags.flag(key)) else { return Reach::All };
    let hangs_on_others = new.settings.needs().next().is_some() || !new.settings.conflict_groups.is_empty();
    // A rule may use a segment that changed, so the flag itself says nothing then.
    if !Arc::ptr_eq(old, new) || hangs_on_others || !new.settings.rules.is_empty() {
        return Reach::All;
    }
    let (was, is) = (&before.flags, &after.flags);
    if was.overrides_of_flag(key).chain(is.overrides_of_flag(key)).nth(COMPARED_MAX).is_some() {
        return Reach::All;
    }
    let tiers_before: BTreeMap<_, _> =
        was.tier_defaults(key).map(|default| (&default.tier, default)).collect();
    let tiers_after: BTreeMap<_, _> = is.tier_defaults(key).map(|default| (&default.tier, default)).collect();
    let tenants_before: BTreeMap<_, _> = was.overrides_of_flag(key).map(|own| (&own.tenant, own)).collect();
    let tenants_after: BTreeMap<_, _> = is.overrides_of_flag(key).map(|own| (&own.tenant, own)).collect();
    let (tiers, tenants) =
        (different(&tiers_before, &tiers_after), different(&tenants_before, &tenants_after));
    if tiers.is_empty() && tenants.is_empty() { Reach::All } else { Reach::Some(tiers, tenants) }
}

fn different<K: Ord + Clone, V>(
    before: &BTreeMap<&K, &Arc<V>>,
    after: &BTreeMap<&K, &Arc<V>>,
) -> BTreeSet<K> {
    let same = |one: Option<&&Arc<V>>, other: Option<&&Arc<V>>| match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).copied().collect();
    keys.into_iter().filter(|key| !same(before.get(key), after.get(key))).cloned().collect()
}

/// Adds what a tenant's own change (its tier, its status, its labels) makes of its flags.
fn add_tenant(change: &mut Change, before: &Snapshot, after: &Snapshot, tenant: &TenantId) {
    let (Some(old), Some(new)) = (before.tenant(tenant), after.tenant(tenant)) else {
        // Somebody may have asked for its flags before there was one, or still does.
        change.tenants.insert(tenant.clone());
        return;
    };
    let (was, is) = (before.attributes(old), after.attributes(new));
    if was == is && old.tenant.access() == new.tenant.access() {
        return;
    }
    change.tenants.insert(tenant.clone());
    let now = crate::services::now();
    let (Ok(was), Ok(is)) = (Context::new(was), Context::new(is)) else { return };
    let was = Query { tenant: Some(old.facts()), context: &was, now };
    let is = Query { tenant: Some(new.facts()), context: &is, now };
    let reach = Reach::Some(BTreeSet::new(), BTreeSet::from([tenant.clone()]));
    let mut earlier = after.flags.answers(&was);
    for (key, answer) in after.flags.evaluate_all(&is) {
        // What rules make of a client's attributes is not known here, so they count as changed.
        let has_rules = after.flags.flag(key.as_str()).is_some_and(|flag| !flag.settings.rules.is_empty());
        if has_rules || earlier.of(key.as_str()).variant != answer.variant {
            change.add(key, before, after, reach.clone());
        }
    }
}

/// Adds what a tier's own change (the support level that its tenants have from it) makes of flags.
fn add_tiers(change: &mut Change, before: &Snapshot, after: &Snapshot) {
    for (id, tier) in &after.tiers {
        if before.tiers.get(id).is_none_or(|old| old.support_level == tier.support_level) {
            continue;
        }
        change.tiers.insert(id.clone());
        for flag in after.flags.flags() {
            change.add(flag.key(), before, after, Reach::Some(BTreeSet::from([id.clone()]), BTreeSet::new()));
        }
    }
}

/// Every flag there was or is.
pub(super) fn everything(before: &Snapshot, after: &Snapshot) -> Change {
    let mut change = Change::default();
    for flag in before.flags.flags().chain(after.flags.flags()) {
        change.add(flag.key(), before, after, Reach::All);
    }
    change
}
