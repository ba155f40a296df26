//! What changed before this replica was there, as the log says.
//!
//! A provider that comes back keeps what it has of every flag that it is not told of, by name. What was removed is in no
//! snapshot, so the log is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::change::{Change, Changed, Kind, Left, Reach, Reached};
use crate::domain::event::{AppliedSet, Event};
use crate::domain::flag::{CompiledFlags, Flag};
use crate::domain::ids::{FlagKey, SegmentName, TenantId, TierId};
use crate::store::connect::Database;
use crate::store::log::Lately;
use crate::store::{Error, log};
use crate::view::Snapshot;

/// Reads what was done to flags within so long a time.
pub(super) async fn read(database: &Database, window: Duration) -> Result<Lately, Error> {
    log::flags_lately(&**database.pooled().await?, window).await
}

/// What that changed, as far as it can have; and what time alone changed until `now`.
pub(super) fn change(lately: &Lately, snapshot: &Snapshot, now: Timestamp, window: Duration) -> Change {
    if !lately.is_whole {
        // An entry that cannot be read may be of any flag; those that are gone are told of all the same.
        let mut change = Change::of_everything(snapshot, snapshot);
        Touched::by(&lately.events, &snapshot.flags).add_gone(&mut change, snapshot);
        return change;
    }
    let since = now.checked_sub(window).unwrap_or(now);
    let mut touched = Touched::by(&lately.events, &snapshot.flags);
    for (key, whose) in snapshot.flags.changed_by_time_alone(since, now) {
        touched.reach(&key, whose.map_or(Reach::All, |(tiers, tenants)| Reach::Some(tiers, tenants)));
    }
    touched.into_change(snapshot)
}

/// What events were about.
struct Touched<'a> {
    flags: &'a CompiledFlags,
    reached: Reached,
    made: BTreeSet<FlagKey>,
    /// Those that may have been in other sets before.
    written: BTreeSet<FlagKey>,
    gone: BTreeSet<FlagKey>,
}

impl<'a> Touched<'a> {
    fn by(events: &[Event], flags: &'a CompiledFlags) -> Self {
        let (made, written, gone) = Default::default();
        let mut touched = Self { flags, reached: Reached::default(), made, written, gone };
        for event in events {
            touched.take(event);
        }
        // Whom a flag excluded before it was changed or deleted, the log does not say.
        if !touched.written.is_empty() || !touched.gone.is_empty() {
            for flag in flags.flags().filter(|flag| !flag.settings.conflict_groups.is_empty()) {
                touched.reached.add(flag.key().clone(), Reach::All);
            }
        }
        touched
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::FlagCreated { flag }
            | Event::FlagUpdated { flag }
            | Event::FlagExpiryExtended { flag, .. } => self.write(flag),
            Event::FlagDeleted { flag_key } => self.delete(flag_key),
            Event::TierDefaultSet { tier_default } => self.tier(&tier_default.flag, &tier_default.tier),
            Event::TierDefaultCleared { flag_key, tier_id } => self.tier(flag_key, tier_id),
            Event::TenantOverrideSet { tenant_override } => {
                self.tenant(&tenant_override.flag, &tenant_override.tenant);
            }
            Event::TenantOverrideCleared { flag_key, tenant_id } => self.tenant(flag_key, tenant_id),
            Event::SegmentCreated { segment } | Event::SegmentUpdated { segment } => {
                self.segment(&segment.settings.name);
            }
            Event::SegmentDeleted { segment_name } => self.segment(segment_name),
            Event::FlagsApplied { set } => self.apply(set),
            // Which flags it had defaults of is not known any more.
            Event::TierDeleted { tier_id } => {
                for flag in self.flags.flags() {
                    self.reached.add(flag.key().clone(), Reach::tier(tier_id));
                }
            }
            // What tenants and tiers are themselves is asked of them when their streams begin.
            _ => {}
        }
    }

    fn apply(&mut self, set: &AppliedSet) {
        for flag in &set.flags {
            self.write(flag);
        }
        for key in &set.flags_deleted {
            self.delete(key);
        }
        for default in &set.tier_defaults {
            self.tier(&default.flag, &default.tier);
        }
        for (key, tier) in &set.tier_defaults_cleared {
            self.tier(key, tier);
        }
        for name in set.segments.iter().map(|segment| &segment.settings.name).chain(&set.segments_deleted) {
            self.segment(name);
        }
        for file in &set.files {
            for flag in self.flags.flags_of_file(&file.name) {
                self.reached.add(flag.key().clone(), Reach::All);
            }
        }
    }

    fn reach(&mut self, key: &FlagKey, reach: Reach) {
        self.reached.add(key.clone(), reach);
    }

    fn write(&mut self, flag: &Flag) {
        let is_new = flag.create_time == flag.update_time;
        let written = if is_new { &mut self.made } else { &mut self.written };
        written.insert(flag.key().clone());
        self.reach(flag.key(), Reach::All);
    }

    fn delete(&mut self, key: &FlagKey) {
        self.gone.insert(key.clone());
        self.reach(key, Reach::All);
    }

    fn tier(&mut self, key: &FlagKey, tier: &TierId) {
        self.reach(key, Reach::tier(tier));
    }

    fn tenant(&mut self, key: &FlagKey, tenant: &TenantId) {
        self.reach(key, Reach::tenant(tenant));
    }

    fn segment(&mut self, name: &SegmentName) {
        for flag in self.flags.users_of_segment(name.as_str()) {
            self.reached.add(flag.key().clone(), Reach::All);
        }
    }

    fn into_change(mut self, snapshot: &Snapshot) -> Change {
        let mut change = Change::default();
        let spread = std::mem::take(&mut self.reached).spread(&[self.flags]);
        for (key, reach) in spread {
            change.add(&key, snapshot, snapshot, reach);
            let Some(changed) = change.flags.get_mut(&key) else { continue };
            if self.made.contains(&key) && !self.gone.contains(&key) {
                changed.kind = Kind::Write;
            }
            // Where it was is not known, so whoever asks for another set is told that it is not there.
            if self.written.contains(&key) || self.gone.contains(&key) {
                changed.left = Left::Any;
            }
        }
        self.add_gone(&mut change, snapshot);
        change
    }

    fn add_gone(&self, change: &mut Change, snapshot: &Snapshot) {
        for key in self.gone.iter().filter(|key| snapshot.flags.flag(key.as_str()).is_none()) {
            let gone = Changed {
                kind: Kind::Delete,
                reach: Reach::All,
                flag_set: None,
                came: false,
                left: Left::Any,
            };
            change.put(key.clone(), gone);
        }
    }
}
