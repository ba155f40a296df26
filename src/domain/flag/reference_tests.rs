//! Random sets of flags, held against a model that is slow and obviously right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{
    Choice, CompiledFlags, Evaluation, Flag, FlagState, FlagType, Kind, Layer, Prerequisite, Query, Reason,
    Settings, TenantFacts, TenantOverride, TierDefault, Window,
};
use crate::domain::ids::{FlagKey, GroupName, Revision, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::Context;

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const TENANTS: [&str; 3] = ["t1", "t2", "t3"];
const TIERS: [&str; 2] = ["gold", "silver"];
const VARIANTS: [&str; 2] = ["on", "off"];

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

fn variant(name: &str) -> VariantName {
    VariantName::parse(name).unwrap()
}

fn key(name: &str) -> FlagKey {
    FlagKey::parse(name).unwrap()
}

fn some_variant() -> impl Strategy<Value = Option<VariantName>> {
    prop::option::of(select(&VARIANTS[..]).prop_map(variant))
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..10).prop_map(second)
}

/// A flag as someone might make it; it names any others, also in circles, which the caller has to sort out.
fn settings(name: &'static str) -> impl Strategy<Value = Settings> {
    let state = prop::sample::select(vec![
        FlagState::Enabled,
        FlagState::Enabled,
        FlagState::Enabled,
        FlagState::Disabled,
    ]);
    let lives = (state, some_variant(), some_variant(), some_variant(), some_variant());
    let times = (prop::option::of(moment()), prop::collection::vec((moment(), 1_i64..5), 0..2));
    let others = (
        prop::option::weighted(0.2, select(&KEYS[..])),
        prop::collection::vec((select(&KEYS[..]), select(&VARIANTS[..])), 0..2),
        subsequence(vec!["g", "h"], 0..=2),
        0_i32..3,
    );
    (lives, times, others).prop_map(move |(lives, (expire_time, windows), others)| {
        let mut flag = Settings::new(key(name), FlagType::Boolean);
        flag.fill_boolean_defaults();
        (flag.state, flag.default_variant, flag.safe_variant, flag.off_variant, flag.expired_variant) = lives;
        flag.kind = Kind::KillSwitch;
        flag.expire_time = expire_time;
        let window = |(start, long): (Timestamp, i64)| Window {
            start_time: Some(start),
            end_time: Some(second(start.as_second() + long)),
        };
        flag.schedule = windows.into_iter().map(window).collect();
        let (switch, needed, groups, priority) = others;
        flag.kill_switch = switch.filter(|other| *other != name).map(key);
        let needed = needed.into_iter().filter(|(other, _)| *other != name);
        flag.prerequisites = needed
            .map(|(other, one)| Prerequisite { flag_key: key(other), variants: [variant(one)].into() })
            .collect();
        flag.conflict_groups = groups.into_iter().map(|group| GroupName::parse(group).unwrap()).collect();
        flag.priority = priority;
        flag
    })
}

fn override_of() -> impl Strategy<Value = TenantOverride> {
    let parts = (select(&KEYS[..]), select(&TENANTS[..]), select(&["on", "off", "gone"][..]));
    (parts, prop::option::of(moment())).prop_map(|((flag, tenant, to), expire_time)| TenantOverride {
        tenant: TenantId::parse(tenant).unwrap(),
        flag: key(flag),
        choice: Choice::Variant(variant(to)),
        reason: String::new(),
        expire_time,
        revision: Revision(2),
        update_time: second(0),
    })
}

fn default_of() -> impl Strategy<Value = TierDefault> {
    (select(&KEYS[..]), select(&TIERS[..]), select(&VARIANTS[..])).prop_map(|(flag, tier, to)| TierDefault {
        tier: TierId::parse(tier).unwrap(),
        flag: key(flag),
        choice: Choice::Variant(variant(to)),
        revision: Revision(2),
    })
}

/// Everything there is, as plain lists.
#[derive(Debug, Clone)]
struct World {
    flags: Vec<Settings>,
    defaults: Vec<TierDefault>,
    overrides: Vec<TenantOverride>,
}

fn world() -> impl Strategy<Value = World> {
    let flags: Vec<_> = KEYS.iter().map(|name| prop::option::weighted(0.85, settings(name))).collect();
    let defaults = prop::collection::vec(default_of(), 0..6);
    let overrides = prop::collection::vec(override_of(), 0..8);
    (flags, defaults, overrides).prop_map(|(flags, defaults, overrides)| World {
        flags: flags.into_iter().flatten().collect(),
        defaults,
        overrides,
    })
}

impl World {
    fn compiled(&self) -> CompiledFlags {
        CompiledFlags::build(
            self.flags.iter().map(|flag| Arc::new(flag.clone().into_flag(Revision(1), second(0)))),
            self.defaults.iter().cloned().map(Arc::new),
            self.overrides.iter().cloned().map(Arc::new),
        )
    }

    fn flag(&self, name: &FlagKey) -> Option<&Settings> {
        self.flags.iter().find(|flag| flag.key == *name)
    }

    /// Who is asked before a flag can be: those it needs, and those above it in its groups.
    fn before(&self, flag: &Settings) -> BTreeSet<FlagKey> {
        let above = |other: &&Settings| {
            let ahead = (-i64::from(other.priority), &other.key) < (-i64::from(flag.priority), &flag.key);
            ahead && !other.conflict_groups.is_disjoint(&flag.conflict_groups)
        };
        let rivals = self.flags.iter().filter(above).map(|other| other.key.clone());
        flag.needs().cloned().chain(rivals).collect()
    }

    /// Whether flags hang on each other in a circle: flags that are asked after nobody are taken away until none is left.
    fn has_circle(&self) -> bool {
        let mut left: BTreeMap<FlagKey, BTreeSet<FlagKey>> =
            self.flags.iter().map(|flag| (flag.key.clone(), self.before(flag))).collect();
        while !left.is_empty() {
            let free = left.iter().find(|(_, before)| before.iter().all(|other| !left.contains_key(other)));
            let Some(free) = free.map(|(name, _)| name.clone()) else { return true };
            left.remove(&free);
        }
        false
    }

    /// The slow model: what the order of layers says, word for word.
    fn answer(&self, name: &FlagKey, tenant: &Tenant, now: Timestamp) -> (Layer, Option<VariantName>) {
        let Some(flag) = self.flag(name) else { return (Layer::UnknownFlag, None) };
        let known = |name: Option<&VariantName>| name.filter(|it| flag.variants.contains_key(*it)).cloned();
        let off = || known(flag.off_answer());
        if flag.state != FlagState::Enabled {
            return (Layer::Disabled, None);
        }
        if tenant.access != Access::Full {
            return (Layer::SafeDefault, known(flag.safe_answer()));
        }
        // Only a switch that says it is off lets a flag live.
        if let Some(switch) = &flag.kill_switch
            && self.answer(switch, tenant, now).1 != Some(variant("off"))
        {
            return (Layer::KillSwitch, off());
        }
        if flag.expire_time.is_some_and(|end| end <= now) && flag.expired_variant.is_some() {
            return (Layer::Expired, flag.expired_variant.clone());
        }
        if !flag.schedule.is_empty() && !flag.schedule.iter().any(|window| window.contains(now)) {
            return (Layer::Schedule, off());
        }
        let met = |needed: &Prerequisite| {
            self.answer(&needed.flag_key, tenant, now).1.is_some_and(|it| needed.variants.contains(&it))
        };
        if !flag.prerequisites.iter().all(met) {
            return (Layer::Prerequisite, off());
        }
        let excludes = |other: &&Settings| {
            let shares = !other.conflict_groups.is_disjoint(&flag.conflict_groups);
            let ahead = (-i64::from(other.priority), &other.key) < (-i64::from(flag.priority), &flag.key);
            let seen = self.answer(&other.key, tenant, now).1;
            shares && ahead && seen.is_some() && seen.as_ref() != other.off_answer()
        };
        // Only those ahead are asked: asking behind would go in circles.
        let ahead = self.before(flag);
        if self.flags.iter().filter(|other| ahead.contains(&other.key)).any(|other| excludes(&other)) {
            return (Layer::Conflict, off());
        }
        // The last one written counts.
        let own = self.overrides.iter().rev().find(|own| own.flag == *name && own.tenant == tenant.id);
        if let Some(own) = own.filter(|own| own.expire_time.is_none_or(|end| now < end))
            && let Some(given) = known(own.choice.variant())
        {
            return (Layer::TenantOverride, Some(given));
        }
        let default = self.defaults.iter().rev().find(|it| it.flag == *name && it.tier == tenant.tier);
        if let Some(given) = default.and_then(|default| known(default.choice.variant())) {
            return (Layer::TierDefault, Some(given));
        }
        (Layer::GlobalDefault, flag.default_variant.clone())
    }
}

struct Tenant {
    id: TenantId,
    tier: TierId,
    access: Access,
}

fn tenants() -> Vec<Tenant> {
    let one = |(place, id): (usize, &&str)| Tenant {
        id: TenantId::parse(id).unwrap(),
        tier: TierId::parse(TIERS[place % TIERS.len()]).unwrap(),
        access: if place == 2 { Access::ReadOnly } else { Access::Full },
    };
    TENANTS.iter().enumerate().map(one).collect()
}

/// Calls `look` with every tenant at every moment.
fn everywhere(mut look: impl FnMut(&Tenant, &Query<'_>)) {
    let context = Context::default();
    for tenant in tenants() {
        for now in (0..11).map(second) {
            let facts = TenantFacts { tenant_id: &tenant.id, tier: &tenant.tier, access: tenant.access };
            look(&tenant, &Query { tenant: Some(facts), context: &context, now });
        }
    }
}

/// What is seen of an answer, without what borrows from one set of flags.
fn seen(found: &Evaluation<'_>) -> (Layer, Option<VariantName>, Reason, Option<Timestamp>) {
    (found.layer, found.variant.cloned(), found.reason, found.expire_time)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn evaluation_is_what_the_slow_model_says(world in world()) {
        prop_assume!(!world.has_circle());
        let flags = world.compiled();
        everywhere(|tenant, query| {
            let all: BTreeMap<_, _> = flags.evaluate_all(query).map(|(key, found)| (key.clone(), seen(&found))).collect();
            for name in KEYS {
                let found = flags.evaluate(query, name);
                let expected = world.answer(&key(name), tenant, query.now);
                assert_eq!((found.layer, found.variant.cloned()), expected, "{name} for {} at {}", tenant.id, query.now);
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
        everywhere(|tenant, query| {
            let mut answers = flags.answers(query);
            for name in &order {
                assert_eq!(seen(&answers.of(name)), seen(&flags.evaluate(query, name)), "{name} for {}", tenant.id);
            }
        });
    }

    #[test]
    fn an_explanation_never_contradicts_the_answer(world in world()) {
        let flags = world.compiled();
        everywhere(|_, query| {
            for name in KEYS {
                let found = flags.evaluate(query, name);
                let layers = flags.explain(query, name);
                let deciders: Vec<_> = layers.iter().filter(|layer| layer.decided).collect();
                assert_eq!(deciders.len(), 1, "{layers:?}");
                assert_eq!(deciders[0].layer, found.layer);
                assert_eq!(deciders[0].variant.as_ref(), found.variant);
                assert!(layers.iter().all(|layer| layer.detail.ends_with('.')));
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
            everywhere(|_, query| {
                let found = flags.evaluate(query, name);
                any_static |= found.reason == Reason::Static;
                values.push(found.value.cloned());
            });
            prop_assert!(!any_static || values.windows(2).all(|pair| pair[0] == pair[1]), "{}", name);
        }
    }

    #[test]
    fn step_by_step_is_the_same_as_all_at_once(worlds in prop::collection::vec(world(), 2..4)) {
        // Through several worlds, each step undoing and redoing what differs.
        let mut flags = CompiledFlags::new();
        for world in &worlds {
            for own in flags.clone().flags().flat_map(|flag| flags.overrides_of_flag(flag.key().as_str())).cloned().collect::<Vec<_>>() {
                flags = flags.without_override(own.flag.as_str(), own.tenant.as_str());
            }
            for name in KEYS {
                for tier in TIERS {
                    flags = flags.without_tier_default(name, tier);
                }
                for tenant in TENANTS {
                    flags = flags.without_override(name, tenant);
                }
                if world.flag(&key(name)).is_none() {
                    flags = flags.without_flag(name);
                }
            }
            for own in &world.overrides {
                flags = flags.with_override(Arc::new(own.clone()));
            }
            for flag in &world.flags {
                flags = flags.with_flag(Arc::new(flag.clone().into_flag(Revision(1), second(0))));
            }
            for default in &world.defaults {
                flags = flags.with_tier_default(Arc::new(default.clone()));
            }
        }
        let fresh = worlds.last().unwrap().compiled();
        prop_assert_eq!(flags.len(), fresh.len());
        prop_assert_eq!(&flags.moments, &fresh.moments);
        prop_assert_eq!(flags.crowded_tenants(), fresh.crowded_tenants());
        for name in KEYS {
            let who = |flags: &CompiledFlags| flags.dependents(name).cloned().collect::<Vec<_>>();
            prop_assert_eq!(who(&flags), who(&fresh));
        }
        everywhere(|_, query| {
            for name in KEYS {
                assert_eq!(seen(&flags.evaluate(query, name)), seen(&fresh.evaluate(query, name)), "{name}");
            }
        });
    }

    #[test]
    fn between_two_moments_of_change_nothing_changes_and_what_does_is_told(world in world()) {
        let flags = world.compiled();
        let context = Context::default();
        for tenant in tenants() {
            let facts = TenantFacts { tenant_id: &tenant.id, tier: &tenant.tier, access: tenant.access };
            for now in 0..10 {
                let (from, until) = (second(now), second(now + 1));
                let at = |now| Query { tenant: Some(facts), context: &context, now };
                let told = flags.changed_by_time(from, until);
                for name in KEYS {
                    let (before, after) = (at(from), at(until));
                    let differs = flags.evaluate(&before, name).variant != flags.evaluate(&after, name).variant;
                    prop_assert!(!differs || told.contains(name), "{} of {} at {}", name, tenant.id, until);
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
