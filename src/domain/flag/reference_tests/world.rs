//! Random sets of flags, as somebody might make them, and those who ask for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value as Json, json};

use super::super::{
    Body, Choice, CompiledFlags, FlagState, FlagType, Kind, NewSegment, Prerequisite, Query, Segment,
    Settings, Split, TargetingRule, TenantFacts, TenantOverride, TierDefault, Window,
};
use crate::domain::ids::{FlagKey, GroupName, Revision, SegmentName, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Condition, Context, HashVersion, Operator, Rollout, Step, Weight};

pub(super) const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
pub(super) const TENANTS: [&str; 3] = ["t1", "t2", "t3"];
pub(super) const TIERS: [&str; 2] = ["gold", "silver"];
/// The last is one that nobody makes.
pub(super) const SEGMENTS: [&str; 3] = ["europe", "staff", "gone"];
const VARIANTS: [&str; 2] = ["on", "off"];
/// With one that no flag has.
const GIVEN: [&str; 5] = ["on", "off", "on", "off", "gone"];
const VERSIONS: [&str; 4] = ["1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0"];
const PLANS: [&str; 4] = ["basic", "pro", "vip", "p"];

pub(super) fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

pub(super) fn variant(name: &str) -> VariantName {
    VariantName::parse(name).unwrap()
}

pub(super) fn key(name: &str) -> FlagKey {
    FlagKey::parse(name).unwrap()
}

fn some_variant() -> impl Strategy<Value = Option<VariantName>> {
    prop::option::of(select(&VARIANTS[..]).prop_map(variant))
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..10).prop_map(second)
}

/// Weights, perhaps of a variant that the flag does not have, perhaps all of them 0.
fn weights() -> impl Strategy<Value = Vec<Weight>> {
    prop::collection::vec(0_u32..4, 3).prop_map(|weights| {
        let weight = |(name, weight): (&str, u32)| Weight { variant: variant(name), weight };
        ["on", "off", "gone"].into_iter().zip(weights).map(weight).collect()
    })
}

fn split() -> impl Strategy<Value = Split> {
    let steps = prop::collection::btree_map(0_i64..10, weights(), 0..3);
    let bucket_by = select(&["tenantId", "targetingKey", "user.team", "seats", "tags"][..]);
    (select(&["", "s", "search"][..]), weights(), steps, bucket_by).prop_map(
        |(seed, weights, steps, bucket_by)| {
            let step = |(start, weights)| Step { start_time: second(start), weights };
            let steps = steps.into_iter().map(step).collect();
            let rollout = Rollout { seed: seed.to_owned(), weights, steps };
            Split { rollout, bucket_by: bucket_by.to_owned() }
        },
    )
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        select(&GIVEN[..]).prop_map(|name| Choice::Variant(variant(name))),
        split().prop_map(Choice::Rollout)
    ]
}

/// A comparison of each form. What is compared with something of another type is the rule language's own affair, which
/// the rule's tests hold against flagd.
fn condition() -> impl Strategy<Value = Condition> {
    use Operator as O;
    let of = |attribute: &str, operator, values: Vec<Json>| Condition {
        attribute: attribute.to_owned(),
        operator,
        values,
    };
    let texts = || prop::collection::vec(select(&PLANS[..]).prop_map(Json::from), 1..3);
    let numbers = || prop::collection::vec((0_i64..4).prop_map(Json::from), 1..3);
    let words = select(&["plan", "user.team", "tags"][..]);
    let of_words = select(&[O::In, O::NotIn, O::StartsWith, O::EndsWith, O::Contains][..]);
    let bounds = || select(&[O::LessThan, O::AtMost, O::GreaterThan, O::AtLeast][..]);
    let of_versions = select(
        &[
            O::VersionEqual,
            O::VersionLessThan,
            O::VersionAtMost,
            O::VersionGreaterThan,
            O::VersionAtLeast,
            O::VersionSameMajor,
            O::VersionSameMinor,
        ][..],
    );
    let any = select(&["plan", "seats", "user", "user.team", "missing"][..]);
    let names = prop::collection::vec(select(&SEGMENTS[..]).prop_map(Json::from), 1..3);
    prop_oneof![
        (words, of_words, texts()).prop_map(move |(name, operator, values)| of(name, operator, values)),
        (select(&[O::In, O::NotIn][..]), numbers())
            .prop_map(move |(operator, values)| of("seats", operator, values)),
        (bounds(), 0_i64..4).prop_map(move |(operator, bound)| of("seats", operator, vec![bound.into()])),
        (bounds(), select(&PLANS[..])).prop_map(move |(operator, bound)| of(
            "plan",
            operator,
            vec![bound.into()]
        )),
        (of_versions, select(&VERSIONS[..])).prop_map(move |(operator, version)| of(
            "version",
            operator,
            vec![version.into()]
        )),
        (any, select(&[O::Present, O::Absent][..])).prop_map(move |(name, operator)| of(
            name,
            operator,
            Vec::new()
        )),
        (select(&[O::InSegment, O::NotInSegment][..]), names)
            .prop_map(move |(operator, values)| of("", operator, values)),
    ]
}

/// A test in the rule language that uses some segments.
fn test(segments: &'static [&'static str]) -> impl Strategy<Value = Json> {
    let mut leaves = vec![
        json!(true),
        json!({"==": [{"var": "plan"}, "pro"]}),
        json!({"==": [{"var": "user.team"}, "a"]}),
        json!({"==": [{"var": "seats"}, 2]}),
        json!({"var": "missing"}),
    ];
    leaves.extend(segments.iter().map(|name| json!({ "$ref": name })));
    select(leaves).prop_recursive(3, 8, 3, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            parts().prop_map(|parts| json!({ "and": parts })),
            parts().prop_map(|parts| json!({ "or": parts })),
            inner.clone().prop_map(|inner| json!({ "!": [inner] })),
        ]
    })
}

/// A rule in the rule language: what it gives where its test holds, and where not.
fn logic() -> impl Strategy<Value = Json> {
    let name = select(&GIVEN[..]).prop_map(Json::from);
    let share = (0_u32..4, 0_u32..4).prop_map(|(on, off)| {
        let split =
            json!({"fractional": [{"cat": ["s", {"var": "targetingKey"}]}, ["on", on], ["off", off]]});
        json!({"if": [{"var": "targetingKey"}, split, null]})
    });
    let given = prop_oneof![3 => name, 2 => Just(Json::Null), 1 => share];
    (test(&SEGMENTS), given.clone(), given).prop_map(|(test, yes, no)| json!({ "if": [test, yes, no] }))
}

fn rules() -> impl Strategy<Value = Vec<TargetingRule>> {
    let matches = (prop::collection::vec(condition(), 0..3), choice())
        .prop_map(|(conditions, serve)| Body::Match { conditions, serve });
    let body = prop_oneof![2 => matches, 1 => logic().prop_map(Body::Logic)];
    prop::collection::vec(body, 0..3).prop_map(|bodies| {
        let rule =
            |(place, body)| TargetingRule { id: format!("r{place}"), description: String::new(), body };
        bodies.into_iter().enumerate().map(rule).collect()
    })
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
    let kind = select(vec![Kind::KillSwitch, Kind::Operational]);
    let own = (prop::option::weighted(0.3, split()), rules(), kind, select(HashVersion::ALL));
    (lives, times, others, own).prop_map(move |(lives, (expire_time, windows), others, own)| {
        let mut flag = Settings::new(key(name), FlagType::Boolean);
        flag.fill_boolean_defaults();
        (flag.state, flag.default_variant, flag.safe_variant, flag.off_variant, flag.expired_variant) = lives;
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
        (flag.default_rollout, flag.rules, flag.kind, flag.hash_version) = own;
        flag
    })
}

fn override_of() -> impl Strategy<Value = TenantOverride> {
    let parts = (select(&KEYS[..]), select(&TENANTS[..]), choice());
    (parts, prop::option::of(moment())).prop_map(|((flag, tenant, choice), expire_time)| TenantOverride {
        tenant: TenantId::parse(tenant).unwrap(),
        flag: key(flag),
        choice,
        reason: String::new(),
        expire_time,
        revision: Revision(2),
        update_time: second(0),
    })
}

fn default_of() -> impl Strategy<Value = TierDefault> {
    (select(&KEYS[..]), select(&TIERS[..]), choice()).prop_map(|(flag, tier, choice)| TierDefault {
        tier: TierId::parse(tier).unwrap(),
        flag: key(flag),
        choice,
        revision: Revision(2),
    })
}

/// The first may use the second, and either one that is not there.
fn segments() -> impl Strategy<Value = Vec<Arc<Segment>>> {
    let sources = (prop::option::weighted(0.9, test(&SEGMENTS[1..])), prop::option::weighted(0.9, test(&[])));
    sources.prop_map(|(europe, staff)| {
        let segment = |(name, source): (&str, Option<Json>)| {
            let name = SegmentName::parse(name).unwrap();
            let settings = NewSegment { name, description: String::new(), source: source? };
            Some(Arc::new(settings.into_segment(second(0))))
        };
        SEGMENTS.into_iter().zip([europe, staff]).filter_map(segment).collect()
    })
}

/// Everything there is, as plain lists.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) flags: Vec<Settings>,
    pub(super) defaults: Vec<TierDefault>,
    pub(super) overrides: Vec<TenantOverride>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Which tenant comes with which attributes.
    turn: usize,
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let flags: Vec<_> = KEYS.iter().map(|name| prop::option::weighted(0.85, settings(name))).collect();
    let defaults = prop::collection::vec(default_of(), 0..6);
    let overrides = prop::collection::vec(override_of(), 0..8);
    (flags, defaults, overrides, segments(), 0_usize..4).prop_map(
        |(flags, defaults, overrides, segments, turn)| World {
            flags: flags.into_iter().flatten().collect(),
            defaults,
            overrides,
            segments,
            turn,
        },
    )
}

/// A tenant, as far as flags know it.
pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) tier: TierId,
    pub(super) access: Access,
}

/// Who asks; somebody without a tenant is one of them.
pub(super) struct Caller {
    pub(super) tenant: Option<Tenant>,
    pub(super) context: Context,
}

impl Caller {
    /// The same, with a tenant in another state.
    pub(super) fn with(&self, access: Access) -> Self {
        let tenant = self.tenant.as_ref();
        Self {
            tenant: tenant.map(|Tenant { id, tier, .. }| Tenant {
                id: id.clone(),
                tier: tier.clone(),
                access,
            }),
            context: self.context.clone(),
        }
    }

    pub(super) fn at(&self, now: Timestamp) -> Query<'_> {
        let tenant = self.tenant.as_ref().map(|Tenant { id, tier, access }| TenantFacts {
            tenant_id: id,
            tier,
            access: *access,
        });
        Query { tenant, context: &self.context, now }
    }
}

fn contexts() -> Vec<Context> {
    let all = [
        json!({}),
        json!({
            "plan": "pro", "seats": 2, "version": "1.2.0", "user": {"team": "a"}, "targetingKey": "ada",
            "tags": ["pro", "x"]
        }),
        json!({"plan": "vip", "seats": 0, "version": "2.0.0-rc.1", "user": {}, "targetingKey": 7, "tags": "provip"}),
        json!({
            "plan": "p", "seats": 3.5, "version": "none", "user": {"team": "pro"}, "targetingKey": "bob",
            "tenantId": "t9", "tags": []
        }),
    ];
    all.iter().map(|it| Context::new(it.as_object().unwrap().clone()).unwrap()).collect()
}

impl World {
    pub(super) fn compiled(&self) -> CompiledFlags {
        CompiledFlags::build(
            self.flags.iter().map(|flag| Arc::new(flag.clone().into_flag(Revision(1), second(0)))),
            self.defaults.iter().cloned().map(Arc::new),
            self.overrides.iter().cloned().map(Arc::new),
        )
        .with_segments(self.segments.iter().cloned())
    }

    pub(super) fn callers(&self) -> Vec<Caller> {
        let mut contexts = contexts();
        contexts.rotate_left(self.turn);
        let tenant = |place: usize| {
            Some(Tenant {
                id: TenantId::parse(TENANTS.get(place)?).unwrap(),
                tier: TierId::parse(TIERS[place % TIERS.len()]).unwrap(),
                access: if place == 2 { Access::ReadOnly } else { Access::Full },
            })
        };
        let caller = |(place, context)| Caller { tenant: tenant(place), context };
        contexts.into_iter().enumerate().map(caller).collect()
    }

    /// Calls `look` with every caller at every moment.
    pub(super) fn everywhere(&self, mut look: impl FnMut(&Caller, &Query<'_>)) {
        for caller in self.callers() {
            for now in (0..11).map(second) {
                look(&caller, &caller.at(now));
            }
        }
    }

    pub(super) fn flag(&self, name: &FlagKey) -> Option<&Settings> {
        self.flags.iter().find(|flag| flag.key == *name)
    }

    /// Who is asked before a flag can be: those it needs, and those above it in its groups.
    pub(super) fn before(&self, flag: &Settings) -> BTreeSet<FlagKey> {
        let above = |other: &&Settings| {
            let ahead = (-i64::from(other.priority), &other.key) < (-i64::from(flag.priority), &flag.key);
            ahead && !other.conflict_groups.is_disjoint(&flag.conflict_groups)
        };
        let rivals = self.flags.iter().filter(above).map(|other| other.key.clone());
        flag.needs().cloned().chain(rivals).collect()
    }
}
