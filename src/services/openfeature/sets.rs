//! Flag sets that are made once for all who ask for the same.
//!
//! A set of thousands of flags takes a while to make, so none is made on a thread that serves: there is a place for that,
//! with room for a few at once. Whoever asks while a set is made waits for that one. A set is kept as long as a stream has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Mutex as Turns;
use uuid::Uuid;

use super::flag_set::{FlagSet, Made};
use super::scope::{Question, Scope};
use super::sizes::{Selected, TooLarge};
use crate::domain::error::Error;
use crate::domain::flag::CLIENT_BYTES_MAX;
use crate::services::Registry;
use crate::services::apart::Apart;

/// Whose flags, and which of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    tenant: Option<Uuid>,
    flag_set: Option<String>,
    is_empty: bool,
}

impl Name {
    fn of(scope: &Scope) -> Self {
        Self {
            tenant: scope.tenant.as_ref().map(|record| record.tenant.uid),
            flag_set: scope.flag_set.clone(),
            is_empty: scope.is_empty,
        }
    }
}

/// Where the sets of one name are.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The newest that was made; whoever makes the next has the turn.
    newest: Arc<Turns<Option<Arc<Made>>>>,
    /// How large it is, also while the next is made.
    bytes: AtomicUsize,
}

/// Flag sets.
pub(super) struct Sets {
    places: Mutex<HashMap<Name, Weak<Place>>>,
    /// Where they are made.
    apart: Apart,
    made: Arc<AtomicU64>,
    resolved: Arc<AtomicU64>,
    pub(super) too_large: TooLarge,
}

impl Sets {
    /// None so far. They are made by the runtime that this is called in.
    pub(super) fn new() -> Self {
        Self {
            places: Mutex::default(),
            apart: Apart::new(),
            made: Arc::default(),
            resolved: Arc::default(),
            too_large: TooLarge::default(),
        }
    }

    /// How many sets were made, and of how many flags together that had to be worked out.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.resolved.load(Ordering::Relaxed))
    }

    /// The size of each set that somebody has, and what was selected.
    pub(super) fn sizes(&self) -> Vec<(Selected, usize)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |(name, place): (&Name, &Weak<Place>)| {
            let selected = Selected::of(name.tenant.is_some(), name.flag_set.is_some());
            Some((selected, place.upgrade()?.bytes.load(Ordering::Relaxed)))
        };
        places.iter().filter_map(size).collect()
    }

    fn place(&self, scope: &Scope) -> Arc<Place> {
        let name = Name::of(scope);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(&name).and_then(Weak::upgrade) {
            return place;
        }
        // Those that nobody has any more go when another comes.
        places.retain(|_, place| place.strong_count() > 0);
        let place = Arc::new(Place::default());
        places.insert(name, Arc::downgrade(&place));
        place
    }

    /// The set that is asked for as it is now, and whose it is. `held` keeps it for who asks again.
    pub(super) async fn newest(
        &self,
        registry: &Registry,
        question: &Question,
        held: &mut Option<Arc<Place>>,
    ) -> Result<(Arc<FlagSet>, Scope), Error> {
        loop {
            let asked = question.selected(&*registry.view.snapshot()?)?;
            let place = Arc::clone(held.insert(self.place(&asked)));
            let mut turn = Arc::clone(&place.newest).lock_owned().await;
            // There may be newer flags by now.
            let snapshot = registry.view.snapshot()?;
            let scope = question.selected(&snapshot)?;
            if Name::of(&scope) != Name::of(&asked) {
                continue;
            }
            let now = crate::services::now();
            let fixed = Arc::clone(&registry.static_context);
            let earlier = turn.clone();
            if let Some(made) = &earlier
                && made.stands(&snapshot, &scope, &fixed, now)?
            {
                return Ok((Arc::clone(&made.set), scope));
            }
            let (made, resolved) = (Arc::clone(&self.made), Arc::clone(&self.resolved));
            // Whoever asked may be gone before it is made: the turn is kept until then.
            let making = self.apart.run(move || {
                let (newest, count) = Made::make(earlier.as_deref(), &snapshot, &scope, &fixed, now)?;
                let is_another = earlier.is_none_or(|earlier| !Arc::ptr_eq(&earlier.set, &newest.set));
                made.fetch_add(u64::from(is_another), Ordering::Relaxed);
                resolved.fetch_add(count, Ordering::Relaxed);
                let set = Arc::clone(&newest.set);
                let bytes = set.configuration.len();
                if is_another && bytes > CLIENT_BYTES_MAX {
                    let (tenant, flag_set) = (scope.tenant_id(), scope.flag_set.as_deref());
                    tracing::warn!(
                        tenant,
                        flag_set,
                        bytes,
                        "a flag set is larger than what in-process clients take by default"
                    );
                }
                place.bytes.store(bytes, Ordering::Relaxed);
                *turn = Some(Arc::new(newest));
                Ok((set, scope))
            });
            return making.await?;
        }
    }
}
