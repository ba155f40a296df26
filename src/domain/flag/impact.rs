//! Whom a change would affect: which tenants would see something else, and which flags hang on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::ending::asks_callers;
use super::{CompiledFlags, Evaluation, FlagFile, Query, Segment, TenantFacts, Value};
use crate::domain::ids::{FlagKey, TenantId, VariantName};
use crate::domain::rule::Context;

/// Most examples that are told.
pub const EXAMPLES_MAX: usize = 100;
/// Most dependents that are told by name, and most tenants.
pub const NAMED_MAX: usize = 100;
/// After how many steps of evaluation no further tenant is looked at: about half a second of work. The first tenants
/// then stand for all.
const STEPS_MAX: usize = 1_000_000;

/// What one tenant would see instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// Which tenant.
    pub tenant: TenantId,
    /// Which flag.
    pub flag: FlagKey,
    /// What it sees now.
    pub before: Seen,
    /// What it would see.
    pub after: Seen,
}

/// What a tenant sees of a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The variant.
    pub variant: Option<VariantName>,
    /// The value.
    pub value: Option<Value>,
}

impl Seen {
    fn of(found: &Evaluation<'_>) -> Self {
        Self { variant: found.variant.cloned(), value: found.value.cloned() }
    }
}

/// Whom a change would affect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Impact {
    /// How many of the tenants looked at would see something else, of any flag.
    pub tenants_affected: usize,
    /// The first [`NAMED_MAX`] of them.
    pub tenants: Vec<TenantId>,
    /// How many were looked at.
    pub tenants_examined: usize,
    /// The first [`EXAMPLES_MAX`] shifts.
    pub examples: Vec<Shift>,
    /// The flags that hang on what is changed, at most [`NAMED_MAX`].
    pub dependents: Vec<FlagKey>,
    /// How many of them there are.
    pub dependents_total: usize,
    /// Whether attributes of callers have a say in what is affected: what it is for them is not looked at.
    pub asks_callers: bool,
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
    let through_others = changed_through_others(before, after);
    let roots = || changed.union(&through_others).cloned();
    let mut affected = before.affected_by(roots());
    affected.extend(after.affected_by(roots()));
    let mut impact = Impact { asks_callers: ask_callers(&affected, before, after), ..Impact::default() };
    // One that is changed itself is none of the others, unless what it needs goes: a plan tells of it with that, too.
    let gone = changed.iter().filter(|key| after.flag(key.as_str()).is_none());
    let left: BTreeSet<_> = gone.flat_map(|key| after.dependents(key.as_str())).collect();
    let is_left = |key: &FlagKey| left.contains(key) && after.flag(key.as_str()).is_some();
    let dependents: Vec<_> = affected.iter().filter(|key| !changed.contains(*key) || is_left(key)).collect();
    impact.dependents_total = dependents.len();
    impact.dependents = dependents.into_iter().take(NAMED_MAX).cloned().collect();
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
                    before: Seen::of(&old),
                    after: Seen::of(&new),
                });
            }
        }
        // One for the tenant itself, whose attributes are laid out.
        steps += 1 + was.steps() + is.steps();
        impact.tenants_examined += 1;
        if shifted {
            impact.tenants_affected += 1;
            if impact.tenants.len() < NAMED_MAX {
                impact.tenants.push(subject.facts.tenant_id.clone());
            }
        }
    }
    impact
}

/// Whether what a caller says of itself has a say in one of these flags, now or then.
fn ask_callers(keys: &BTreeSet<FlagKey>, before: &CompiledFlags, after: &CompiledFlags) -> bool {
    let of = |flags: &CompiledFlags, key: &str| {
        flags.flag(key).is_some_and(|flag| asks_callers(&flag.settings))
            || flags.tier_defaults(key).any(|default| default.choice.asks_callers())
    };
    keys.iter().any(|key| of(before, key.as_str()) || of(after, key.as_str()))
}

/// The flags that stay as they are, but use a segment or something of their file's that is changed.
pub(super) fn changed_through_others(before: &CompiledFlags, after: &CompiledFlags) -> BTreeSet<FlagKey> {
    let name = |segment: &Arc<Segment>| segment.settings.name.clone();
    let is_other = |segment: &&Arc<Segment>| {
        before.segment(name(segment).as_str()).is_none_or(|old| !Arc::ptr_eq(old, segment))
    };
    let segments: Vec<_> = after.segments().filter(is_other).map(name).collect();
    let mut found = BTreeSet::new();
    for segment in &segments {
        found.extend(after.users_of_segment(segment.as_str()).map(|flag| flag.key().clone()));
    }
    let is_other = |file: &&Arc<FlagFile>| before.file(&file.name).is_none_or(|old| !Arc::ptr_eq(old, file));
    for file in after.files().filter(is_other) {
        found.extend(after.flags_of_file(&file.name).map(|flag| flag.key().clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::flag::{
        Body, Flag, FlagType, NewSegment, Origin, Prerequisite, Settings, TargetingRule,
    };
    use crate::domain::flagd::Head;
    use crate::domain::ids::{Revision, SegmentName, TierId};
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
    fn flags_hang_on_the_segments_that_they_use_and_on_the_file_that_they_are_from() {
        let segment = |source| Segment {
            settings: NewSegment {
                name: SegmentName::parse("europe").unwrap(),
                description: String::new(),
                source,
            },
            revision: Revision(1),
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
        };
        let file = |head: &Head| FlagFile::new("shop".to_owned(), head, Timestamp::UNIX_EPOCH);
        let flag = |place: usize, origin: Option<Origin>| {
            let mut settings = Settings::new(key(place), FlagType::Boolean);
            settings.fill_boolean_defaults();
            let body = Body::Logic(json!({"if": [{"$ref": "europe"}, "on", null]}));
            settings.rules = vec![TargetingRule { id: "r".to_owned(), description: String::new(), body }];
            Arc::new(Flag { origin, ..settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH) })
        };
        let origin = Origin { file: "shop".to_owned(), source: "{}".into(), is_changed: false };
        let before = CompiledFlags::build([flag(0, None), flag(1, Some(origin))], [], [])
            .with_segments([Arc::new(segment(json!(false)))])
            .with_file(Arc::new(file(&Head::default())));
        let found = |after: &CompiledFlags| {
            let nobody = std::iter::empty();
            impact(&before, after, &BTreeSet::new(), nobody, Timestamp::UNIX_EPOCH).dependents
        };
        assert_eq!(found(&before), []);
        assert_eq!(found(&before.clone().with_segments([Arc::new(segment(json!(true)))])), [key(0)]);
        assert_eq!(found(&before.clone().with_file(Arc::new(file(&Head::default())))), [key(1)]);
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
