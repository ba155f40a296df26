//! Random sets of flags, held against a model that is slow and obviously right.

mod model;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use self::model::Said;
use self::world::{KEYS, SEGMENTS, TENANTS, TIERS, World, key, second, variant, world};
use super::{
    CompiledFlags, Evaluation, Flag, FlagType, Kind, Layer, Prerequisite, Query, Reason, Resolved, Settings,
};
use crate::domain::ids::{Revision, SegmentName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Context, Effort};

/// What is seen of an answer, without what borrows from one set of flags.
fn seen(found: &Evaluation<'_>) -> (Said, Reason, Option<Timestamp>) {
    (Said::of(found), found.reason, found.expire_time)
}

type Step<'a> = Box<dyn Fn(CompiledFlags) -> CompiledFlags + 'a>;

/// What makes a world of any other.
fn steps(world: &World) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for name in KEYS {
        for tier in TIERS {
            steps.push(Box::new(move |flags| flags.without_tier_default(name, tier)));
        }
        for tenant in TENANTS {
            steps.push(Box::new(move |flags| flags.without_override(name, tenant)));
        }
        if world.flag(&key(name)).is_none() {
            steps.push(Box::new(move |flags| flags.without_flag(name)));
        }
    }
    for own in &world.overrides {
        steps.push(Box::new(|flags| flags.with_override(Arc::new(own.clone()))));
    }
    for name in SEGMENTS {
        steps.push(Box::new(move |flags| flags.without_segment(&SegmentName::parse(name).unwrap())));
    }
    steps.push(Box::new(|flags| flags.with_segments(world.segments.iter().cloned())));
    for flag in &world.flags {
        steps.push(Box::new(|flags| {
            flags.with_flag(Arc::new(flag.clone().into_flag(Revision(1), second(0))))
        }));
    }
    for default in &world.defaults {
        steps.push(Box::new(|flags| flags.with_tier_default(Arc::new(default.clone()))));
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn evaluation_is_what_the_slow_model_says(world in world()) {
        prop_assume!(!world.has_circle());
        let flags = world.compiled();
        world.everywhere(|caller, query| {
            let mut all = BTreeMap::new();
            flags.evaluate_all(query, Effort::Full, |key, found| {
                all.insert(key.clone(), seen(found));
            }).unwrap();
            for name in KEYS {
                let found = flags.evaluate(query, name);
                let expected = world.answer(&key(name), caller, query.now);
                assert_eq!(Said::of(&found), expected, "{name} for {query:?}");
                if world.flag(&key(name)).is_some() {
                    assert_eq!(all[name], seen(&found), "alone and among all");
                }
            }
        });
    }

    #[test]
    fn answers_are_the_same_in_whatever_order_they_are_asked_for(
        world in world(),
        order in prop::collection::vec(select(&KEYS[..]), 1..12),
    ) {
        prop_assume!(!world.has_circle());
        let flags = world.compiled();
        world.everywhere(|_, query| {
            let mut answers = flags.answers(query);
            for name in &order {
                assert_eq!(seen(&answers.of(name)), seen(&flags.evaluate(query, name)), "{name} for {query:?}");
            }
        });
    }

    #[test]
    fn an_explanation_never_contradicts_the_answer(world in world()) {
        let flags = world.compiled();
        world.everywhere(|_, query| {
            for name in KEYS {
                let found = flags.evaluate(query, name);
                let layers = flags.explain(query, Effort::Full, name).unwrap();
                let deciders: Vec<_> = layers.iter().filter(|layer| layer.decided).collect();
                assert_eq!(deciders.len(), 1, "{layers:?}");
                assert_eq!(deciders[0].layer, found.layer);
                assert_eq!(deciders[0].variant.as_ref(), found.variant);
                assert!(layers.iter().all(|layer| layer.detail.ends_with('.')));
            }
        });
    }

    #[test]
    fn a_suspension_neither_ends_nor_begins_what_a_switch_does(world in world()) {
        prop_assume!(!world.has_circle());
        let flags = world.compiled();
        world.everywhere(|caller, query| {
            for flag in flags.flags() {
                let switch = flag.settings.kill_switch.as_ref().and_then(|switch| flags.flag(switch.as_str()));
                if switch.is_none_or(|switch| switch.settings.kind != Kind::KillSwitch) {
                    continue;
                }
                let is_killed = |access| {
                    let caller = caller.with(access);
                    flags.evaluate(&caller.at(query.now), flag.key().as_str()).layer == Layer::KillSwitch
                };
                let killed = [Access::Full, Access::ReadOnly, Access::None].map(is_killed);
                assert!(killed == [killed[0]; 3], "{} for {query:?}", flag.key());
            }
        });
    }

    #[test]
    fn a_circle_is_found_exactly_where_there_is_one_and_its_path_is_one(world in world()) {
        let flags = world.compiled();
        let keys: Vec<_> = flags.flags().map(|flag| flag.key().clone()).collect();
        let found = flags.circle(keys.iter());
        prop_assert_eq!(found.is_some(), world.has_circle(), "{:?}", found);
        if let Some(path) = found {
            prop_assert_eq!(path.first(), path.last());
            prop_assert!(path.len() > 1);
            for step in path.windows(2) {
                let from = world.flag(&step[0]).unwrap();
                prop_assert!(world.before(from).contains(&step[1]), "{:?}", path);
            }
        }
    }

    #[test]
    fn static_is_said_only_of_what_is_the_same_for_everybody_at_every_moment(world in world()) {
        let flags = world.compiled();
        for name in KEYS {
            let (mut values, mut any_static) = (Vec::new(), false);
            world.everywhere(|_, query| {
                let found = flags.evaluate(query, name);
                any_static |= found.reason == Reason::Static;
                values.push(found.value.cloned());
            });
            prop_assert!(!any_static || values.windows(2).all(|pair| pair[0] == pair[1]), "{}", name);
        }
    }

    #[test]
    fn what_is_kept_of_an_earlier_state_is_what_would_be_worked_out_anew(worlds in prop::collection::vec(world(), 2..4)) {
        let seen = |found: Resolved<'_>| {
            (found.flag.key().clone(), found.is_enabled, found.default.cloned(), found.targeting, found.is_cut)
        };
        let mut flags = CompiledFlags::new();
        for (number, step) in worlds.iter().flat_map(steps).enumerate() {
            let next = step(flags.clone());
            let keys: Vec<_> = KEYS.map(key).to_vec();
            if flags.circle(&keys).is_some() || next.circle(&keys).is_some() {
                flags = next;
                continue;
            }
            // Another caller with every step: all of them at each would take minutes.
            let callers = worlds[0].callers();
            let query = &callers[number % callers.len()].at(second(5));
            let tenant = query.tenant.as_ref();
            let changed = next.changed_since(&flags.basis(tenant), &next.basis(tenant));
            let kept = |flags: &CompiledFlags| -> Vec<_> {
                flags.resolved(query).into_iter().map(seen).filter(|found| !changed.contains(&found.0)).collect()
            };
            assert_eq!(kept(&flags), kept(&next), "{changed:?} for {query:?}");
            // A part is as in the whole.
            let part = next.resolved_of(query, &changed);
            let whole = next.resolved(query).into_iter().filter(|found| changed.contains(found.flag.key()));
            assert_eq!(part, whole.collect::<Vec<_>>());
            flags = next;
        }
    }

    #[test]
    fn step_by_step_is_the_same_as_all_at_once(worlds in prop::collection::vec(world(), 2..4)) {
        // Through several worlds, each step undoing and redoing what differs.
        let flags = worlds.iter().flat_map(steps).fold(CompiledFlags::new(), |flags, step| step(flags));
        let last = worlds.last().unwrap();
        let fresh = last.compiled();
        prop_assert_eq!(flags.len(), fresh.len());
        prop_assert_eq!(&flags.moments, &fresh.moments);
        prop_assert_eq!(flags.crowded_tenants(), fresh.crowded_tenants());
        for name in KEYS {
            let who = |flags: &CompiledFlags| flags.dependents(name).cloned().collect::<Vec<_>>();
            prop_assert_eq!(who(&flags), who(&fresh));
        }
        last.everywhere(|_, query| {
            for name in KEYS {
                assert_eq!(seen(&flags.evaluate(query, name)), seen(&fresh.evaluate(query, name)), "{name}");
            }
        });
    }

    #[test]
    fn between_two_moments_of_change_nothing_changes_and_what_does_is_told(world in world()) {
        let flags = world.compiled();
        for caller in world.callers() {
            for now in 0..10 {
                let (from, until) = (second(now), second(now + 1));
                let (before, after) = (caller.at(from), caller.at(until));
                let told = flags.changed_by_time(from, until);
                for name in KEYS {
                    let differs = flags.evaluate(&before, name).variant != flags.evaluate(&after, name).variant;
                    prop_assert!(!differs || told.contains(name), "{} of {:?}", name, after);
                }
                let next = flags.next_change(from);
                prop_assert!(told.is_empty() || next.is_some_and(|next| next <= until));
            }
        }
    }
}

/// Flags of the longest chain there can be.
const LENGTH: usize = 10_000;

#[test]
fn a_chain_of_ten_thousand_prerequisites_is_evaluated_and_its_circle_is_found() {
    let name = |number: usize| key(&format!("f{number}"));
    let flag = |number: usize, needed: usize| -> Arc<Flag> {
        let mut settings = Settings::new(name(number), FlagType::Boolean);
        settings.fill_boolean_defaults();
        settings.default_variant = Some(variant("on"));
        settings.prerequisites =
            vec![Prerequisite { flag_key: name(needed), variants: [variant("on")].into() }];
        Arc::new(settings.into_flag(Revision(1), second(0)))
    };
    let mut first = Settings::new(name(0), FlagType::Boolean);
    first.fill_boolean_defaults();
    first.default_variant = Some(variant("on"));
    let first = Arc::new(first.into_flag(Revision(1), second(0)));
    let chain = CompiledFlags::build((1..LENGTH).map(|n| flag(n, n - 1)).chain([first]), [], []);
    let context = Context::default();
    let query = Query { tenant: None, context: &context, now: second(0) };
    let last = name(LENGTH - 1);
    assert_eq!(chain.evaluate(&query, last.as_str()).layer, Layer::GlobalDefault);
    assert_eq!(chain.circle([&last]), None);
    let closed = chain.with_flag(flag(0, LENGTH - 1));
    assert_eq!(closed.circle([&last]).unwrap().len(), LENGTH + 1);
    // Should one get in all the same, evaluation still ends.
    assert_eq!(closed.evaluate(&query, last.as_str()).reason, Reason::Default);
}
