//! A change as it is told, made once for all who are told the same.
//!
//! Thousands of streams may hear of one change of thousands of flags. What concerns everybody is one piece for all of them, what
//! a tier got is one for the streams of its tenants, and what a tenant got one for its own. A piece is picked, cut and encoded
//! when somebody first needs it, apart from the threads that serve; streams hold it together, and have no copy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::change::{Change, Changed, Kind, Left, Reach};
use super::scope::Scope;
use crate::domain::error::Error;
use crate::domain::ids::{FlagKey, TenantId, TierId};
use crate::services::apart::Apart;

/// Bytes of flags' names that a client is told at once. Clients take 4 MiB, as JSON or not.
const NAMES_BYTES_MAX: usize = 1 << 19;
/// What is beside a name in a message, and more.
const NAME_BYTES: usize = 48;
/// Flags up to which what is told one after the other is told together.
const TOGETHER_MAX: usize = 100;
/// Encoded bytes that a change keeps for those who come later. Whose piece is forgotten has it made again.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// How a wire says that flags changed.
pub type Encode = fn(&BTreeMap<FlagKey, Kind>) -> Bytes;

/// Flags whose change a client is told of at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What happened to which.
    pub flags: BTreeMap<FlagKey, Kind>,
    /// The same as the wire says it; empty for a stream without an encoding.
    pub encoded: Bytes,
}

impl Part {
    fn new(flags: BTreeMap<FlagKey, Kind>, encode: Option<Encode>) -> Arc<Self> {
        let encoded = encode.map(|encode| encode(&flags)).unwrap_or_default();
        Arc::new(Self { flags, encoded })
    }
}

/// The flags of one kind of streams, in as many parts as it takes.
type Piece = Arc<[Arc<Part>]>;

/// Whose flags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// Those that concern everybody.
    Everybody,
    /// All others, for streams without a tenant.
    Others,
    /// What a tier got.
    Tier(TierId),
    /// What a tenant got and its tier did not.
    Tenant(TierId, TenantId),
}

/// Of which flag sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Of {
    Any,
    Set(String),
    /// One that no flag of this change is or was known to be in: the same for all such names.
    AnotherSet,
}

impl Of {
    /// What such streams are told of a flag.
    fn sees(&self, changed: &Changed) -> Option<Kind> {
        match self {
            Self::Any => Some(changed.kind),
            Self::Set(set) => changed.seen_in(set),
            Self::AnotherSet => (changed.left == Left::Any).then_some(Kind::Delete),
        }
    }
}

/// What tells pieces apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    whose: Whose,
    of: Of,
    is_encoded: bool,
}

/// Pieces that were asked for, by name.
#[derive(Debug, Default)]
struct Kept {
    pieces: HashMap<Name, Arc<OnceCell<Piece>>>,
    bytes: usize,
}

/// A change, and what was made of it for those who are told.
#[derive(Debug)]
pub(super) struct News {
    change: Change,
    has_everybodys: bool,
    has_others: bool,
    /// What concerns not everybody, by whom it does.
    of_tiers: BTreeMap<TierId, Vec<FlagKey>>,
    of_tenants: BTreeMap<TenantId, Vec<FlagKey>>,
    /// Every set that a flag of these is in, or has left.
    sets: BTreeSet<String>,
    has_left_any: bool,
    kept: Mutex<Kept>,
}

impl News {
    pub(super) fn of(change: Change) -> Arc<Self> {
        let (mut has_everybodys, mut has_others, mut has_left_any) = (false, false, false);
        let (mut of_tiers, mut of_tenants) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let mut sets = BTreeSet::new();
        for (key, changed) in &change.flags {
            match &changed.reach {
                Reach::All => has_everybodys = true,
                Reach::Some(tiers, tenants) => {
                    has_others = true;
                    for tier in tiers {
                        of_tiers.entry(tier.clone()).or_default().push(key.clone());
                    }
                    for tenant in tenants {
                        of_tenants.entry(tenant.clone()).or_default().push(key.clone());
                    }
                }
            }
            let left = match &changed.left {
                Left::Sets(left) => Some(left),
                Left::Any => {
                    has_left_any = true;
                    None
                }
            };
            for set in changed.flag_set.iter().chain(left.into_iter().flatten()) {
                if !sets.contains(set) {
                    sets.insert(set.clone());
                }
            }
        }
        let kept = Mutex::default();
        Arc::new(Self { change, has_everybodys, has_others, of_tiers, of_tenants, sets, has_left_any, kept })
    }

    /// Whether the flags of a scope may be others now.
    pub(super) fn concerns(&self, scope: &Scope) -> bool {
        self.change.touches(scope)
            || self.names(scope, false).iter().any(|name| self.seen(name).next().is_some())
    }

    /// What whoever asks for a scope is told.
    pub(super) async fn told(
        self: &Arc<Self>,
        scope: &Scope,
        encode: Option<Encode>,
        apart: &Apart,
    ) -> Result<Vec<Arc<Part>>, Error> {
        let mut told = Vec::new();
        for name in self.names(scope, encode.is_some()) {
            let place = Arc::clone(self.kept().pieces.entry(name.clone()).or_default());
            let make = || {
                let news = Arc::clone(self);
                apart.run(move || news.make(&name, encode))
            };
            told.extend(place.get_or_try_init(make).await?.iter().map(Arc::clone));
        }
        Ok(told)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, name: &Name, encode: Option<Encode>) -> Piece {
        let parts = bounded(self.seen(name).map(|(key, kind)| (key.clone(), kind)));
        let piece: Piece = parts.into_iter().map(|flags| Part::new(flags, encode)).collect();
        let mut kept = self.kept();
        kept.bytes +=
            piece.iter().map(|part| part.flags.len() * NAME_BYTES + part.encoded.len()).sum::<usize>();
        if kept.bytes > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        piece
    }

    /// The pieces that are for a scope.
    fn names(&self, scope: &Scope, is_encoded: bool) -> Vec<Name> {
        let of = match &scope.flag_set {
            _ if scope.is_empty => return Vec::new(),
            None => Of::Any,
            Some(set) if self.sets.contains(set) => Of::Set(set.clone()),
            Some(_) if self.has_left_any => Of::AnotherSet,
            Some(_) => return Vec::new(),
        };
        let mut whose = Vec::new();
        if self.has_everybodys {
            whose.push(Whose::Everybody);
        }
        match &scope.tenant {
            None if self.has_others => whose.push(Whose::Others),
            None => {}
            Some(record) => {
                let (tier, tenant) = (&record.tenant.profile.tier, &record.tenant.tenant_id);
                if self.of_tiers.contains_key(tier) {
                    whose.push(Whose::Tier(tier.clone()));
                }
                if self.of_tenants.contains_key(tenant) {
                    whose.push(Whose::Tenant(tier.clone(), tenant.clone()));
                }
            }
        }
        whose.into_iter().map(|whose| Name { whose, of: of.clone(), is_encoded }).collect()
    }

    /// The flags of a piece.
    fn seen(&self, name: &Name) -> impl Iterator<Item = (&FlagKey, Kind)> {
        let (all, listed) = match &name.whose {
            Whose::Everybody | Whose::Others => (Some(&self.change.flags), None),
            Whose::Tier(tier) => (None, self.of_tiers.get(tier)),
            Whose::Tenant(_, tenant) => (None, self.of_tenants.get(tenant)),
        };
        let listed = listed.into_iter().flatten().filter_map(|key| self.change.flags.get_key_value(key));
        let flags = all.into_iter().flatten().chain(listed);
        flags.filter_map(|(key, changed)| {
            let is_among = match (&name.whose, &changed.reach) {
                (Whose::Everybody, reach) => *reach == Reach::All,
                (Whose::Others, reach) => *reach != Reach::All,
                (Whose::Tier(_), _) => true,
                (Whose::Tenant(tier, _), Reach::Some(tiers, _)) => !tiers.contains(tier),
                (Whose::Tenant(..), Reach::All) => false,
            };
            Some((key, name.of.sees(changed).filter(|_| is_among)?))
        })
    }
}

/// The same flags in as many parts as it takes: a change of ten thousand flags with long names is more than clients take at once.
fn bounded(flags: impl Iterator<Item = (FlagKey, Kind)>) -> Vec<BTreeMap<FlagKey, Kind>> {
    let mut parts: Vec<BTreeMap<FlagKey, Kind>> = Vec::new();
    let mut room = 0;
    for (key, kind) in flags {
        let bytes = key.as_str().len() + NAME_BYTES;
        if bytes > room {
            parts.push(BTreeMap::new());
            room = NAMES_BYTES_MAX;
        }
        room = room.saturating_sub(bytes);
        if let Some(last) = parts.last_mut() {
            last.insert(key, kind);
        }
    }
    parts
}

/// What is told one after the other, with small parts put together: the last word on a flag counts.
pub(super) fn together(parts: Vec<Arc<Part>>, encode: Option<Encode>) -> Vec<Arc<Part>> {
    let mut groups: Vec<(usize, Vec<Arc<Part>>)> = Vec::new();
    for part in parts {
        let count = part.flags.len();
        match groups.last_mut() {
            Some((sum, group)) if *sum + count <= TOGETHER_MAX => {
                *sum += count;
                group.push(part);
            }
            _ => groups.push((count, vec![part])),
        }
    }
    let one = |(_, mut group): (usize, Vec<Arc<Part>>)| match group.pop() {
        Some(part) if group.is_empty() => Some(part),
        last => {
            let flags = group.iter().chain(&last).flat_map(|part| &part.flags);
            Some(Part::new(flags.map(|(key, kind)| (key.clone(), *kind)).collect(), encode))
        }
    };
    groups.into_iter().filter_map(one).collect()
}

#[cfg(test)]
#[path = "news_tests.rs"]
mod tests;
