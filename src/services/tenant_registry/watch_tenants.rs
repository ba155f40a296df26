//! Watching tenants change.
//!
//! Level triggered: a watcher is sent each changed tenant as it is now. It can therefore never be sent too much for
//! its pace: what it missed is found again by revision in the newest snapshot. A change of a tier is one of each tenant
//! on it, because a tenant is shown with what it has from its tier.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::domain::error::{Error, Reason, invalid_filter};
use crate::domain::filter::Filter;
use crate::domain::filter::tenant::SCHEMA;
use crate::domain::ids::{Revision, TenantId};
use crate::domain::lifecycle::Status;
use crate::domain::violation::Violation;
use crate::services::Registry;
use crate::view::{Record, Row, Snapshot, View};

/// How often a watcher hears where the log stands.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);
/// What may wait for a watcher.
const WAITING_MAX: usize = 256;

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchTenants {
    /// What changed after this revision; `None` for from now on.
    pub after: Option<Revision>,
    /// All tenants first.
    pub initial_snapshot: bool,
    /// Only tenants that match.
    pub filter: String,
}

/// One thing a watcher is told.
#[derive(Debug, Clone)]
pub struct Watch {
    /// What it is.
    pub what: Watched,
    /// Everything up to this revision has been told.
    pub revision: Revision,
    /// Of this snapshot.
    pub snapshot: Arc<Snapshot>,
}

/// What a watcher is told.
#[derive(Debug, Clone)]
pub enum Watched {
    /// Part of the initial snapshot.
    Initial(Arc<Record>),
    /// The initial snapshot is complete.
    InitialEnd,
    /// Made or changed.
    Changed(Arc<Record>),
    /// Deleted, or no longer matching.
    Removed(Arc<Record>),
    /// Nothing but the revision.
    Bookmark,
}

/// What goes to the watcher.
type Told = mpsc::Sender<Result<Watch, Error>>;

impl Registry {
    /// Starts to watch. A revision that only this replica has not come to is waited for.
    pub async fn watch_tenants(
        &self,
        request: &WatchTenants,
    ) -> Result<mpsc::Receiver<Result<Watch, Error>>, Error> {
        let filter =
            Filter::parse(&request.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        let from = Begin::of(request)?;
        if let Begin::Revision(after) = from {
            self.reach("start_revision", after).await?;
        }
        // Subscribed before the snapshot is taken: what comes in between is told twice rather than never.
        let deltas = self.view.deltas();
        let snapshot = self.view.snapshot()?;
        let seen = from.seen(&snapshot)?;
        let (told, receiver) = mpsc::channel(WAITING_MAX);
        let view = Arc::clone(&self.view);
        let history = snapshot.history;
        let filter = Arc::new(filter);
        let mut watcher = Watcher { told, view, filter, matching: BTreeSet::new(), seen, history };
        tokio::spawn(async move {
            // An error means that the watcher is gone or was told why it is cut.
            let _ = watcher.run(snapshot, deltas, from).await;
        });
        Ok(receiver)
    }
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// Now.
    Now,
    /// With everything there is.
    Everything,
    /// Behind this revision.
    Revision(Revision),
}

impl Begin {
    fn of(request: &WatchTenants) -> Result<Self, Error> {
        match (request.after, request.initial_snapshot) {
            (None, false) => Ok(Self::Now),
            (None, true) => Ok(Self::Everything),
            (Some(after), false) => Ok(Self::Revision(after)),
            (Some(_), true) => {
                let why = "cannot be given together with initial_snapshot";
                Err(Error::invalid(Reason::InvalidRevision, vec![Violation::new("start_revision", why)]))
            }
        }
    }

    /// Up to where the watcher has seen everything.
    fn seen(self, snapshot: &Snapshot) -> Result<Revision, Error> {
        match self {
            Self::Now | Self::Everything => Ok(snapshot.revision),
            Self::Revision(after) if after < snapshot.compacted => Err(Error::new(
                Reason::RevisionCompacted,
                format!(
                    "the log reaches back to revision {}; list, then watch from there",
                    snapshot.compacted
                ),
            )
            .with("compacted_revision", snapshot.compacted)),
            Self::Revision(after) if after < snapshot.began => Err(View::replaced()),
            Self::Revision(after) => Ok(after),
        }
    }
}

/// What a watcher may know of tenants that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Those that matched when it was told of them last.
    Matching,
    /// Any: what matched at the revision it begins behind is no longer known.
    Any,
}

/// The watcher is gone, or was cut.
struct Gone;

struct Watcher {
    told: Told,
    view: Arc<View>,
    filter: Arc<Filter>,
    /// Which tenants it knows to match; only kept where there is a filter.
    matching: BTreeSet<TenantId>,
    seen: Revision,
    /// Of the snapshot that it began with: what was told must still be so.
    history: u64,
}

impl Watcher {
    async fn run(
        &mut self,
        snapshot: Arc<Snapshot>,
        mut deltas: tokio::sync::broadcast::Receiver<Arc<crate::view::Delta>>,
        from: Begin,
    ) -> Result<(), Gone> {
        self.note_matching(&snapshot).await?;
        match from {
            Begin::Now => {}
            Begin::Everything => self.tell_initial(&snapshot).await?,
            Begin::Revision(_) => {
                self.tell_changed(&snapshot, snapshot.rows(), snapshot.revision, Known::Any).await?;
            }
        }
        let mut bookmark = tokio::time::interval(BOOKMARK_INTERVAL);
        bookmark.tick().await;
        loop {
            let delta = tokio::select! {
                delta = deltas.recv() => delta,
                _ = bookmark.tick() => {
                    let Ok(snapshot) = self.view.snapshot() else { continue };
                    if snapshot.revision == self.seen && snapshot.history == self.history {
                        self.tell(Watched::Bookmark, &snapshot).await?;
                    }
                    continue;
                }
                () = self.told.closed() => return Err(Gone),
            };
            let Ok(snapshot) = self.view.snapshot() else { continue };
            if snapshot.history != self.history {
                // Tenants may be gone of which nothing says so, and revisions mean something else.
                let _ = self.told.send_timeout(Err(View::replaced()), self.view.slow_reader_after()).await;
                return Err(Gone);
            }
            match delta {
                Ok(delta) if delta.revision <= self.seen => {}
                Ok(delta) if delta.tiers => {
                    self.tell_changed(&snapshot, snapshot.rows(), delta.revision, Known::Matching).await?;
                }
                Ok(delta) => {
                    let records = delta.tenants.iter().filter_map(|id| snapshot.tenant(id));
                    let rows = records.map(|record| snapshot.row(record));
                    self.tell_changed(&snapshot, rows, delta.revision, Known::Matching).await?;
                }
                // Too far behind: the snapshot itself says what is newer than what was told.
                Err(RecvError::Lagged(_)) => {
                    let until = snapshot.revision;
                    self.tell_changed(&snapshot, snapshot.rows(), until, Known::Matching).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Notes which tenants match where the watch begins, so that it can tell when one stops to.
    async fn note_matching(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Gone> {
        if self.filter.is_all() {
            return Ok(());
        }
        let (filter, snapshot) = (Arc::clone(&self.filter), Arc::clone(snapshot));
        // There may be a million to look at.
        let found = tokio::task::spawn_blocking(move || {
            let shown = snapshot.rows().filter(|row| is_shown(row, &filter));
            shown.map(|row| row.record.tenant.tenant_id.clone()).collect()
        });
        self.matching = found.await.map_err(|_| Gone)?;
        Ok(())
    }

    async fn tell_initial(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Gone> {
        for row in snapshot.rows() {
            if is_shown(&row, &self.filter) {
                self.tell(Watched::Initial(Arc::clone(row.record)), snapshot).await?;
            }
        }
        self.tell(Watched::InitialEnd, snapshot).await
    }

    /// Tells the rows that are newer than what was told, up to `until`, oldest change first, so that the revision told
    /// with each can be resumed from. What changed again after `until` is told with that change.
    async fn tell_changed<'a>(
        &mut self,
        snapshot: &Arc<Snapshot>,
        rows: impl Iterator<Item = Row<'a>>,
        until: Revision,
        known: Known,
    ) -> Result<(), Gone> {
        let due = rows.map(|row| (row.revision(), row));
        let mut due: Vec<_> = due.filter(|(at, _)| *at > self.seen && *at <= until).collect();
        due.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
        due.dedup_by(|a, b| place(a) == place(b));
        for (index, (at, row)) in due.iter().enumerate() {
            let shown = is_shown(row, &self.filter);
            let was_known = self.remember(row.record, shown) || known == Known::Any;
            // The tenants of a tier change with it, at one revision: only with the last of them all is told up to there.
            if due.get(index + 1).is_none_or(|(next, _)| next > at) {
                self.seen = *at;
            }
            if shown {
                self.tell(Watched::Changed(Arc::clone(row.record)), snapshot).await?;
            } else if was_known || row.record.tenant.status == Status::Deleted {
                self.tell(Watched::Removed(Arc::clone(row.record)), snapshot).await?;
            }
        }
        self.seen = until;
        Ok(())
    }

    /// Remembers whether a tenant matches; answers whether it may have matched before, as far as the watcher knows.
    fn remember(&mut self, record: &Record, matches: bool) -> bool {
        if self.filter.is_all() {
            return true;
        }
        if matches {
            !self.matching.insert(record.tenant.tenant_id.clone())
        } else {
            self.matching.remove(&record.tenant.tenant_id)
        }
    }

    async fn tell(&mut self, what: Watched, snapshot: &Arc<Snapshot>) -> Result<(), Gone> {
        let watch = Watch { what, revision: self.seen, snapshot: Arc::clone(snapshot) };
        if let Ok(()) = self.told.send_timeout(Ok(watch), self.view.slow_reader_after()).await {
            Ok(())
        } else {
            let (error, patience) = (self.view.slow_reader(), self.view.slow_reader_after());
            // It will find this behind what waits for it, if it ever reads on.
            let told = self.told.clone();
            tokio::spawn(async move {
                let _ = told.send_timeout(Err(error), patience).await;
            });
            Err(Gone)
        }
    }
}

fn is_shown(row: &Row<'_>, filter: &Filter) -> bool {
    row.record.tenant.status != Status::Deleted && filter.matches(row)
}

/// The place of a change among those that are told at once.
fn place<'a>((at, row): &(Revision, Row<'a>)) -> (Revision, &'a TenantId) {
    (*at, &row.record.tenant.tenant_id)
}
