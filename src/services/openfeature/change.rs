//! What changed of which flags, and whom it concerns.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use crate::domain::flag::{CompiledFlags, Flag};
use crate::domain::ids::{FlagKey, TenantId, TierId};
use crate::view::Snapshot;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Everybody.
    All,
    /// The tenants of tiers, and tenants.
    Some(BTreeSet<TierId>, BTreeSet<TenantId>),
}

impl Reach {
    pub(super) fn tier(tier: &TierId) -> Self {
        Self::Some(BTreeSet::from([tier.clone()]), BTreeSet::new())
    }

    pub(super) fn tenant(tenant: &TenantId) -> Self {
        Self::Some(BTreeSet::new(), BTreeSet::from([tenant.clone()]))
    }

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
}

/// Flags that changed themselves, by whom that concerns.
#[derive(Debug, Default)]
pub(super) struct Reached(BTreeMap<Reach, BTreeSet<FlagKey>>);

impl Reached {
    pub(super) fn add(&mut self, key: FlagKey, reach: Reach) {
        self.0.entry(reach).or_default().insert(key);
    }

    /// With the flags that hang on them in one of these states: what concerns some of one flag concerns no others of those
    /// that hang on it.
    pub(super) fn spread(self, states: &[&CompiledFlags]) -> BTreeMap<FlagKey, Reach> {
        let mut spread: BTreeMap<FlagKey, Reach> = BTreeMap::new();
        for (reach, keys) in self.0 {
            let affected: BTreeSet<_> =
                states.iter().flat_map(|flags| flags.affected_by(keys.iter().cloned())).collect();
            for key in affected {
                match spread.get_mut(&key) {
                    Some(known) => known.extend(reach.clone()),
                    None => drop(spread.insert(key, reach.clone())),
                }
            }
        }
        spread
    }
}

/// Flag sets that a flag has left, or never was in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// These.
    Sets(BTreeSet<String>),
    /// Any: where it was is not known.
    Any,
}

impl Left {
    fn has(&self, set: &str) -> bool {
        match self {
            Self::Sets(sets) => sets.contains(set),
            Self::Any => true,
        }
    }
}

/// One flag's change.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) kind: Kind,
    pub(super) reach: Reach,
    /// The set it is in, where there still is one; flags without a set have an empty name.
    pub(super) flag_set: Option<String>,
    /// Whether it is new in that set.
    pub(super) came: bool,
    pub(super) left: Left,
}

impl Changed {
    /// A change of a flag between two states; none where it is in neither.
    fn between(old: Option<&Flag>, new: Option<&Flag>, reach: Reach) -> Option<Self> {
        let set = |flag: &Flag| flag.settings.flag_set.clone();
        let (was_in, flag_set) = (old.map(set), new.map(set));
        let kind = match (old, new) {
            (None, None) => return None,
            (None, _) => Kind::Write,
            (_, None) => Kind::Delete,
            _ => Kind::Update,
        };
        let came = was_in != flag_set;
        // Flags that are new, gone or in another set are everybody's business.
        let reach = if came { Reach::All } else { reach };
        let left = Left::Sets(was_in.filter(|_| came).into_iter().collect());
        Some(Self { kind, reach, flag_set, came, left })
    }

    /// What whoever asks for one set is told.
    pub(super) fn seen_in(&self, set: &str) -> Option<Kind> {
        if self.flag_set.as_deref() == Some(set) {
            return Some(if self.came { Kind::Write } else { self.kind });
        }
        self.left.has(set).then_some(Kind::Delete)
    }

    /// This one and one before it, for whoever heard of neither.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        self.reach.extend(earlier.reach);
        self.came |= earlier.came && earlier.flag_set == self.flag_set;
        match (&mut self.left, earlier.left) {
            (Left::Sets(sets), Left::Sets(more)) => {
                sets.extend(more);
                sets.extend(earlier.flag_set.filter(|set| self.flag_set.as_ref() != Some(set)));
            }
            (left, Left::Any) => *left = Left::Any,
            (Left::Any, Left::Sets(_)) => {}
        }
        self
    }
}

/// Flags that changed together.
#[derive(Debug, Default)]
pub struct Change {
    pub(super) flags: BTreeMap<FlagKey, Changed>,
    /// Tenants that changed themselves.
    pub(super) tenants: BTreeSet<TenantId>,
    /// Tiers of which tenants have something else now.
    pub(super) tiers: BTreeSet<TierId>,
}

impl Change {
    /// Every flag there was or is.
    pub(super) fn of_everything(before: &Snapshot, after: &Snapshot) -> Self {
        let mut change = Self::default();
        for flag in before.flags.flags().chain(after.flags.flags()) {
            change.add(flag.key(), before, after, Reach::All);
        }
        change
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.tenants.is_empty()
    }

    /// Whether the scope's tenant is one that changed itself, or its tier.
    pub(super) fn touches(&self, scope: &Scope) -> bool {
        scope.tenant.as_ref().is_some_and(|record| {
            let tenant = &record.tenant;
            self.tenants.contains(&tenant.tenant_id) || self.tiers.contains(&tenant.profile.tier)
        })
    }

    pub(super) fn add(&mut self, key: &FlagKey, before: &Snapshot, after: &Snapshot, reach: Reach) {
        let (old, new) = (before.flags.flag(key.as_str()), after.flags.flag(key.as_str()));
        let changed = Changed::between(old.map(|flag| &**flag), new.map(|flag| &**flag), reach);
        if let Some(changed) = changed {
            self.put(key.clone(), changed);
        }
    }

    /// Takes in what happened to a flag after all that is known of it.
    pub(super) fn put(&mut self, key: FlagKey, changed: Changed) {
        let changed = match self.flags.remove(&key) {
            Some(earlier) => changed.after(earlier),
            None => changed,
        };
        self.flags.insert(key, changed);
    }
}
