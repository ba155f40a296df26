//! Judging a write of flags and segments by the flags as they would be after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::known_context;
use crate::domain::error::{Error, Reason};
use crate::domain::flag::dependencies::{Broken, FLAGS_MAX, GROUP_MAX, Missing, Relation};
use crate::domain::flag::impact::{Impact, Subject, impact};
use crate::domain::flag::{
    CompiledFlags, Flag, InProcess, NewSegment, PATTERNS_BYTES_MAX, Settings, validate,
};
use crate::domain::ids::{FlagKey, Revision, SegmentName, TenantId, VariantName};
use crate::domain::lifecycle::Status;
use crate::domain::rule::{self, Condition, Context, ErrorKind, HashVersion, Segments, check_condition};
use crate::domain::text::{ends, quote};
use crate::domain::violation::Violation;
use crate::services::change::Reply;
use crate::store::flags::Write;
use crate::view::{Record, Snapshot};

/// Most warnings of a plan.
const WARNINGS_MAX: usize = 100;

/// Most dependents, or users of a segment, that a refusal names.
const NAMED_MAX: usize = 10;

/// Longest path of a circle, and of what leads along it, in bytes: as much as metadata may have.
const PATH_BYTES_MAX: usize = 320;
/// Most bytes that say the same in words: with the path as much as a message may have.
const SENTENCES_BYTES_MAX: usize = 640;

/// What was made, and whom that affects where the change was only tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Judged<T> {
    /// What was made.
    pub made: T,
    /// Whom it affects; only where nothing was changed.
    #[serde(skip)]
    pub impact: Option<Impact>,
}

impl<T: Reply> Reply for Judged<T> {
    fn set_revision(&mut self, revision: Revision) {
        self.made.set_revision(revision);
    }
}

/// A thing that is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named<'a> {
    /// A flag.
    Flag(&'a FlagKey),
    /// A segment.
    Segment(&'a SegmentName),
}

/// The flags as they would be after a write. It ends at the flag with which the patterns of all become too large: what
/// follows would cost as much again.
fn after(
    before: &CompiledFlags,
    write: &Write,
    field: &dyn Fn(Named<'_>) -> String,
) -> Result<CompiledFlags, Error> {
    let mut flags = before.clone();
    for (flag_key, tier_id) in &write.tier_defaults_cleared {
        flags = flags.without_tier_default(flag_key.as_str(), tier_id.as_str());
    }
    for gone in &write.flags_deleted {
        flags = flags.without_flag(gone.key.as_str());
    }
    for gone in &write.segments_deleted {
        flags = flags.without_segment(&gone.key);
    }
    for file in &write.files {
        flags = flags.with_file(Arc::new(file.row.clone()));
    }
    flags = flags.with_segments(write.segments.iter().map(|segment| Arc::new(segment.row.clone())));
    for flag in &write.flags {
        flags = flags.with_flag(Arc::new(flag.row.clone()));
        if flags.pattern_bytes() > PATTERNS_BYTES_MAX.max(before.pattern_bytes()) {
            let why = format!(
                "have patterns that, with those of all flags, are larger than {PATTERNS_BYTES_MAX} bytes when compiled"
            );
            return Err(Error::field(format!("{}rules", field(Named::Flag(flag.row.key()))), why));
        }
    }
    for default in &write.tier_defaults {
        flags = flags.with_tier_default(Arc::new(default.clone()));
    }
    Ok(flags)
}

/// The flags that a write is about.
pub(super) fn changed(write: &Write) -> BTreeSet<FlagKey> {
    let written = write.flags.iter().map(|flag| flag.row.key());
    let deleted = write.flags_deleted.iter().map(|flag| &flag.key);
    let set = write.tier_defaults.iter().map(|default| &default.flag);
    let cleared = write.tier_defaults_cleared.iter().map(|(flag_key, _)| flag_key);
    written.chain(deleted).chain(set).chain(cleared).cloned().collect()
}

/// Refuses what does not fit together, and completes the write with what it rests on. Answers the flags after it.
/// `field` says where in the request a thing is.
pub(super) fn judge(
    snapshot: &Snapshot,
    write: &mut Write,
    (force, now): (bool, Timestamp),
    field: &dyn Fn(Named<'_>) -> String,
) -> Result<CompiledFlags, Error> {
    let before = &snapshot.flags;
    let after = after(before, write, field)?;
    check_room(before, &after)?;
    check_segments(before, &after, write, field)?;
    for flag in &write.flags {
        let settings = &flag.row.settings;
        let place = || field(Named::Flag(&settings.key));
        let old = before.flag(settings.key.as_str()).map(|old| &old.settings);
        check_set(snapshot, &settings.flag_set, || format!("{}flag_set", place()))?;
        let mut violations = validate::compiles(&flag.row, after.evaluators_of(&flag.row));
        if flag.row.origin.is_none() {
            // What was so before may stay so.
            let before = old.map(validate::certain_failures).unwrap_or_default();
            let new = validate::certain_failures(settings);
            violations.extend(new.into_iter().filter(|failure| !before.contains(failure)));
        }
        if !violations.is_empty() {
            return Err(Error::invalid(Reason::InvalidField, violations).within(&place()));
        }
        check_relations(before, &after, settings, &place())?;
        check_variants_in_use(&after, settings, now)?;
    }
    let changed = changed(write);
    if let Some(circle) = after.circle(changed.iter()) {
        return Err(cycle_of_flags(&after, &circle));
    }
    if !force {
        refuse_breakage(&before.broken_by(&after, &changed))?;
    }
    for flag in &write.flags {
        let needed = flag.row.settings.needs().filter(|needed| after.flag(needed.as_str()).is_some());
        write.needs.flags.extend(needed.cloned());
        let segments = after.segments_of(flag.row.key().as_str());
        write.needs.segments.extend(segments.filter_map(|name| SegmentName::parse(name).ok()));
    }
    if rests_on_others(before, write) {
        write.unchanged_since = Some(snapshot.revision);
    }
    Ok(after)
}

/// Refuses to make a flag set of a tenant's name: a selector could not tell them apart. One that there is may have more
/// flags.
pub(super) fn check_set(
    snapshot: &Snapshot,
    flag_set: &str,
    field: impl FnOnce() -> String,
) -> Result<(), Error> {
    let tenant = TenantId::parse(flag_set).ok().and_then(|id| snapshot.tenant(&id));
    if tenant.is_none() || snapshot.flags.has_set(flag_set) {
        return Ok(());
    }
    let why = format!("must not be the id of a tenant; clients select both as flagSetId={flag_set}");
    Err(Error::field(field(), why))
}

/// Whether circles or dependents had to be looked for, so that no concurrent change may pass by unseen.
fn rests_on_others(before: &CompiledFlags, write: &Write) -> bool {
    let moves = |flag: &Flag| {
        let settings = &flag.settings;
        let related =
            |settings: &Settings| settings.needs().next().is_some() || !settings.conflict_groups.is_empty();
        before.flag(settings.key.as_str()).map_or_else(
            || related(settings),
            |old| {
                let old = &old.settings;
                related(settings)
                    || related(old)
                    || (old.state, old.kind) != (settings.state, settings.kind)
                    || !old.variants.keys().all(|variant| settings.variants.contains_key(variant))
            },
        )
    };
    !write.segments.is_empty()
        || !write.segments_deleted.is_empty()
        || !write.flags_deleted.is_empty()
        || write.flags.iter().any(|flag| moves(&flag.row))
}

fn check_room(before: &CompiledFlags, after: &CompiledFlags) -> Result<(), Error> {
    if after.len() <= FLAGS_MAX || after.len() <= before.len() {
        return Ok(());
    }
    Err(Error::new(Reason::TooManyFlags, format!("there can be at most {FLAGS_MAX} flags"))
        .with("limit", FLAGS_MAX)
        .with("used", before.len()))
}

fn check_segments(
    before: &CompiledFlags,
    after: &CompiledFlags,
    write: &Write,
    field: &dyn Fn(Named<'_>) -> String,
) -> Result<(), Error> {
    if write.segments.is_empty() && write.segments_deleted.is_empty() {
        return Ok(());
    }
    for segment in write.segments.iter().map(|segment| &segment.row.settings) {
        let old = before.segment(segment.name.as_str());
        if old.is_none_or(|old| old.settings.source != segment.source) {
            check_condition(&segment.source, HashVersion::default()).map_err(|error| {
                let (field, error) = placed(segment, &error, field);
                Error::field(field, format!("can only fail: {error}"))
            })?;
        }
    }
    let written: BTreeSet<_> = write.flags.iter().map(|flag| flag.row.key()).collect();
    for gone in &write.segments_deleted {
        let users = before.users_of_segment(gone.key.as_str()).map(|flag| flag.key());
        // Those that are written with it have been compiled without it.
        let users = users.filter(|key| !written.contains(key) && after.flag(key.as_str()).is_some());
        let users: Vec<_> = users.map(FlagKey::as_str).collect();
        if !users.is_empty() {
            let named = &users[..users.len().min(NAMED_MAX)];
            let more = if users.len() > NAMED_MAX { " and more" } else { "" };
            let error = in_use(&gone.key, &format!("the rules of {}{more}", named.join(", ")));
            return Err(error.with("used_by", named.join(",")).with("used_by_total", users.len()));
        }
    }
    let all = after
        .segments()
        .map(|segment| (segment.settings.name.as_str().to_owned(), segment.settings.source.clone()));
    let Some(fault) = Segments::fault(all) else { return Ok(()) };
    if fault.error.kind == ErrorKind::Cycle {
        return Err(cycle("segments", &fault.circle));
    }
    let named = fault.segment.as_deref().unwrap_or_default();
    if let (ErrorKind::Segment, Some(gone)) = (fault.error.kind, write.segments_deleted.first()) {
        return Err(in_use(&gone.key, &format!("the segment {}", quote(named))).with("used_by", named));
    }
    let mut written = write.segments.iter().map(|segment| &segment.row.settings);
    let (field, why) = if let Some(segment) = written.clone().find(|segment| segment.name.as_str() == named) {
        placed(segment, &fault.error, field)
    } else {
        // What is written fits together, and another no longer with it.
        let field = written.next().map(|segment| field(Named::Segment(&segment.name)));
        let why = format!("the segment {}, which uses it, {}", quote(named), fault.error);
        (format!("{}logic", field.unwrap_or_default()), why)
    };
    match (fault.error.kind, fault.missing) {
        (ErrorKind::Segment, Some(missing)) => {
            let error = Error::invalid(Reason::SegmentNotFound, vec![Violation::new(field, why)]);
            Err(error.with("segment_name", missing))
        }
        _ => Err(Error::field(field, format!("cannot be used: {why}"))),
    }
}

/// The field of a request that is at fault for a segment's condition, and why. One that conditions can say may have been given
/// so or as logic, and whoever gave conditions knows no place in it.
fn placed(
    segment: &NewSegment,
    error: &rule::Error,
    field: &dyn Fn(Named<'_>) -> String,
) -> (String, String) {
    let field = field(Named::Segment(&segment.name));
    if Condition::all_from_json(&segment.source).is_some() {
        (field.trim_end_matches('.').to_owned(), error.why.clone())
    } else {
        (format!("{field}logic"), error.to_string())
    }
}

fn in_use(name: &SegmentName, by: &str) -> Error {
    Error::new(Reason::SegmentInUse, format!("the segment \"{name}\" is used by {by}"))
        .with("segment_name", name)
}

/// A circle of flags, with how each hangs on the next: for people in words, for machines in the order of the path.
fn cycle_of_flags(after: &CompiledFlags, circle: &[FlagKey]) -> Error {
    let path: Vec<_> = circle.iter().map(ToString::to_string).collect();
    let mut error = cycle("flags", &path);
    let (mut words, mut sentences) = (Vec::new(), Vec::new());
    for (flag, other) in circle.iter().zip(circle.iter().skip(1)) {
        let (word, sentence) = match after.relation(flag, other) {
            Some(Relation::KillSwitch) => {
                ("kill_switch".to_owned(), format!("\"{flag}\" has \"{other}\" as its kill switch"))
            }
            Some(Relation::Prerequisite) => {
                ("prerequisite".to_owned(), format!("\"{flag}\" has \"{other}\" as a prerequisite"))
            }
            Some(Relation::Group(group)) => (
                format!("conflict_group:{group}"),
                format!("\"{flag}\" comes after \"{other}\" in the conflict group \"{group}\""),
            ),
            None => continue,
        };
        words.push(word);
        sentences.push(sentence);
    }
    error.message = format!("{}; {}", error.message, ends(&sentences, ", ", SENTENCES_BYTES_MAX));
    error.with("relations", ends(&words, ",", PATH_BYTES_MAX))
}

fn cycle(what: &str, members: &[String]) -> Error {
    let path = ends(members, " → ", PATH_BYTES_MAX);
    Error::new(Reason::DependencyCycle, format!("{what} cannot hang on each other in a circle: {path}"))
        .with("path", path)
}

/// Refuses what a flag newly names that is not there. What it named before is no mistake of this change's: either it
/// lacks it already, as someone forced, or that is taken from it, which is for [`refuse_breakage`].
fn check_relations(
    before: &CompiledFlags,
    after: &CompiledFlags,
    settings: &Settings,
    field: &str,
) -> Result<(), Error> {
    let old = before.flag(settings.key.as_str());
    let lacked = old.map(|old| after.missing(&old.settings)).unwrap_or_default();
    let no_flag = |name: &str, key: &FlagKey| {
        let why = format!("there is no flag {}", quote(key.as_str()));
        let violation = Violation::new(format!("{field}{name}"), why);
        Error::invalid(Reason::FlagNotFound, vec![violation]).with("flag_key", key)
    };
    let place = |key: &FlagKey| {
        let place = settings.prerequisites.iter().position(|needed| needed.flag_key == *key);
        format!("prerequisites[{}]", place.unwrap_or_default())
    };
    match after.missing(settings).into_iter().find(|missing| !lacked.contains(missing)) {
        None => Ok(()),
        Some(Missing::Switch(key)) => Err(no_flag("kill_switch", key)),
        Some(Missing::Flag(key)) => Err(no_flag(&format!("{}.flag_key", place(key)), key)),
        Some(Missing::Variant(key, variant)) => {
            let why = format!("there is no variant {} of that flag", quote(variant.as_str()));
            let violation = Violation::new(format!("{field}{}.variants", place(key)), why);
            let error = Error::invalid(Reason::VariantNotFound, vec![violation]);
            Err(error.with("variant", variant).with("flag_key", key))
        }
        Some(Missing::KillSwitch(key)) => {
            let found = after.flag(key.as_str()).map(|found| &found.settings);
            let found =
                found.map(|it| format!("of the type {} and the kind {}", it.flag_type, it.kind.as_str()));
            let why = format!(
                "must be of the type BOOLEAN and the kind KILL_SWITCH; {} is {}",
                quote(key.as_str()),
                found.unwrap_or_default()
            );
            Err(Error::field(format!("{field}kill_switch"), why))
        }
        Some(Missing::Room(group)) => Err(Error::new(
            Reason::TooManyFlags,
            format!("the group \"{group}\" can have at most {GROUP_MAX} flags"),
        )
        .with("limit", GROUP_MAX)),
    }
}

fn refuse_breakage(broken: &[Broken]) -> Result<(), Error> {
    let Some(first) = broken.first() else { return Ok(()) };
    let named: Vec<_> = broken.iter().take(NAMED_MAX).map(|one| one.dependent.as_str()).collect();
    let Broken { dependent, needed, why } = first;
    Err(Error::new(
        Reason::DependentsWouldBreak,
        format!("the flag \"{dependent}\" needs \"{needed}\", which {why}; change it first, or force it"),
    )
    .with("dependents", named.join(","))
    .with("dependents_total", broken.len()))
}

fn check_variants_in_use(after: &CompiledFlags, settings: &Settings, now: Timestamp) -> Result<(), Error> {
    let key = settings.key.as_str();
    let refuse = |variant: &VariantName, who: String| {
        Err(Error::new(Reason::VariantInUse, format!("variant \"{variant}\" is used by {who}"))
            .with("variant", variant)
            .with("flag_key", key))
    };
    let gone = |variants: Vec<&VariantName>| {
        variants.into_iter().find(|variant| !settings.variants.contains_key(*variant)).cloned()
    };
    for default in after.tier_defaults(key) {
        if let Some(variant) = gone(default.choice.variants()) {
            return refuse(&variant, format!("the default of tier \"{}\"", default.tier));
        }
    }
    for own in after.overrides_of_flag(key).filter(|own| !own.has_ended(now)) {
        if let Some(variant) = gone(own.choice.variants()) {
            return refuse(&variant, format!("the override of tenant \"{}\"", own.tenant));
        }
    }
    Ok(())
}

/// What people should hear of flags once they are so, and of the set that they make.
pub(super) fn warnings(after: &CompiledFlags, changed: &BTreeSet<FlagKey>, now: Timestamp) -> Vec<String> {
    let in_process = InProcess::new(after, now);
    let of_flag = |key: &FlagKey| {
        let told = in_process.warnings(key.as_str()).into_iter();
        told.map(|told| format!("flag {}: {told}", quote(key.as_str()))).collect::<Vec<_>>()
    };
    after.set_warning().into_iter().chain(changed.iter().flat_map(of_flag)).take(WARNINGS_MAX).collect()
}

/// Whom a change of flags affects, of the tenants that are not deleted.
pub(super) fn impact_on_all(
    (snapshot, fixed): (&Snapshot, &Context),
    after: &CompiledFlags,
    changed: &BTreeSet<FlagKey>,
    now: Timestamp,
) -> Impact {
    impact_on((snapshot, fixed), after, changed, tenants_of(snapshot), now)
}

/// The tenants that are not deleted.
pub(super) fn tenants_of(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Record>> {
    snapshot.tenants.values().filter(|record| record.tenant.status != Status::Deleted)
}

/// Whom a change of flags affects, of some tenants.
pub(super) fn impact_on<'a>(
    (snapshot, fixed): (&Snapshot, &Context),
    after: &CompiledFlags,
    changed: &BTreeSet<FlagKey>,
    tenants: impl Iterator<Item = &'a Arc<Record>>,
    now: Timestamp,
) -> Impact {
    impact(&snapshot.flags, after, changed, subjects(snapshot, fixed, tenants), now)
}

/// Tenants with what rules see of them whoever asks: what is configured, `fixed`, included.
pub(super) fn subjects<'a>(
    snapshot: &Snapshot,
    fixed: &Context,
    tenants: impl Iterator<Item = &'a Arc<Record>>,
) -> impl Iterator<Item = Subject<'a>> {
    tenants.map(|record| Subject {
        facts: record.facts(),
        // One of a tenant's own attributes alone is never too large.
        context: known_context(snapshot, Some(record), fixed).unwrap_or_default(),
    })
}
