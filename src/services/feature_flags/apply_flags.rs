//! Applying a set of flags: what is there is brought to what the set says, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Deciding;
use super::judge::{self, Named};
use crate::domain::error::Error;
use crate::domain::event::{AppliedSet, Event};
use crate::domain::flag::impact::Impact;
use crate::domain::flag::removal::{self, Removal};
use crate::domain::flag::{
    Choice, Flag, FlagField, NewSegment, Segment, SegmentField, Settings, TierDefault,
};
use crate::domain::ids::{FlagKey, Revision, TierId};
use crate::services::change::{Decision, Reply};
use crate::services::tiers::{check_same, get_tier};
use crate::services::{Command, Registry};
use crate::store::flags::{self, Compared, Deleting, Replacing, Write};
use crate::store::log::Context;
use crate::view::Snapshot;

/// A flag as it should be.
#[derive(Debug, Clone)]
pub struct FlagSpec {
    /// Its settings.
    pub settings: Settings,
    /// What its tiers get.
    pub tier_defaults: BTreeMap<TierId, Choice>,
}

/// Flags and segments as they should be.
#[derive(Debug, Clone)]
pub struct ApplyFlags {
    /// The flags, each once.
    pub flags: Vec<FlagSpec>,
    /// The segments, each once.
    pub segments: Vec<NewSegment>,
    /// How: to prune is to delete flags of the same flag sets, segments, and tier defaults of the named flags.
    pub manner: Manner,
}

/// How a set or a file is brought in.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Delete what is not named.
    pub prune: bool,
    /// Even if flags that hang on what is changed would break.
    pub force: bool,
    /// Kill switches that are to stand, and to guard, as given; all others stay as they stand.
    pub reset_kill_switches: Vec<FlagKey>,
    /// Refuse if what is to be done is no longer what the answer with this mark told.
    pub plan_etag: Option<String>,
}

/// What is done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A segment.
    Segment,
    /// A flag.
    Flag,
    /// What a tier gets of a flag.
    TierDefault,
    /// What a flagd file says beside its flags.
    File,
}

/// One thing that is made, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What kind of thing.
    pub resource: Resource,
    /// Its key or name.
    pub name: String,
    /// What is done to it.
    pub action: Action,
    /// The fields that are changed.
    pub fields: Vec<String>,
    /// What it looks like before, as JSON.
    pub before: String,
    /// What it looks like after, as JSON.
    pub after: String,
}

impl Difference {
    /// What is between a thing and what it is to be.
    pub(super) fn new<T: Serialize>(
        resource: Resource,
        name: &str,
        (before, after): (Option<&T>, Option<&T>),
        fields: Vec<String>,
    ) -> Self {
        let action = match (before, after) {
            (None, _) => Action::Create,
            (Some(_), Some(_)) => Action::Update,
            (Some(_), None) => Action::Delete,
        };
        // Our own types always have a JSON text.
        let text = |value: Option<&T>| value.and_then(|value| serde_json::to_string(value).ok());
        let (before, after) = (text(before).unwrap_or_default(), text(after).unwrap_or_default());
        Self { resource, name: name.to_owned(), action, fields, before, after }
    }
}

/// What an application did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// What is changed, by kind and name.
    pub differences: Vec<Difference>,
    /// The revision of the change; 0 where there was none.
    pub revision: Revision,
    /// What goes with the flags that are deleted; nothing where none is.
    #[serde(default)]
    pub removal: Option<Removal>,
    /// How kill switches stand where something else was wanted.
    #[serde(default)]
    pub kept: Vec<Difference>,
    /// Whom it affects; only where nothing was changed.
    #[serde(skip)]
    pub impact: Option<Impact>,
    /// What people should hear of the set of all flags, and where nothing was changed, of those that would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The mark of what would be done; only where nothing was changed.
    #[serde(skip)]
    pub plan_etag: String,
}

impl Reply for Applied {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

impl Registry {
    /// Brings flags, segments and tier defaults to what a set says.
    pub async fn apply_flags(&self, set: &ApplyFlags, command: &Command) -> Result<Applied, Error> {
        self.change(command, |snapshot, context| {
            let mut plan = Plan::new(&set.manner, context);
            plan.plan(snapshot, set, context)?;
            let field = |named: Named<'_>| match named {
                Named::Flag(key) => {
                    let place = set.flags.iter().position(|spec| spec.settings.key == *key);
                    format!("flags[{}].", place.unwrap_or_default())
                }
                Named::Segment(name) => {
                    let place = set.segments.iter().position(|segment| segment.name == *name);
                    format!("segments[{}].", place.unwrap_or_default())
                }
            };
            plan.decide(
                &Deciding {
                    snapshot,
                    fixed: &self.static_context,
                    context,
                    force: set.manner.force,
                    command,
                },
                field,
            )
        })
        .await
    }
}

/// What is to be done.
pub(super) struct Plan<'a> {
    pub(super) manner: &'a Manner,
    pub(super) now: Timestamp,
    actor: &'a str,
    pub(super) write: Write,
    pub(super) event: AppliedSet,
    pub(super) kept: Vec<Difference>,
    /// What is not named and stays all the same.
    pub(super) held: BTreeSet<FlagKey>,
    differences: Vec<Difference>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(manner: &'a Manner, context: &'a Context) -> Self {
        let (now, actor) = (context.now, context.actor.as_str());
        let (write, event) = (Write::default(), AppliedSet::default());
        let (kept, held) = (Vec::new(), BTreeSet::new());
        Self { manner, now, actor, write, event, kept, held, differences: Vec::new() }
    }

    /// Judges what is planned, and makes one change of it. `field` says where in the request a thing is.
    pub(super) fn decide(
        mut self,
        deciding: &Deciding<'_>,
        field: impl Fn(Named<'_>) -> String,
    ) -> Result<Decision<Applied>, Error> {
        self.kept.sort_by(|a, b| (a.resource, &a.name).cmp(&(b.resource, &b.name)));
        if self.event.is_empty() {
            // A plan of nothing has no mark: whoever brings one was told of something.
            check_same(self.manner.plan_etag.as_deref(), "")?;
            return Ok(Decision::Nothing(Applied { kept: self.kept, ..Applied::default() }));
        }
        let after = judge::judge(deciding.snapshot, &mut self.write, (deciding.force, self.now), &field)?;
        let changed = judge::changed(&self.write);
        self.keep_emergencies((deciding.snapshot, deciding.fixed), &after, &changed)?;
        let impact = deciding.impact(&after, &changed);
        self.differences.sort_by(|a, b| (a.resource, &a.name).cmp(&(b.resource, &b.name)));
        let deleted: BTreeSet<_> = self.write.flags_deleted.iter().map(|gone| gone.key.clone()).collect();
        let removal = (!deleted.is_empty()).then(|| deciding.snapshot.flags.removal(&after, &deleted));
        let plan_etag = deciding.plan_etag(self.manner.plan_etag.as_deref(), || {
            let going = (!deleted.is_empty()).then(|| deciding.snapshot.flags.removal_mark(&deleted));
            self.etag(going.as_deref())
        })?;
        // What tiers and tenants have of the flags has no etag of its own: it is as decided on, or nothing is done.
        self.write.values_unchanged_since = Some(deciding.snapshot.revision);
        let applied = Applied {
            differences: self.differences,
            revision: Revision::ZERO,
            removal,
            kept: self.kept,
            warnings: match &impact {
                Some(_) => judge::warnings(&after, &changed, self.now),
                None => after.set_warning().into_iter().collect(),
            },
            impact,
            plan_etag,
        };
        let event = Event::FlagsApplied { set: Box::new(self.event) };
        let change = flags::flags_write(&self.write, event, deciding.context, &applied);
        Ok(Decision::Make(Box::new(change), applied))
    }

    /// The mark of all that is told. What it looks like after follows from the request and from what it was before.
    fn etag(&self, going: Option<&str>) -> String {
        let differences = self.differences.iter().chain(&self.kept);
        let told: Vec<_> =
            differences.map(|it| (it.resource, &it.name, it.action, &it.fields, &it.before)).collect();
        removal::mark(&(told, going))
    }

    fn plan(&mut self, snapshot: &Snapshot, set: &ApplyFlags, context: &Context) -> Result<(), Error> {
        let named: BTreeSet<_> = set.flags.iter().map(|spec| spec.settings.key.as_str()).collect();
        let unnamed = if self.manner.prune { unnamed(snapshot, set, &named) } else { Vec::new() };
        self.check_reset(&snapshot.flags, named, &unnamed)?;
        self.keep_held(&snapshot.flags, &unnamed);
        for segment in &set.segments {
            self.plan_segment(snapshot, segment, context);
        }
        for (place, spec) in set.flags.iter().enumerate() {
            check_type(snapshot, &spec.settings, place)?;
            self.plan_flag(snapshot, (spec, place), context)?;
            for (tier, choice) in &spec.tier_defaults {
                get_tier(snapshot, tier)?;
                let field = format!("flags[{place}].tier_defaults");
                check_variants(&spec.settings, choice, &field)?;
                self.plan_tier_default(snapshot, &spec.settings.key, tier, Some(choice));
            }
        }
        if self.manner.prune {
            self.delete_unnamed(&unnamed);
            self.prune(snapshot, set);
        }
        let segments = set.segments.iter().map(|segment| segment.name.clone()).collect();
        self.write.compared = Some(Compared {
            since: snapshot.revision,
            flags: set.flags.iter().map(|spec| spec.settings.key.clone()).collect(),
            flag_sets: if self.manner.prune { flag_sets(set) } else { BTreeSet::new() },
            segments: (!self.manner.prune).then_some(segments),
            file: None,
        });
        Ok(())
    }

    fn plan_segment(&mut self, snapshot: &Snapshot, wanted: &NewSegment, context: &Context) {
        let current = snapshot.flags.segment(wanted.name.as_str());
        let differs = |field: &&SegmentField, old: &Segment| match field {
            SegmentField::Description => old.settings.description != wanted.description,
            SegmentField::Source => old.settings.source != wanted.source,
        };
        let fields: Vec<_> = match current {
            None => Vec::new(),
            Some(old) => SegmentField::ALL.iter().filter(|field| differs(field, old)).collect(),
        };
        if current.is_some() && fields.is_empty() {
            return;
        }
        let row = match current {
            None => wanted.clone().into_segment(context.now),
            Some(old) => old.with_settings(wanted.clone(), context.now),
        };
        let names = fields.into_iter().map(|field| field.as_str().to_owned()).collect();
        let before = current.map(|old| &old.settings);
        let mut users = snapshot.flags.users_of_segment(wanted.name.as_str());
        if before.is_some_and(|old| old.source != wanted.source) && users.any(|flag| self.stands(flag)) {
            self.keep(Resource::Segment, wanted.name.as_str(), (before, Some(wanted)), names);
            return;
        }
        self.differ(Resource::Segment, wanted.name.as_str(), (before, Some(wanted)), names);
        self.event.segments.push(row.clone());
        self.write.segments.push(Replacing { row, expected: current.map(|old| old.revision) });
    }

    fn plan_flag(
        &mut self,
        snapshot: &Snapshot,
        (spec, place): (&FlagSpec, usize),
        context: &Context,
    ) -> Result<(), Error> {
        let mut wanted = spec.settings.clone();
        let current = snapshot.flags.flag(wanted.key.as_str()).map(|old| &**old);
        let field = format!("flags[{place}].");
        super::check_expires(&wanted, current.map(|old| &old.settings), &field)?;
        let row = match current {
            None => {
                wanted.fill_expire_time(context.now);
                wanted.into_flag(Revision::ZERO, context.now)
            }
            Some(old) => {
                // A set that does not say when a flag expires leaves that to whoever extended it.
                wanted.keep_expire_time(&old.settings);
                if self.stands(old) {
                    self.keep_standing(&snapshot.flags, (old, &mut wanted), &field)?;
                } else {
                    self.keep_guard(&snapshot.flags, old, &mut wanted);
                }
                // Whoever applies a set to a flag of a file makes it one of ours.
                Flag { origin: None, ..old.with_settings(wanted, context.now) }
            }
        };
        self.put_flag(current, row);
        Ok(())
    }

    /// Writes a flag, unless it is so already.
    pub(super) fn put_flag(&mut self, current: Option<&Flag>, mut row: Flag) {
        let wanted = &row.settings;
        let mut fields: Vec<String> = Vec::new();
        if let Some(old) = current {
            let differs = |field: &&FlagField| !wanted.same(**field, &old.settings);
            fields.extend(FlagField::ALL.iter().filter(differs).map(|field| field.as_str().to_owned()));
            if old.settings.flag_type != wanted.flag_type {
                fields.push("type".to_owned());
            }
            if old.origin != row.origin {
                fields.push("origin".to_owned());
            }
            if fields.is_empty() {
                return;
            }
        }
        if let Some(previous) = current.and_then(|old| row.extended_from(old)) {
            self.event.expiries_extended.push((row.key().clone(), previous));
            row.keep_extension(previous, self.actor, "");
        }
        let (before, wanted) = (current.map(|old| &old.settings), &row.settings);
        self.differ(Resource::Flag, wanted.key.as_str(), (before, Some(wanted)), fields);
        self.event.flags.push(row.clone());
        self.write.flags.push(Replacing { row, expected: current.map(|old| old.revision) });
    }

    fn plan_tier_default(
        &mut self,
        snapshot: &Snapshot,
        flag: &FlagKey,
        tier: &TierId,
        wanted: Option<&Choice>,
    ) {
        let current = snapshot.flags.tier_defaults(flag.as_str()).find(|default| default.tier == *tier);
        let before = current.map(|default| &default.choice);
        if before == wanted {
            return;
        }
        let fields =
            if before.is_some() && wanted.is_some() { vec!["choice".to_owned()] } else { Vec::new() };
        let difference =
            Difference::new(Resource::TierDefault, &format!("{flag} {tier}"), (before, wanted), fields);
        if snapshot.flags.flag(flag.as_str()).is_some_and(|flag| self.stands(flag)) {
            self.kept.push(difference);
            return;
        }
        self.differences.push(difference);
        match wanted.cloned() {
            None => {
                self.event.tier_defaults_cleared.push((flag.clone(), tier.clone()));
                self.write.tier_defaults_cleared.push((flag.clone(), tier.clone()));
            }
            Some(choice) => {
                let (flag, tier) = (flag.clone(), tier.clone());
                let default = TierDefault { tier, flag, choice, revision: Revision::ZERO };
                self.event.tier_defaults.push(default.clone());
                self.write.tier_defaults.push(default);
            }
        }
    }

    fn prune(&mut self, snapshot: &Snapshot, set: &ApplyFlags) {
        let named: BTreeMap<&FlagKey, &FlagSpec> =
            set.flags.iter().map(|spec| (&spec.settings.key, spec)).collect();
        for (key, spec) in &named {
            for default in snapshot.flags.tier_defaults(key.as_str()) {
                if !spec.tier_defaults.contains_key(&default.tier) {
                    self.plan_tier_default(snapshot, key, &default.tier, None);
                }
            }
        }
        let segments: BTreeSet<_> = set.segments.iter().map(|segment| &segment.name).collect();
        let deleted: BTreeSet<_> = self.event.flags_deleted.iter().cloned().collect();
        for segment in snapshot.flags.segments() {
            let name = &segment.settings.name;
            if segments.contains(name) {
                continue;
            }
            // One that flags outside of the set use is theirs, one that a kill switch uses stays as that stands, and whose one
            // is that nobody uses, nobody knows.
            let mut users = snapshot.flags.users_of_segment(name.as_str()).peekable();
            let stays = |flag: &Arc<Flag>| {
                let stays = self.stands(flag) || !named.contains_key(flag.key());
                stays && !deleted.contains(flag.key())
            };
            if users.peek().is_none() || users.any(stays) {
                continue;
            }
            self.differ(Resource::Segment, name.as_str(), (Some(&segment.settings), None), Vec::new());
            self.event.segments_deleted.push(name.clone());
            self.write.segments_deleted.push(Deleting { key: name.clone(), expected: segment.revision });
        }
    }

    /// Deletes flags, but for those that stay.
    pub(super) fn delete_unnamed(&mut self, unnamed: &[&Arc<Flag>]) {
        for flag in unnamed {
            if !self.held.contains(flag.key()) {
                self.delete_flag(flag);
            }
        }
    }

    fn delete_flag(&mut self, flag: &Flag) {
        self.differ(Resource::Flag, flag.key().as_str(), (Some(&flag.settings), None), Vec::new());
        self.event.flags_deleted.push(flag.key().clone());
        self.write.flags_deleted.push(Deleting { key: flag.key().clone(), expected: flag.revision });
    }

    pub(super) fn differ<T: Serialize>(
        &mut self,
        resource: Resource,
        name: &str,
        (before, after): (Option<&T>, Option<&T>),
        fields: Vec<String>,
    ) {
        self.differences.push(Difference::new(resource, name, (before, after), fields));
    }
}

/// The flags of a set's flag sets that it does not name.
fn unnamed<'a>(snapshot: &'a Snapshot, set: &ApplyFlags, named: &BTreeSet<&str>) -> Vec<&'a Arc<Flag>> {
    let flag_sets = flag_sets(set);
    let is_of_set = |flag: &&Arc<Flag>| flag_sets.contains(flag.settings.flag_set.as_str());
    snapshot.flags.flags().filter(is_of_set).filter(|flag| !named.contains(flag.key().as_str())).collect()
}

/// The flag sets that a set has flags of.
fn flag_sets(set: &ApplyFlags) -> BTreeSet<String> {
    set.flags.iter().map(|spec| spec.settings.flag_set.clone()).collect()
}

/// Refuses another type than the flag has: only a file that a flag came from can bring it another, as flagd does.
fn check_type(snapshot: &Snapshot, wanted: &Settings, place: usize) -> Result<(), Error> {
    let current = snapshot.flags.flag(wanted.key.as_str()).map(|flag| flag.settings.flag_type);
    if current.is_none_or(|current| current == wanted.flag_type) {
        return Ok(());
    }
    let why = format!("cannot be changed; make a flag of another key, or delete \"{}\" first", wanted.key);
    Err(Error::field(format!("flags[{place}].type"), why))
}

fn check_variants(settings: &Settings, choice: &Choice, field: &str) -> Result<(), Error> {
    let mut violations = Vec::new();
    crate::domain::flag::validate::choice(choice, &format!("{field}."), &settings.variants, &mut violations);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(crate::domain::error::Reason::InvalidField, violations))
}
