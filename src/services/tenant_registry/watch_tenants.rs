//! Watching tenants change.
//!
//! Level triggered: a watcher is sent each changed tenant as it is now. It can therefore never be sent too much for
//! its pace: what it missed is found again by revision in the newest snapshot.

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
use crate::view::{Record, Snapshot, View};

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
    /// Starts to watch.
    pub fn watch_tenants(
        &self,
        request: &WatchTenants,
    ) -> Result<mpsc::Receiver<Result<Watch, Error>>, Error> {
        let filter =
            Filter::parse(&request.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        // Subscribed before the snapshot is taken: what comes in between is told twice rather than never.
        let deltas = self.view.deltas();
        let snapshot = self.view.snapshot()?;
        let after = start(request, &snapshot)?;
        let (told, receiver) = mpsc::channel(WAITING_MAX);
        let view = Arc::clone(&self.view);
        let mut watcher = Watcher { told, view, filter, matching: BTreeSet::new(), seen: after };
        let initial = request.initial_snapshot;
        tokio::spawn(async move {
            // An error means that the watcher is gone or was told why it is cut.
            let _ = watcher.run(snapshot, deltas, initial).await;
        });
        Ok(receiver)
    }
}

fn start(request: &WatchTenants, snapshot: &Snapshot) -> Result<Revision, Error> {
    let Some(after) = request.after else { return Ok(snapshot.revision) };
    let refuse =
        |why: String| Error::invalid(Reason::InvalidRevision, vec![Violation::new("start_revision", why)]);
    if request.initial_snapshot {
        return Err(refuse("cannot be given together with initial_snapshot".to_owned()));
    }
    if after > snapshot.revision {
        return Err(refuse(format!("lies ahead of the log, which is at {}", snapshot.revision)));
    }
    if after < snapshot.compacted {
        return Err(Error::new(
            Reason::RevisionCompacted,
            format!("the log reaches back to revision {}; list, then watch from there", snapshot.compacted),
        )
        .with("compacted_revision", snapshot.compacted));
    }
    Ok(after)
}

/// The watcher is gone, or was cut.
struct Gone;

struct Watcher {
    told: Told,
    view: Arc<View>,
    filter: Filter,
    /// Which tenants it knows to match; only kept where there is a filter.
    matching: BTreeSet<TenantId>,
    seen: Revision,
}

impl Watcher {
    async fn run(
        &mut self,
        snapshot: Arc<Snapshot>,
        mut deltas: tokio::sync::broadcast::Receiver<Arc<crate::view::Delta>>,
        initial: bool,
    ) -> Result<(), Gone> {
        if initial {
            self.tell_initial(&snapshot).await?;
        } else {
            self.tell_changed(&snapshot, snapshot.tenants.values(), snapshot.revision).await?;
        }
        let mut bookmark = tokio::time::interval(BOOKMARK_INTERVAL);
        bookmark.tick().await;
        loop {
            let delta = tokio::select! {
                delta = deltas.recv() => delta,
                _ = bookmark.tick() => {
                    let Ok(snapshot) = self.view.snapshot() else { continue };
                    if snapshot.revision == self.seen {
                        self.tell(Watched::Bookmark, &snapshot).await?;
                    }
                    continue;
                }
                () = self.told.closed() => return Err(Gone),
            };
            let Ok(snapshot) = self.view.snapshot() else { continue };
            match delta {
                Ok(delta) if delta.revision <= self.seen => {}
                Ok(delta) => {
                    let records = delta.tenants.iter().filter_map(|id| snapshot.tenant(id));
                    self.tell_changed(&snapshot, records, delta.revision).await?;
                }
                // Too far behind: the snapshot itself says what is newer than what was told.
                Err(RecvError::Lagged(_)) => {
                    self.tell_changed(&snapshot, snapshot.tenants.values(), snapshot.revision).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn tell_initial(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Gone> {
        for record in snapshot.tenants.values() {
            if self.is_shown(record) {
                self.remember(record, true);
                self.tell(Watched::Initial(Arc::clone(record)), snapshot).await?;
            }
        }
        self.seen = snapshot.revision;
        self.tell(Watched::InitialEnd, snapshot).await
    }

    /// Tells the records that are newer than what was told, up to `until`, oldest change first, so that the revision
    /// told with each can be resumed from. What changed again after `until` is told with that change.
    async fn tell_changed<'a>(
        &mut self,
        snapshot: &Arc<Snapshot>,
        records: impl Iterator<Item = &'a Arc<Record>>,
        until: Revision,
    ) -> Result<(), Gone> {
        let is_due = |record: &&Arc<Record>| record.revision() > self.seen && record.revision() <= until;
        let mut newer: Vec<&Arc<Record>> = records.filter(is_due).collect();
        newer.sort_unstable_by_key(|record| record.revision());
        newer.dedup_by_key(|record| record.revision());
        for record in newer {
            let shown = self.is_shown(record);
            let known = self.remember(record, shown);
            self.seen = record.revision();
            if shown {
                self.tell(Watched::Changed(Arc::clone(record)), snapshot).await?;
            } else if known || record.tenant.status == Status::Deleted {
                self.tell(Watched::Removed(Arc::clone(record)), snapshot).await?;
            }
        }
        self.seen = until;
        Ok(())
    }

    fn is_shown(&self, record: &Record) -> bool {
        record.tenant.status != Status::Deleted && self.filter.matches(record)
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
