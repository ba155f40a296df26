//! How kill switches stand, and what they guard: no set and no file changes that unless it is asked for, so that none
//! ends or weakens an emergency. Nor does one take away what an emergency rests on.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::apply_flags::{Difference, Plan, Resource};
use super::judge::{subjects, tenants_of};
use crate::domain::error::Error;
use crate::domain::flag::ending::{Ending, Reach, Whom};
use crate::domain::flag::{Choice, CompiledFlags, Flag, FlagField, Kind, Settings};
use crate::domain::flagd::Head;
use crate::domain::ids::FlagKey;
use crate::domain::rule::Context;
use crate::domain::text::quote;
use crate::view::Snapshot;

/// What of a switch's settings has no say in what it gives. Everything else says how it stands, and so does what tiers have
/// of it. Variants are no more than names and values: those that it can give must stay, which is checked. An end it never has.
/// While it is thrown its flag set is not free either: clients that select the set read it there.
const FREE: [FlagField; 7] = [
    FlagField::Description,
    FlagField::Variants,
    FlagField::Owner,
    FlagField::Labels,
    FlagField::FlagSet,
    FlagField::Metadata,
    FlagField::ExpireTime,
];

impl Plan<'_> {
    /// Whether a flag is a kill switch that stays as it stands.
    pub(super) fn stands(&self, flag: &Flag) -> bool {
        flag.settings.kind == Kind::KillSwitch && !self.is_reset(flag.key())
    }

    /// Whether a flag is a kill switch that is thrown, and stays so.
    fn is_emergency(&self, flags: &CompiledFlags, flag: &Flag) -> bool {
        self.stands(flag) && flags.is_thrown(flag, self.now)
    }

    fn is_reset(&self, key: &FlagKey) -> bool {
        self.manner.reset_kill_switches.contains(key)
    }

    /// Refuses to reset what is neither given, nor to be deleted, nor guards something that is: that would do nothing,
    /// unnoticed.
    pub(super) fn check_reset<'f>(
        &self,
        flags: &'f CompiledFlags,
        mut given: BTreeSet<&'f str>,
        unnamed: &[&'f Arc<Flag>],
    ) -> Result<(), Error> {
        given.extend(unnamed.iter().map(|flag| flag.key().as_str()));
        let guards = given.iter().filter_map(|key| flags.flag(key)?.settings.kill_switch.as_ref());
        let guards: BTreeSet<_> = guards.map(FlagKey::as_str).collect();
        // A set can end how such a switch stands without naming it.
        let hangs_on_others = |key: &FlagKey| {
            flags.flag(key.as_str()).is_some_and(|flag| {
                let settings = &flag.settings;
                let hangs = settings.needs().next().is_some() || !settings.conflict_groups.is_empty();
                settings.kind == Kind::KillSwitch && hangs && flags.is_thrown(flag, self.now)
            })
        };
        let is_known = |key: &FlagKey| {
            given.contains(key.as_str()) || guards.contains(key.as_str()) || hangs_on_others(key)
        };
        let keys = &self.manner.reset_kill_switches;
        let Some(place) = keys.iter().position(|key| !is_known(key)) else { return Ok(()) };
        let why = format!(
            "must be a flag that is given or that prune reaches, or the kill switch of one; {} is neither",
            quote(keys[place].as_str())
        );
        Err(Error::field(format!("reset_kill_switches[{place}]"), why))
    }

    /// Tells that something stays where something else was wanted.
    pub(super) fn keep<T: Serialize>(
        &mut self,
        resource: Resource,
        name: &str,
        (before, wanted): (Option<&T>, Option<&T>),
        fields: Vec<String>,
    ) {
        self.kept.push(Difference::new(resource, name, (before, wanted), fields));
    }

    /// Leaves a kill switch as it stands, and tells where something else was wanted. `field` says where in the request
    /// the flag is.
    pub(super) fn keep_standing(
        &mut self,
        flags: &CompiledFlags,
        (old, wanted): (&Flag, &mut Settings),
        field: &str,
    ) -> Result<(), Error> {
        self.check_variants(flags, old, wanted, field)?;
        // A set that names no kill switch says nothing of it.
        wanted.kill_switch = wanted.kill_switch.take().or_else(|| old.settings.kill_switch.clone());
        wanted.expire_time = None;
        let said = wanted.clone();
        let is_thrown = flags.is_thrown(old, self.now);
        let is_free =
            |field: &FlagField| FREE.contains(field) && !(is_thrown && *field == FlagField::FlagSet);
        let decides = FlagField::ALL.iter().filter(|field| !is_free(field));
        let differing = decides.filter(|field| !said.same(**field, &old.settings));
        let fields: Vec<_> = differing.inspect(|field| wanted.take(**field, &old.settings)).collect();
        if !fields.is_empty() {
            let names = fields.into_iter().map(|field| field.as_str().to_owned()).collect();
            self.keep(Resource::Flag, old.key().as_str(), (Some(&old.settings), Some(&said)), names);
        }
        Ok(())
    }

    /// Leaves a flag with the kill switch that it has: whoever gave it one may have done so in an emergency, in which
    /// nobody edits files, and another one may not be thrown. While it is thrown the flag stays in its flag set, too:
    /// clients that select the set would no longer find it, and go by their own default.
    pub(super) fn keep_guard(&mut self, flags: &CompiledFlags, old: &Flag, wanted: &mut Settings) {
        let Some(guard) = &old.settings.kill_switch else { return };
        // A set that names no kill switch says nothing of it.
        wanted.kill_switch.get_or_insert_with(|| guard.clone());
        if self.is_reset(guard) {
            return;
        }
        let said = wanted.clone();
        wanted.kill_switch = Some(guard.clone());
        if flags.flag(guard.as_str()).is_some_and(|guard| self.is_emergency(flags, guard)) {
            wanted.flag_set.clone_from(&old.settings.flag_set);
        }
        let kept = [FlagField::FlagSet, FlagField::KillSwitch];
        let kept = kept.into_iter().filter(|field| !said.same(*field, wanted));
        let names: Vec<_> = kept.map(|field| field.as_str().to_owned()).collect();
        if !names.is_empty() {
            self.keep(Resource::Flag, old.key().as_str(), (Some(&old.settings), Some(&said)), names);
        }
    }

    /// Leaves, of what is not named, the flags that an emergency rests on.
    pub(super) fn keep_held(&mut self, flags: &CompiledFlags, unnamed: &[&Arc<Flag>]) {
        let held = flags.held_by(|flag| self.is_emergency(flags, flag));
        for flag in unnamed.iter().filter(|flag| held.contains(flag.key())) {
            self.held.insert(flag.key().clone());
            self.keep(Resource::Flag, flag.key().as_str(), (Some(&flag.settings), None), Vec::new());
        }
    }

    /// Leaves the segments of a file that its kill switches use, and those of flags that stay though it names them no more.
    pub(super) fn keep_evaluators(
        &mut self,
        flags: &CompiledFlags,
        file: &str,
        (old, wanted): (&Head, &mut Head),
    ) {
        for (name, source) in &old.evaluators {
            let said = wanted.evaluators.get(name);
            let mut users = flags.flags_of_file(file).filter(|flag| flags.uses_segment(flag, name));
            let is_held = |flag: &Flag| said.is_none() && self.held.contains(flag.key());
            if said == Some(source) || !users.any(|flag| self.stands(flag) || is_held(flag)) {
                continue;
            }
            self.keep(Resource::Segment, name, (Some(source), said), Vec::new());
            wanted.evaluators.insert(name.clone(), source.clone());
            wanted.members.remove("$evaluators");
        }
    }

    /// Refuses what ends or weakens an emergency by something else than the switch: what that needs, what excludes it, or
    /// what a flag that it turns off gives then.
    pub(super) fn keep_emergencies(
        &mut self,
        (snapshot, fixed): (&Snapshot, &Context),
        after: &CompiledFlags,
        changed: &BTreeSet<FlagKey>,
    ) -> Result<(), Error> {
        let flags = &snapshot.flags;
        let reach = Reach::of(flags, after, changed);
        if reach.reaches_switch() {
            // One may be thrown at this moment: as it is decided on, or nothing is done.
            self.write.unchanged_since = Some(snapshot.revision);
        }
        let tenants = subjects(snapshot, fixed, tenants_of(snapshot));
        let Some(ending) = reach.ending(|flag| self.is_emergency(flags, flag), tenants, self.now) else {
            return Ok(());
        };
        let Ending { switch, flag, whom } = ending;
        let at = |moment: Timestamp| {
            if moment > self.now { format!(" from {moment} on") } else { String::new() }
        };
        let whom = match whom {
            Whom::Tenant(tenant, moment) => format!("for tenant {}{}", quote(tenant.as_str()), at(moment)),
            Whom::NoTenant(moment) => format!("for callers without a tenant{}", at(moment)),
            Whom::Unknown => "for some callers, as far as can be told".to_owned(),
        };
        let what = if flag == switch {
            "would no longer turn off what it guards".to_owned()
        } else {
            format!("turns off {}, which would give something else", quote(flag.as_str()))
        };
        let why = format!(
            "must name {0} if that is meant: it is thrown and {what}, {whom}, by what is given here of the flags that \
             this hangs on",
            quote(switch.as_str())
        );
        Err(Error::field("reset_kill_switches", why))
    }

    /// Refuses to take away, or to give another meaning, what a switch can give as it stands.
    fn check_variants(
        &self,
        flags: &CompiledFlags,
        old: &Flag,
        wanted: &Settings,
        field: &str,
    ) -> Result<(), Error> {
        let (key, settings) = (old.key().as_str(), &old.settings);
        let of_tiers = flags.tier_defaults(key).map(|default| &default.choice);
        let of_tenants = flags.overrides_of_flag(key).filter(|own| !own.has_ended(self.now));
        let choices = of_tiers.chain(of_tenants.map(|own| &own.choice));
        let mut standing: BTreeSet<_> = choices.flat_map(Choice::variants).collect();
        let given = [
            &settings.default_variant,
            &settings.off_variant,
            &settings.safe_variant,
            &settings.expired_variant,
        ];
        standing.extend(given.into_iter().flatten());
        standing.extend(settings.default_rollout.iter().flat_map(|split| split.rollout.variants()));
        if !settings.rules.is_empty() {
            // What a rule can give is known only where it is evaluated.
            standing.extend(settings.variants.keys());
        }
        standing.retain(|name| settings.variants.get(*name) != wanted.variants.get(*name));
        if standing.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = standing.iter().map(|name| quote(name.as_str())).collect();
        let why = format!(
            "must keep {} as it is: the kill switch {} stands at it; reset_kill_switches takes it as given here",
            names.join(", "),
            quote(key)
        );
        Err(Error::field(format!("{field}variants"), why))
    }
}
