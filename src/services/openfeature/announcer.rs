//! Finds out which flags changed, once for all who want to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OnceCell, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::change::{Change, Reach, Reached};
use super::news::{Encode, News, Part};
use super::past;
use super::recent::{RECENT, Recent};
use super::scope::Scope;
use crate::domain::error::Error;
use crate::domain::flag::Query;
use crate::domain::ids::{FlagKey, Revision, TenantId, TierId};
use crate::domain::rule::Context;
use crate::services::apart::Apart;
use crate::store::connect::Database;
use crate::view::{Delta, Extent, Snapshot, View};

/// Changes that a stream may lag behind before it is told of every flag.
const CHANGES_MAX: usize = 256;
/// How far the clocks of replicas may be apart.
const SKEW: Duration = Duration::from_mins(1);
/// Longest wait for a moment: clocks are set now and then.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// The pause before the log is asked again for what changed before this replica was there.
const LEARN_PAUSE: Duration = Duration::from_secs(1);

/// From when on this replica saw for itself.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    instant: Instant,
    time: Timestamp,
    revision: Revision,
}

impl Beginning {
    /// Whether something changed last before this, and not long ago: nobody here saw it.
    fn missed(&self, revision: Revision, update_time: Timestamp) -> bool {
        let since = self.time.checked_sub(RECENT + SKEW).unwrap_or(self.time);
        self.instant.elapsed() < RECENT && revision <= self.revision && update_time >= since
    }
}

/// What is made by the first who needs it.
type Place = Arc<OnceCell<Arc<News>>>;

/// Tells of changes.
#[derive(Debug)]
pub(super) struct Announcer {
    changes: broadcast::Sender<Arc<News>>,
    recent: Recent,
    /// A change of every flag, made when it was first needed, and of which flags.
    everything: Mutex<(Weak<Snapshot>, Place)>,
    began: OnceLock<Beginning>,
    /// Where it is put together what streams are told.
    apart: Apart,
}

impl Announcer {
    /// Nothing so far. What is told is put together by the runtime that this is called in.
    pub(super) fn new() -> Self {
        Self {
            changes: broadcast::Sender::new(CHANGES_MAX),
            recent: Recent::default(),
            everything: Mutex::default(),
            began: OnceLock::new(),
            apart: Apart::new(),
        }
    }

    /// What changes from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<News>> {
        self.changes.subscribe()
    }

    /// What changed for a scope not long ago.
    pub(super) async fn recent(
        &self,
        snapshot: &Arc<Snapshot>,
        scope: &Scope,
    ) -> Result<Vec<Arc<News>>, Error> {
        let mut news = Vec::new();
        if self.began.get().is_some_and(|began| is_changed_itself(began, snapshot, scope)) {
            news.push(self.everything(snapshot).await?);
        }
        news.push(self.recent.news(&self.apart).await?);
        Ok(news)
    }

    /// A change of every flag that there is.
    pub(super) async fn everything(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<News>, Error> {
        let place = {
            let mut known = self.everything.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::ptr::eq(known.0.as_ptr(), Arc::as_ptr(snapshot)) {
                *known = (Arc::downgrade(snapshot), Arc::default());
            }
            Arc::clone(&known.1)
        };
        let make = || {
            let snapshot = Arc::clone(snapshot);
            self.apart.run(move || News::of(Change::of_everything(&snapshot, &snapshot)))
        };
        place.get_or_try_init(make).await.map(Arc::clone)
    }

    /// What a scope is told of changes, one after the other.
    pub(super) async fn told(
        &self,
        news: &[Arc<News>],
        scope: &Scope,
        encode: Option<Encode>,
    ) -> Result<Vec<Arc<Part>>, Error> {
        let mut told = Vec::new();
        for news in news {
            told.extend(news.told(scope, encode, &self.apart).await?);
        }
        Ok(told)
    }

    /// Looks until the drain.
    pub(super) async fn run(self: Arc<Self>, view: Arc<View>, database: Database, drain: CancellationToken) {
        let mut deltas = view.deltas();
        tokio::select! {
            () = view.loaded() => {}
            () = drain.cancelled() => return,
        }
        let Ok(mut before) = view.snapshot() else { return };
        let mut told_until = crate::services::now();
        let began = Beginning { instant: Instant::now(), time: told_until, revision: before.revision };
        let _ = self.began.set(began);
        tokio::spawn(Arc::clone(&self).learn(Arc::clone(&view), database, began, drain.clone()));
        loop {
            let due = due(before.flags.next_change(told_until), crate::services::now());
            let received = tokio::select! {
                received = deltas.recv() => Some(received),
                () = tokio::time::sleep(due) => None,
                () = drain.cancelled() => return,
            };
            let (after, mut change) = match received {
                None => (Arc::clone(&before), Change::default()),
                Some(first) => {
                    let Ok(after) = view.snapshot() else { continue };
                    let change = match gathered(first, &mut deltas, after.revision).await {
                        Ok(delta) => difference(&before, &after, &delta),
                        Err(RecvError::Lagged(_)) => Change::of_everything(&before, &after),
                        Err(RecvError::Closed) => return,
                    };
                    (after, change)
                }
            };
            let now = crate::services::now();
            add_by_time(&mut change, &before, &after, (told_until, now));
            told_until = now.max(told_until);
            before = after;
            self.tell(change);
        }
    }

    /// Finds out what changed before this replica was there: its clients may come from another one. Whoever is here already is
    /// told as of any other change.
    async fn learn(
        self: Arc<Self>,
        view: Arc<View>,
        database: Database,
        began: Beginning,
        drain: CancellationToken,
    ) {
        loop {
            let window = RECENT + SKEW + began.instant.elapsed();
            let told = tokio::select! {
                told = past::read(&database, window) => told,
                () = drain.cancelled() => return,
            };
            match told {
                Ok(told) => {
                    let Ok(snapshot) = view.snapshot() else { return };
                    self.tell(past::change(&told, &snapshot, began.time, RECENT));
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "what changed of flags before the start is not known yet; it is asked for again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LEARN_PAUSE) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    fn tell(&self, change: Change) {
        if change.is_empty() {
            return;
        }
        self.recent.remember(&change);
        // Nobody listening is no failure.
        let _ = self.changes.send(News::of(change));
    }
}

/// Whether the scope's tenant, or its tier, changed itself shortly before the beginning.
fn is_changed_itself(began: &Beginning, snapshot: &Snapshot, scope: &Scope) -> bool {
    scope.tenant.as_ref().is_some_and(|record| {
        let tenant = &record.tenant;
        let tier = snapshot.tier_of(record);
        began.missed(tenant.revision, tenant.update_time)
            || tier.is_some_and(|tier| began.missed(tier.revision, tier.update_time))
    })
}

/// How long until a moment.
fn due(moment: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(moment) = moment else { return WAIT_MAX };
    Duration::try_from(moment.duration_since(now)).unwrap_or_default().min(WAIT_MAX)
}

/// All that came into the view up to a revision, which is told of or will be in a moment: two states that are compared must
/// not be further apart, or closer, than what is said of them.
async fn gathered(
    first: Result<Arc<Delta>, RecvError>,
    deltas: &mut broadcast::Receiver<Arc<Delta>>,
    revision: Revision,
) -> Result<Delta, RecvError> {
    let mut gathered = first?.as_ref().clone();
    while gathered.revision < revision && gathered.extent != Extent::Replaced {
        gathered.extend(deltas.recv().await?.as_ref());
    }
    Ok(gathered)
}

/// What one step of the view changed.
fn difference(before: &Snapshot, after: &Snapshot, delta: &Delta) -> Change {
    // Another log, or an older state of it, was put in place; or nobody knows what changed.
    if before.history != after.history || delta.extent != Extent::Changes {
        return Change::of_everything(before, after);
    }
    let mut change = Change::default();
    let mut reached = Reached::default();
    for key in &delta.flags {
        if let Some(reach) = own_reach(key, before, after, delta) {
            reached.add(key.clone(), reach);
        }
    }
    let mut spread = reached.spread(&[&before.flags, &after.flags]);
    for key in &delta.flags {
        // Of what is not known why it changed everybody is told.
        let reach = spread.remove(key).unwrap_or(Reach::All);
        change.add(key, before, after, reach);
    }
    for (key, reach) in spread {
        change.add(&key, before, after, reach);
    }
    for tenant in &delta.tenants {
        add_tenant(&mut change, before, after, tenant);
    }
    if delta.tiers {
        add_tiers(&mut change, before, after);
    }
    change
}

/// Adds what time alone changed after a moment, up to another.
fn add_by_time(
    change: &mut Change,
    before: &Snapshot,
    after: &Snapshot,
    (from, until): (Timestamp, Timestamp),
) {
    let mut reached = Reached::default();
    for (key, whose) in after.flags.changed_by_time_alone(from, until) {
        reached.add(key, whose.map_or(Reach::All, |(tiers, tenants)| Reach::Some(tiers, tenants)));
    }
    for (key, reach) in reached.spread(&[&after.flags]) {
        change.add(&key, before, after, reach);
    }
}

/// Whom it concerns what changed of a flag itself; none where that is nothing.
fn own_reach(key: &FlagKey, before: &Snapshot, after: &Snapshot, delta: &Delta) -> Option<Reach> {
    let (was, is) = (&before.flags, &after.flags);
    // The flag itself, a segment that its rules use, or its file.
    if !is.has_same(was, key.as_str()) {
        return Some(Reach::All);
    }
    let tiers = different_tiers(key, before, after);
    let tenants = delta.overrides.get(key).cloned().unwrap_or_default();
    let is_same = tiers.is_empty() && tenants.is_empty();
    (!is_same).then_some(Reach::Some(tiers, tenants))
}

fn different_tiers(key: &FlagKey, before: &Snapshot, after: &Snapshot) -> BTreeSet<TierId> {
    let defaults = |snapshot: &Snapshot| -> BTreeMap<_, _> {
        let all = snapshot.flags.tier_defaults(key.as_str());
        all.map(|default| (default.tier.clone(), Arc::clone(default))).collect()
    };
    let (was, is) = (defaults(before), defaults(after));
    let is_same = |tier: &TierId| match (was.get(tier), is.get(tier)) {
        (Some(was), Some(is)) => Arc::ptr_eq(was, is),
        (was, is) => was.is_none() && is.is_none(),
    };
    was.keys().chain(is.keys()).filter(|tier| !is_same(tier)).cloned().collect()
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
    // What becomes of a client's attributes is not known here, so what asks for them counts as changed.
    let asking = after.flags.asking_callers(tenant.as_str());
    let (mut earlier, mut later) = (after.flags.answers(&was), after.flags.answers(&is));
    for key in after.flags.flags().map(|flag| flag.key()) {
        let mut differs = || earlier.of(key.as_str()).variant != later.of(key.as_str()).variant;
        if asking.contains(key) || differs() {
            change.add(key, before, after, Reach::tenant(tenant));
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
            change.add(flag.key(), before, after, Reach::tier(id));
        }
    }
}
