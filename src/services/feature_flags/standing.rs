//! How kill switches stand: no set and no file changes that unless it is asked for, so that none ends an emergency.

use std::collections::BTreeSet;

use super::apply_flags::{Difference, Plan, Resource};
use crate::domain::error::Error;
use crate::domain::flag::{Choice, CompiledFlags, Flag, FlagField, Kind, Settings};
use crate::domain::text::quote;

/// What of a switch's settings says how it stands; what tiers get of it does, too.
const STANDING: [FlagField; 3] = [FlagField::State, FlagField::DefaultVariant, FlagField::DefaultRollout];

impl Plan<'_> {
    /// Whether a flag is a kill switch that stays as it stands.
    pub(super) fn stands(&self, flag: &Flag) -> bool {
        flag.settings.kind == Kind::KillSwitch && !self.manner.reset_kill_switches.contains(flag.key())
    }

    /// Leaves a kill switch as it stands, and tells where something else was wanted. `field` says where in the request
    /// the flag is.
    pub(super) fn keep_standing(
        &mut self,
        flags: &CompiledFlags,
        (old, wanted): (&Flag, &mut Settings),
        field: &str,
    ) -> Result<(), Error> {
        if !self.stands(old) {
            return Ok(());
        }
        check_variants(flags, old, wanted, field)?;
        let said = wanted.clone();
        let differing = STANDING.into_iter().filter(|field| !said.same(*field, &old.settings));
        let fields: Vec<_> = differing.inspect(|field| wanted.take(*field, &old.settings)).collect();
        if !fields.is_empty() {
            let names = fields.into_iter().map(|field| field.as_str().to_owned()).collect();
            let change = (Some(&old.settings), Some(&said));
            self.kept.push(Difference::new(Resource::Flag, old.key().as_str(), change, names));
        }
        Ok(())
    }
}

/// Refuses to take away, or to give another meaning, what a switch stands at.
fn check_variants(flags: &CompiledFlags, old: &Flag, wanted: &Settings, field: &str) -> Result<(), Error> {
    let (key, settings) = (old.key().as_str(), &old.settings);
    let of_tiers = flags.tier_defaults(key).map(|default| &default.choice);
    let choices = of_tiers.chain(flags.overrides_of_flag(key).map(|own| &own.choice));
    let mut standing: BTreeSet<_> = choices.flat_map(Choice::variants).collect();
    standing.extend(&settings.default_variant);
    standing.extend(settings.default_rollout.iter().flat_map(|split| split.rollout.variants()));
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
