//! What changed not long ago, for those who come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imbl::OrdMap;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::change::{Change, Changed};
use super::news::News;
use crate::domain::error::Error;
use crate::domain::ids::FlagKey;
use crate::services::apart::Apart;

/// For how long a change is told to those who come back: longer than any provider keeps what it has without a
/// connection (its grace period, 5 s unless configured).
pub(super) const RECENT: Duration = Duration::from_mins(5);

/// Flags, each with when it changed last and all that happened to it. A copy of it costs nothing.
type Flags = OrdMap<FlagKey, (Instant, Arc<Changed>)>;

/// All that is remembered, as it is told until another change is.
#[derive(Debug)]
struct Edition {
    news: Arc<News>,
    /// When the first of it is long ago.
    until: Instant,
}

impl Edition {
    fn of(flags: &Flags) -> Self {
        let now = Instant::now();
        let (mut change, mut until) = (Change::default(), now + RECENT);
        for (key, (when, changed)) in flags {
            let end = *when + RECENT;
            if end > now {
                until = until.min(end);
                change.flags.insert(key.clone(), (**changed).clone());
            }
        }
        Self { news: News::of(change), until }
    }
}

#[derive(Debug, Default)]
struct Remembered {
    flags: Flags,
    edition: Arc<OnceCell<Edition>>,
}

/// What changed not long ago.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Held for moments only: streams that begin read it on the threads that serve.
    remembered: Mutex<Remembered>,
    /// Who takes a change in has the turn.
    turn: Mutex<()>,
}

impl Recent {
    /// Takes a change in.
    pub(super) fn remember(&self, change: &Change) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flags = self.remembered().flags.clone();
        let now = Instant::now();
        let old = flags.iter().filter(|(_, (when, _))| now.duration_since(*when) >= RECENT);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).collect();
        for key in old {
            flags.remove(&key);
        }
        for (key, changed) in &change.flags {
            // Whoever comes back needs to hear of all that it may have missed.
            let changed = match flags.get(key) {
                Some((_, earlier)) => changed.clone().after((**earlier).clone()),
                None => changed.clone(),
            };
            flags.insert(key.clone(), (now, Arc::new(changed)));
        }
        *self.remembered() = Remembered { flags, edition: Arc::default() };
    }

    /// All of it, the same for all who ask until there is more.
    pub(super) async fn news(&self, apart: &Apart) -> Result<Arc<News>, Error> {
        let (flags, edition) = self.edition();
        let made = edition.get_or_try_init(|| apart.run(move || Edition::of(&flags))).await?;
        Ok(Arc::clone(&made.news))
    }

    fn edition(&self) -> (Flags, Arc<OnceCell<Edition>>) {
        let mut remembered = self.remembered();
        if remembered.edition.get().is_some_and(|edition| edition.until <= Instant::now()) {
            remembered.edition = Arc::default();
        }
        (remembered.flags.clone(), Arc::clone(&remembered.edition))
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
