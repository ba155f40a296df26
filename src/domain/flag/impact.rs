//! Whom a change would affect: which tenants would see something else, and which flags hang on it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CompiledFlags, Query, TenantFacts};
use crate::domain::ids::{FlagKey, TenantId, VariantName};
use crate::domain::rule::Context;

/// Most examples that are told.
pub const EXAMPLES_MAX: usize = 100;
/// Most dependents that are told by name.
pub const DEPENDENTS_MAX: usize = 100;
/// After how many steps of evaluation no further tenant is looked at: about half a second of work. The first tenants
/// then stand for all.
const STEPS_MAX: usize = 1_000_000;

/// What one tenant would see instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Which tenant.
    pub tenant: TenantId,
    /// Which flag.
    pub flag: FlagKey,
    /// The variant it sees now.
    pub before: Option<VariantName>,
    /// The variant it would see.
    pub after: Option<VariantName>,
}

/// Whom a change would affect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// How many of the tenants looked at would see something else, of any flag.
    pub tenants_affected: usize,
    /// How many were looked at.
    pub tenants_examined: usize,
    /// The first [`EXAMPLES_MAX`] shifts.
    pub examples: Vec<Shift>,
    /// The flags that hang on what is changed, at most [`DEPENDENTS_MAX`].
    pub dependents: Vec<FlagKey>,
    /// How many of them there are.
    pub dependents_total: usize,
}

/// One tenant to look at.
pub struct Subject<'a> {
    /// Its facts.
    pub facts: TenantFacts<'a>,
    /// Its attributes, and no others: what a caller would add is not known.
    pub context: Context,
}

/// Compares what tenants see before and after a change of `changed`.
pub fn impact<'a>(
    before: &CompiledFlags,
    after: &CompiledFlags,
    changed: &BTreeSet<FlagKey>,
    tenants: impl Iterator<Item = Subject<'a>>,
    now: Timestamp,
) -> Impact {
    impact_within(STEPS_MAX, (before, after), changed, tenants, now)
}

fn impact_within<'a>(
    steps_max: usize,
    (before, after): (&CompiledFlags, &CompiledFlags),
    changed: &BTreeSet<FlagKey>,
    tenants: impl Iterator<Item = Subject<'a>>,
    now: Timestamp,
) -> Impact {
    let mut affected = before.affected_by(changed.iter().cloned());
    affected.extend(after.affected_by(changed.iter().cloned()));
    let mut impact = Impact::default();
    let dependents: Vec<_> = affected.difference(changed).collect();
    impact.dependents_total = dependents.len();
    impact.dependents = dependents.into_iter().take(DEPENDENTS_MAX).cloned().collect();
    let mut steps = 0;
    for subject in tenants {
        if steps >= steps_max {
            break;
        }
        let query = Query { tenant: Some(subject.facts), context: &subject.context, now };
        let (mut was, mut is) = (before.answers(&query), after.answers(&query));
        let mut shifted = false;
        for key in &affected {
            let (old, new) = (was.of(key.as_str()), is.of(key.as_str()));
            if old.value == new.value && old.variant == new.variant {
                continue;
            }
            shifted = true;
            if impact.examples.len() < EXAMPLES_MAX {
                impact.examples.push(Shift {
                    tenant: subject.facts.tenant_id.clone(),
                    flag: key.clone(),
                    before: old.variant.cloned(),
                    after: new.variant.cloned(),
                });
            }
        }
        // One for the tenant itself, whose attributes are laid out.
        steps += 1 + was.steps() + is.steps();
        impact.tenants_examined += 1;
        impact.tenants_affected += usize::from(shifted);
    }
    impact
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::flag::{FlagType, Prerequisite, Settings};
    use crate::domain::ids::{Revision, TierId};
    use crate::domain::lifecycle::Access;

    const LENGTH: usize = 1_000;

    fn key(place: usize) -> FlagKey {
        FlagKey::parse(&format!("flag{place:04}")).unwrap()
    }

    /// Flags that are on, each needing that the one before it is.
    fn chain() -> CompiledFlags {
        let flag = |place: usize| {
            let mut settings = Settings::new(key(place), FlagType::Boolean);
            settings.fill_boolean_defaults();
            let on = VariantName::parse("on").unwrap();
            settings.default_variant = Some(on.clone());
            let needed = place.checked_sub(1).map(key);
            let needed = needed.map(|flag_key| Prerequisite { flag_key, variants: [on].into() });
            settings.prerequisites.extend(needed);
            Arc::new(settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH))
        };
        CompiledFlags::build((0..LENGTH).map(flag), [], [])
    }

    fn examine(steps_max: usize, tenants: usize) -> Impact {
        let before = chain();
        let after = before.clone().without_flag("flag0000");
        let ids: Vec<_> =
            (0..tenants).map(|place| TenantId::parse(&format!("tenant{place}")).unwrap()).collect();
        let tier = TierId::parse("gold").unwrap();
        let subjects = ids.iter().map(|tenant_id| Subject {
            facts: TenantFacts { tenant_id, tier: &tier, access: Access::Full },
            context: Context::default(),
        });
        let changed = BTreeSet::from([key(0)]);
        impact_within(steps_max, (&before, &after), &changed, subjects, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_long_chain_costs_in_proportion_to_its_length() {
        let flags = chain();
        let context = Context::default();
        let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
        // From its end, from its start, and again: each is walked once.
        for keys in [(0..LENGTH).rev().collect::<Vec<_>>(), (0..LENGTH).collect()] {
            let mut answers = flags.answers(&query);
            for place in keys.iter().chain(&keys) {
                let found = answers.of(key(*place).as_str());
                assert_eq!(found, flags.evaluate(&query, key(*place).as_str()));
            }
            assert!((LENGTH..=5 * LENGTH).contains(&answers.steps()), "{}", answers.steps());
        }
    }

    #[test]
    fn no_further_tenant_is_looked_at_once_the_steps_are_used_up_and_prerequisites_count() {
        let all = examine(usize::MAX, 3);
        assert_eq!((all.tenants_examined, all.tenants_affected, all.dependents_total), (3, 3, LENGTH - 1));
        assert_eq!(all.examples.len(), EXAMPLES_MAX);
        // A tenant takes more than a step for each flag before and after, and fewer than ten.
        assert_eq!(examine(2 * LENGTH, 3).tenants_examined, 1);
        let some = examine(20 * LENGTH, 30);
        assert!((2..=10).contains(&some.tenants_examined), "{}", some.tenants_examined);
        assert_eq!(some.tenants_affected, some.tenants_examined);
    }
}
