//! The follower: reads what changed since the last revision and publishes the next snapshot.
//!
//! Each look is one repeatable-read transaction: the head, then the rows of every table that changed after the last
//! revision. The head lock makes revisions dense and in commit order, so nothing can appear behind it later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::reading::{read, read_again};
use super::{Extent, Snapshot, View};
use crate::domain::ids::Revision;
use crate::store::connect::Database;
use crate::store::{Error, log};

/// The pause before another attempt to reach the database.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How often rows that could not be read are looked at again: whoever repairs one need not change its revision.
const RETRY: Duration = Duration::from_secs(2);
/// How often is told that it still cannot be reached.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// A look at the changes since the last one may take as long as this; the first, which reads everything, may take
/// as long as it takes.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What that grows to where looks fail.
const LOOK_MAX_AT_LAST: Duration = Duration::from_mins(2);

/// Follows the log into `view` until `stop`. Looks every `poll_interval`, and at once when told of a change: by
/// `unread`, which carries those of this replica that the view could not take in by itself, or by a notification of
/// another replica.
pub async fn follow(
    view: Arc<View>,
    database: Database,
    mut unread: watch::Receiver<Revision>,
    poll_interval: Duration,
    stop: CancellationToken,
) {
    let told = Arc::new(Notify::new());
    let mut client: Option<Client> = None;
    let mut retried = Instant::now();
    let mut trouble = Trouble::default();
    let mut look_max = LOOK_MAX;
    loop {
        let look = async {
            let connected = match client.take() {
                Some(connected) if !connected.is_closed() => connected,
                _ => tokio::time::timeout(LOOK_MAX, connect(&view, &database, &told))
                    .await
                    .unwrap_or_else(|_| Err(Error::Unreachable("no connection in time".to_owned())))?,
            };
            let connected = client.insert(connected);
            let limit = if view.is_loaded() { look_max } else { Duration::MAX };
            tokio::time::timeout(limit, look(&view, connected, &mut retried, &told))
                .await
                .unwrap_or_else(|_| Err(Error::Unreachable("the database did not answer in time".to_owned())))
        };
        let result = tokio::select! {
            result = look => result,
            () = stop.cancelled() => return,
        };
        let pause = match result {
            Ok(read_only) => {
                view.read_only.store(read_only, Ordering::Relaxed);
                view.heard();
                trouble.end();
                look_max = LOOK_MAX;
                poll_interval
            }
            Err(error) => {
                view.read_only.store(matches!(error, Error::ReadOnly(_)), Ordering::Relaxed);
                trouble.tell(&error);
                // There may just be that much to read.
                look_max = (look_max * 2).min(LOOK_MAX_AT_LAST);
                client = None;
                RECONNECT_PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told.notified() => {}
            changed = unread.changed() => if changed.is_err() { tokio::time::sleep(pause).await },
            () = stop.cancelled() => return,
        }
    }
}

/// What keeps the view from following, told once and then now and again: it is tried several times a second.
#[derive(Default)]
struct Trouble {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, error: &Error) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
            self.told = Some(Instant::now());
            let seconds = since.elapsed().as_secs();
            tracing::warn!(error = %error, seconds, "the view cannot follow the log; it is tried again and again");
        }
    }

    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.told = None;
            tracing::info!(seconds = since.elapsed().as_secs(), "the view follows the log again");
        }
    }
}

async fn connect(view: &Arc<View>, database: &Database, told: &Arc<Notify>) -> Result<Client, Error> {
    let (view, told) = (Arc::clone(view), Arc::clone(told));
    let news = move |payload: &str| {
        // This replica's own changes are told to it as well, and by then it mostly has them.
        if log::notified(payload).is_none_or(|newest| !view.has(newest)) {
            told.notify_one();
        }
    };
    let client = database.dedicated(news).await?;
    // A hint only: where it cannot be had (some poolers, some databases), polling is the truth.
    if let Err(error) = log::listen(&client).await {
        tracing::info!(error = %error, "no notifications; following by polling alone");
    }
    Ok(client)
}

/// Looks once; answers whether the database takes no writes. `again` is told where there is more to read.
async fn look(view: &View, client: &Client, retried: &mut Instant, again: &Notify) -> Result<bool, Error> {
    let previous = view.snapshot().ok();
    let head = log::head(client, previous.as_ref().map_or(Revision::ZERO, |seen| seen.revision)).await?;
    let is_retry = previous.as_ref().is_some_and(|snapshot| !snapshot.unreadable.is_empty())
        && retried.elapsed() >= RETRY;
    // Another log, or an older state of it, was put in place (a restore, a standby that lagged): start over. Its number
    // alone does not tell: it may have come further since than the one before.
    let base = match previous {
        Some(seen) if seen.is_of(head.epoch, head.seen) && seen.revision <= head.revision => seen,
        previous => return load(view, client, &head, previous).await,
    };
    let is_seen = base.revision == head.revision;
    if is_seen && !is_retry {
        return Ok(head.read_only);
    }
    let Some((mut snapshot, mut delta)) = read(view, client, Some(&*base), &head).await? else {
        // What was removed cannot be told from an entry that cannot be read: what is left can be.
        return load(view, client, &head, Some(base)).await;
    };
    if is_retry {
        read_again(view, client, &mut snapshot, &mut delta).await?;
        *retried = Instant::now();
    }
    if is_seen && snapshot.unreadable == base.unreadable {
        return Ok(head.read_only);
    }
    if !view.advance(&base, snapshot, delta) {
        again.notify_one();
    }
    Ok(head.read_only)
}

/// Reads everything; answers as [`look`].
async fn load(
    view: &View,
    client: &Client,
    head: &log::Head,
    previous: Option<Arc<Snapshot>>,
) -> Result<bool, Error> {
    let started = Instant::now();
    let Some((mut snapshot, mut delta)) = read(view, client, None, head).await? else {
        return Ok(head.read_only);
    };
    if let Some(previous) = previous {
        let is_replaced = !previous.is_of(head.epoch, head.seen) || head.revision < previous.revision;
        delta.extent = if is_replaced { Extent::Replaced } else { Extent::Everything };
        snapshot.history = previous.history + u64::from(is_replaced);
        snapshot.began = if is_replaced { snapshot.revision } else { previous.began };
        if is_replaced {
            tracing::error!(
                served = previous.revision.get(),
                found = head.revision.get(),
                "the database is not the one that was followed: it was set back to an earlier state, or replaced, and \
                 changes that were acknowledged are lost; everything is read again, and whoever watches begins again"
            );
        }
    }
    tracing::info!(
        tenants = snapshot.tenants.len(),
        revision = snapshot.revision.get(),
        milliseconds = started.elapsed().as_millis(),
        "the view is loaded"
    );
    view.start_over(snapshot, delta);
    Ok(head.read_only)
}
