//! The follower: reads what changed since the last revision and publishes the next snapshot.
//!
//! Each look is one repeatable-read transaction: the head, then the rows of every table that changed after the last
//! revision. The head lock makes revisions dense and in commit order, so nothing can appear behind it later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::snapshot::Snapshot;
use super::{Delta, View};
use crate::domain::bulk::Bulk;
use crate::domain::event::Event;
use crate::domain::flag::{CompiledFlags, Flag, FlagFile, Segment, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, OperationId, Revision};
use crate::domain::operation::Operation;
use crate::domain::target::TargetControl;
use crate::store::connect::Database;
use crate::store::{Error, bulks, flags, log, operations, targets, tenants, tiers};

/// The pause before another attempt to reach the database.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// A look at the changes since the last one may take as long as this; the first, which reads everything, may take
/// as long as it takes.
const LOOK_MAX: Duration = Duration::from_secs(10);

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
    loop {
        let look = async {
            let connected = match client.take() {
                Some(connected) if !connected.is_closed() => connected,
                _ => tokio::time::timeout(LOOK_MAX, connect(&view, &database, &told))
                    .await
                    .unwrap_or_else(|_| Err(Error::Unreachable("no connection in time".to_owned())))?,
            };
            let connected = client.insert(connected);
            let limit = if view.is_loaded() { LOOK_MAX } else { Duration::MAX };
            tokio::time::timeout(limit, look(&view, connected))
                .await
                .unwrap_or_else(|_| Err(Error::Unreachable("the database did not answer in time".to_owned())))
        };
        let result = tokio::select! {
            result = look => result,
            () = stop.cancelled() => return,
        };
        let pause = match result {
            Ok(()) => {
                view.heard();
                poll_interval
            }
            Err(error) => {
                tracing::warn!(error = %error, "the view could not follow the log");
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

/// Looks once.
async fn look(view: &View, client: &Client) -> Result<(), Error> {
    let previous = view.snapshot().ok();
    let head = log::head(client).await?;
    if previous
        .as_ref()
        .is_some_and(|snapshot| snapshot.epoch == head.epoch && snapshot.revision == head.revision)
    {
        return Ok(());
    }
    // Another log, or an older state of it, was put in place (a restore): start over.
    let base = previous.filter(|snapshot| snapshot.epoch == head.epoch && snapshot.revision <= head.revision);
    let started = Instant::now();
    let (snapshot, delta) = read(view, client, base.as_deref(), &head).await?;
    if base.is_some() {
        view.advance(snapshot, delta);
    } else {
        tracing::info!(
            tenants = snapshot.tenants.len(),
            revision = snapshot.revision.get(),
            milliseconds = started.elapsed().as_millis(),
            "the view is loaded"
        );
        view.start_over(snapshot, delta);
    }
    Ok(())
}

/// What changed, and the youngest that was not read.
type ReadOperations = (Vec<Operation>, Option<OperationId>);

/// Operations that changed since `base`; at first, those that the view keeps.
async fn read_operations(
    view: &View,
    client: &Client,
    base: Option<&Snapshot>,
) -> Result<ReadOperations, Error> {
    match base {
        Some(base) => Ok((operations::operations_changed_after(client, base.revision).await?, None)),
        None => operations::operations_at_hand(client, view.ended_operations).await,
    }
}

fn take_operations(next: &mut Snapshot, delta: &mut Delta, (changed, left_out): ReadOperations) {
    next.operations.leave_out(left_out);
    for operation in changed {
        delta.operations.push(operation.operation_id);
        next.take_operation(operation);
    }
}

fn take_controls(next: &mut Snapshot, controls: Vec<TargetControl>, bulks: Vec<Bulk>) {
    for control in controls {
        next.take_target(control);
    }
    for bulk in bulks {
        next.take_bulk(bulk);
    }
}

fn take_removals(next: &mut Snapshot, delta: &mut Delta, removals: &[Event]) {
    for event in removals {
        if let Event::TenantPurged { tenant, .. } = event {
            delta.tenants.push(tenant.tenant_id.clone());
        }
        next.take_removal(event);
    }
}

/// Reads what changed since `base`, as of a moment at or after `expected`.
async fn read(
    view: &View,
    client: &Client,
    base: Option<&Snapshot>,
    expected: &log::Head,
) -> Result<(Snapshot, Delta), Error> {
    let after = base.map_or(Revision::ZERO, |base| base.revision);
    let mut next = base.map_or_else(
        || Snapshot::empty(expected.epoch, expected.page_key, view.ended_operations),
        Clone::clone,
    );
    // Straight into the map: on the first load there may be a million.
    let (mut tenants, mut claims) = (std::mem::take(&mut next.tenants), std::mem::take(&mut next.claims));
    let mut changed_tenants = Vec::new();
    let mut reports = Vec::new();
    // One pipeline, one round trip: all statements are sent, in this order, before the first answer.
    let ((), head, removals, changed_tiers, segments, changed_flags, defaults, overrides, more, ..) = tokio::try_join!(
        biased;
        log::begin_reading(client),
        log::head(client),
        async { if base.is_some() { log::removals_after(client, after).await } else { Ok(Vec::new()) } },
        tiers::tiers_changed_after(client, after),
        flags::segments_changed_after(client, after),
        flags::flags_changed_after(client, after),
        flags::tier_defaults_changed_after(client, after),
        flags::tenant_overrides_changed_after(client, after),
        async {
            tokio::try_join!(
                biased;
                read_operations(view, client, base),
                targets::targets_changed_after(client, after),
                bulks::bulks_changed_after(client, after),
                flags::files_changed_after(client, after),
            )
        },
        tenants::tenants_changed_after(client, after, |mut tenant| {
            tenant.share(&mut view.texts());
            if base.is_some() {
                changed_tenants.push(tenant.tenant_id.clone());
            }
            Snapshot::insert_tenant(&mut tenants, &mut claims, tenant);
        }),
        tenants::health_changed_after(client, after, |health| reports.push(health)),
        log::end_reading(client),
    )?;
    if head.epoch != expected.epoch || head.revision < expected.revision {
        return Err(Error::Unreachable("another log was put in place while it was read".to_owned()));
    }
    next = next.successor(head.revision, head.compacted);
    let mut delta = Delta { revision: head.revision, ..Delta::default() };
    (next.tenants, next.claims) = (tenants, claims);
    take_removals(&mut next, &mut delta, &removals);
    for tier in changed_tiers {
        next.take_tier(tier);
    }
    let (changed_operations, controls, changed_bulks, files) = more;
    let rows = FlagRows { files, segments, flags: changed_flags, defaults, overrides };
    let touched = base.map(|base| rows.touched(&base.flags, &removals)).unwrap_or_default();
    rows.put_into(&mut next);
    if let Some(base) = base {
        delta.flags = base.flags.affected_by(touched.iter().cloned());
        delta.flags.extend(next.flags.affected_by(touched));
    }
    take_operations(&mut next, &mut delta, changed_operations);
    delta.targets = !controls.is_empty();
    take_controls(&mut next, controls, changed_bulks);
    if base.is_some() {
        delta.tenants.extend(changed_tenants);
        delta.tenants.extend(reports.iter().map(|health| health.tenant_id.clone()));
    }
    for health in reports {
        next.take_health(health);
    }
    Ok((next, delta))
}

/// What changed of flags.
struct FlagRows {
    files: Vec<FlagFile>,
    segments: Vec<Segment>,
    flags: Vec<Flag>,
    defaults: Vec<TierDefault>,
    overrides: Vec<TenantOverride>,
}

impl FlagRows {
    /// The flags that these rows and removals are about, given the flags before them.
    fn touched(&self, before: &CompiledFlags, removals: &[Event]) -> BTreeSet<FlagKey> {
        let mut keys: BTreeSet<_> = self.flags.iter().map(|flag| flag.key().clone()).collect();
        keys.extend(self.defaults.iter().map(|default| default.flag.clone()));
        keys.extend(self.overrides.iter().map(|own| own.flag.clone()));
        let users =
            |name: &str| before.users_of_segment(name).map(|flag| flag.key().clone()).collect::<Vec<_>>();
        for segment in &self.segments {
            keys.extend(users(segment.settings.name.as_str()));
        }
        for file in &self.files {
            keys.extend(before.flags_of_file(&file.name).map(|flag| flag.key().clone()));
        }
        for event in removals {
            match event {
                Event::TierDeleted { tier_id } => {
                    let has = |flag: &&Arc<Flag>| {
                        before.tier_defaults(flag.key().as_str()).any(|default| default.tier == *tier_id)
                    };
                    keys.extend(before.flags().filter(has).map(|flag| flag.key().clone()));
                }
                Event::FlagDeleted { flag_key }
                | Event::TierDefaultCleared { flag_key, .. }
                | Event::TenantOverrideCleared { flag_key, .. } => drop(keys.insert(flag_key.clone())),
                Event::SegmentDeleted { segment_name } => keys.extend(users(segment_name.as_str())),
                Event::FlagsApplied { set } => {
                    keys.extend(set.flags_deleted.iter().cloned());
                    keys.extend(set.tier_defaults_cleared.iter().map(|(flag_key, _)| flag_key.clone()));
                    keys.extend(set.segments_deleted.iter().flat_map(|name| users(name.as_str())));
                }
                _ => {}
            }
        }
        keys
    }

    /// Segments and files first: rules are compiled with them.
    fn put_into(self, snapshot: &mut Snapshot) {
        for file in self.files {
            snapshot.take_file(file);
        }
        snapshot.take_segments(self.segments);
        for flag in self.flags {
            snapshot.take_flag(flag);
        }
        for default in self.defaults {
            snapshot.take_tier_default(default);
        }
        for own in self.overrides {
            snapshot.take_override(own);
        }
    }
}
