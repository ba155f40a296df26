//! Reads what changed since a snapshot, and makes the next one of it.
//!
//! A row that cannot be read (of a newer version of the program, or changed by hand) keeps nobody from reading the others:
//! what it was before stays, it is told once in the log and counted, and looked at again until it can be read.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use tokio_postgres::Client;

use super::snapshot::{Claims, Record, Snapshot};
use super::{Delta, View};
use crate::domain::bulk::Bulk;
use crate::domain::event::Event;
use crate::domain::flag::{CompiledFlags, Flag, FlagFile, Segment, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, OperationId, Revision, TargetName, TenantId};
use crate::domain::operation::Operation;
use crate::domain::target::TargetControl;
use crate::domain::tenant::Health;
use crate::domain::tier::Tier;
use crate::store::reading::{Found, Range, Unreadable};
use crate::store::{Error, bulks, flags, log, operations, targets, targets_reached, tenants, tiers};

/// Most changes whose rows are looked at again at once.
const RETRIED_MAX: usize = 20;

/// Rows of every table, but for tenants, which go straight into their map: on the first load there may be a million.
#[derive(Default)]
struct Rows {
    tiers: Vec<Tier>,
    flags: FlagRows,
    operations: Vec<Operation>,
    /// The youngest operation that was not read, at first.
    left_out: Option<OperationId>,
    /// At first, the targets that operations reached, also those that were not read.
    reached: Vec<TargetName>,
    controls: Vec<TargetControl>,
    bulks: Vec<Bulk>,
    tenants: Vec<TenantId>,
    reports: Vec<Health>,
    unreadable: Vec<Unreadable>,
}

impl Rows {
    fn take<T>(unreadable: &mut Vec<Unreadable>, found: Found<T>) -> Vec<T> {
        unreadable.extend(found.unreadable);
        found.rows
    }
}

/// Reads what changed since `base`, as of a moment at or after `expected`. Nothing where what was removed since cannot
/// be read.
pub(super) async fn read(
    view: &View,
    client: &Client,
    base: Option<&Snapshot>,
    expected: &log::Head,
) -> Result<Option<(Snapshot, Delta)>, Error> {
    let after = base.map_or(Revision::ZERO, |base| base.revision);
    let mut next = base.map_or_else(
        || Snapshot::empty(expected.epoch, expected.page_key, view.ended_operations),
        Clone::clone,
    );
    let mut tenants = (std::mem::take(&mut next.tenants), std::mem::take(&mut next.claims));
    // One pipeline, one round trip: all statements are sent, in this order, before the first answer.
    let ((), head, removals, rows, ()) = tokio::try_join!(
        biased;
        log::begin_reading(client),
        log::head(client, after),
        async {
            match base {
                Some(_) => log::removals_after(client, after).await,
                None => Ok(Found { rows: Vec::new(), unreadable: Vec::new() }),
            }
        },
        rows(view, client, base.is_none(), Range::after(after), &mut tenants),
        log::end_reading(client),
    )?;
    let is_other = head.epoch != expected.epoch || head.revision < expected.revision;
    if is_other || base.is_some_and(|base| !base.is_of(head.epoch, head.seen)) {
        return Err(Error::Unreachable("another log was put in place while it was read".to_owned()));
    }
    for entry in &removals.unreadable {
        tell(entry);
    }
    if !removals.unreadable.is_empty() {
        return Ok(None);
    }
    next = next.successor(head.revision, head.newest, head.compacted);
    (next.tenants, next.claims) = tenants;
    let mut delta = Delta { revision: head.revision, ..Delta::default() };
    take_removals(&mut next, &mut delta, &removals.rows);
    put(rows, &removals.rows, base.map(|base| &base.flags), &mut next, &mut delta);
    Ok(Some((next, delta)))
}

/// Looks again at rows that could not be read, where the change that left them still stands.
pub(super) async fn read_again(
    view: &View,
    client: &Client,
    next: &mut Snapshot,
    delta: &mut Delta,
) -> Result<(), Error> {
    let revisions: BTreeSet<Revision> = next.unreadable.values().map(|row| row.revision).collect();
    for revision in revisions.into_iter().take(RETRIED_MAX) {
        let mut tenants = (std::mem::take(&mut next.tenants), std::mem::take(&mut next.claims));
        let rows = rows(view, client, false, Range::of(revision), &mut tenants).await;
        (next.tenants, next.claims) = tenants;
        let rows = rows?;
        let still: BTreeSet<_> = rows.unreadable.iter().map(|row| (row.table, row.key.clone())).collect();
        let before: Vec<_> =
            next.unreadable.iter().map(|(place, row)| (place.clone(), Arc::clone(row))).collect();
        for (place, row) in before {
            if row.revision == revision && !still.contains(&place) {
                tracing::info!(table = row.table, key = row.key, "a row can be read again");
                next.unreadable.remove(&place);
            }
        }
        let flags = next.flags.clone();
        put(rows, &[], Some(&flags), next, delta);
    }
    Ok(())
}

/// Reads the rows of a range; at first, of operations only those that the view keeps.
async fn rows(
    view: &View,
    client: &Client,
    is_first: bool,
    range: Range,
    (by_id, claims): &mut (OrdMap<TenantId, Arc<Record>>, Claims),
) -> Result<Rows, Error> {
    let mut rows = Rows::default();
    let Rows { tenants: changed, reports, .. } = &mut rows;
    let (tiers, segments, flags, defaults, overrides, more, unread_tenants, unread_reports) = tokio::try_join!(
        biased;
        tiers::tiers_changed_after(client, range),
        flags::segments_changed_after(client, range),
        flags::flags_changed_after(client, range),
        flags::tier_defaults_changed_after(client, range),
        flags::tenant_overrides_changed_after(client, range),
        async {
            tokio::try_join!(
                biased;
                read_operations(view, client, is_first, range),
                targets::targets_changed_after(client, range),
                bulks::bulks_changed_after(client, range),
                flags::files_changed_after(client, range),
            )
        },
        tenants::tenants_changed_after(client, range, |mut tenant| {
            tenant.share(&mut view.texts());
            if !is_first {
                changed.push(tenant.tenant_id.clone());
            }
            Snapshot::insert_tenant(by_id, claims, tenant);
        }),
        tenants::health_changed_after(client, range, |health| reports.push(health)),
    )?;
    let mut unreadable = unread_tenants;
    unreadable.extend(unread_reports);
    let all = &mut unreadable;
    let (operations, controls, bulks, files) = more;
    rows.tiers = Rows::take(all, tiers);
    rows.flags = FlagRows {
        files: Rows::take(all, files),
        segments: Rows::take(all, segments),
        flags: Rows::take(all, flags),
        defaults: Rows::take(all, defaults),
        overrides: Rows::take(all, overrides),
    };
    let (operations, left_out, reached) = operations;
    rows.operations = Rows::take(all, operations);
    rows.left_out = left_out;
    rows.reached = reached;
    rows.controls = Rows::take(all, controls);
    rows.bulks = Rows::take(all, bulks);
    rows.unreadable = unreadable;
    Ok(rows)
}

/// Operations of a range; at first only those that the view keeps, and the youngest of the others, and the targets that any
/// reached.
async fn read_operations(
    view: &View,
    client: &Client,
    is_first: bool,
    range: Range,
) -> Result<(Found<Operation>, Option<OperationId>, Vec<TargetName>), Error> {
    if is_first {
        let ((operations, left_out), reached) = tokio::try_join!(
            biased;
            operations::operations_at_hand(client, view.ended_operations),
            targets_reached::targets_reached(client),
        )?;
        return Ok((operations, left_out, reached));
    }
    Ok((operations::operations_changed_after(client, range).await?, None, Vec::new()))
}

/// Puts rows into a snapshot. Without the flags before them there is nobody to tell of what changed.
fn put(
    rows: Rows,
    removals: &[Event],
    before: Option<&CompiledFlags>,
    next: &mut Snapshot,
    delta: &mut Delta,
) {
    for row in rows.unreadable {
        let place = (row.table, row.key.clone());
        if next.unreadable.get(&place).is_none_or(|known| known.why != row.why) {
            tell(&row);
        }
        next.unreadable.insert(place, Arc::new(row));
    }
    delta.tiers |= !rows.tiers.is_empty();
    for tier in rows.tiers {
        next.take_tier(tier);
    }
    let touched = before.map(|before| rows.flags.touched(before, removals)).unwrap_or_default();
    let overridden = rows.flags.overridden(removals);
    rows.flags.put_into(next);
    if let Some(before) = before {
        for (flag, tenant) in overridden {
            delta.overrides.entry(flag).or_default().insert(tenant);
        }
        delta.flags.extend(before.affected_by(touched.iter().cloned()));
        delta.flags.extend(next.flags.affected_by(touched));
        delta.tenants.extend(rows.tenants);
        delta.tenants.extend(rows.reports.iter().map(|health| health.tenant_id.clone()));
    }
    next.operations.leave_out(rows.left_out);
    next.operations.reached(rows.reached);
    for operation in rows.operations {
        delta.operations.push(operation.operation_id);
        next.take_operation(operation);
    }
    delta.targets |= !rows.controls.is_empty();
    for control in rows.controls {
        next.take_target(control);
    }
    for bulk in rows.bulks {
        next.take_bulk(bulk);
    }
    for health in rows.reports {
        next.take_health(health);
    }
}

fn tell(row: &Unreadable) {
    let Unreadable { table, key, revision, why } = row;
    tracing::error!(
        table,
        key = key.as_str(),
        revision = revision.get(),
        why = why.as_str(),
        "a row cannot be read; what it was before is served, if it was ever read"
    );
}

fn take_removals(next: &mut Snapshot, delta: &mut Delta, removals: &[Event]) {
    for event in removals {
        if let Event::TenantPurged { tenant, .. } = event {
            delta.tenants.push(tenant.tenant_id.clone());
        }
        next.take_removal(event);
    }
}

/// What changed of flags.
#[derive(Default)]
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

    /// The overrides that these rows and removals are about.
    fn overridden(&self, removals: &[Event]) -> Vec<(FlagKey, TenantId)> {
        let set = self.overrides.iter().map(|own| (own.flag.clone(), own.tenant.clone()));
        let cleared = removals.iter().filter_map(|event| match event {
            Event::TenantOverrideCleared { flag_key, tenant_id } => {
                Some((flag_key.clone(), tenant_id.clone()))
            }
            _ => None,
        });
        set.chain(cleared).collect()
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
