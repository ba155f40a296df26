//! Emergencies: which kill switches are thrown, and which flags an emergency rests on.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::choice::Split;
use super::compiled::served;
use super::settings::{Flag, FlagState, Kind, Settings};
use super::{Choice, CompiledFlags, Layer, Query, Value};
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::rule::Context;

impl CompiledFlags {
    /// Whether a kill switch can be something else than false for somebody, now or later, as it stands. Who comes is not
    /// known, so a rule counts as if it held; a switch that is not in use counts where it turns something off by that.
    pub fn is_thrown(&self, switch: &Flag, now: Timestamp) -> bool {
        let (key, settings) = (switch.key(), &switch.settings);
        if settings.state != FlagState::Enabled {
            return self.guarded_by(key).next().is_some();
        }
        let is_false = |name: &VariantName| {
            // A layer whose variant is gone is passed by.
            settings.variants.get(name).is_none_or(|value| *value == Value::Boolean(false))
        };
        let of_tiers = self.tier_defaults(key.as_str()).map(|default| &default.choice);
        let lasting = self.overrides_of_flag(key.as_str()).filter(|own| !own.has_ended(now));
        let mut choices = of_tiers.chain(lasting.map(|own| &own.choice));
        let rules = || settings.rules.iter().map(served);
        !settings.default_variant.as_ref().is_some_and(is_false)
            || (can_be_off(settings) && !settings.off_answer().is_some_and(is_false))
            || settings.default_rollout.as_ref().is_some_and(|split| !shares(split, now).all(is_false))
            || choices.any(|choice| !gives_only(choice, now, is_false))
            // What a rule of the rule language gives is known only where it is evaluated.
            || rules().any(|serve| !serve.is_some_and(|choice| gives_only(choice, now, is_false)))
    }

    /// The layer that has a kill switch turn nothing off although its default throws it.
    pub fn held_back(&self, switch: &Flag, now: Timestamp) -> Option<Layer> {
        let settings = &switch.settings;
        let default = settings.default_variant.as_ref().and_then(|name| settings.variants.get(name));
        if settings.kind != Kind::KillSwitch || default != Some(&Value::Boolean(true)) {
            return None;
        }
        let found =
            self.evaluate(&Query { tenant: None, context: &Context::default(), now }, switch.key().as_str());
        let is_for_all = matches!(
            found.layer,
            Layer::KillSwitch | Layer::Schedule | Layer::Prerequisite | Layer::Conflict
        );
        (is_for_all && found.value == Some(&Value::Boolean(false))).then_some(found.layer)
    }

    /// The flags that an emergency rests on: switches that are thrown, as `is_thrown` says, what they guard, and whatever
    /// those need.
    pub fn held_by(&self, is_thrown: impl Fn(&Flag) -> bool) -> BTreeSet<&FlagKey> {
        let thrown = self.flags().filter(|flag| is_thrown(flag)).map(|flag| flag.key());
        let mut waiting: Vec<_> = thrown.flat_map(|key| self.guarded_by(key).chain([key])).collect();
        let mut held = BTreeSet::new();
        while let Some(key) = waiting.pop() {
            if held.insert(key) {
                waiting.extend(self.flag(key.as_str()).into_iter().flat_map(|flag| flag.settings.needs()));
            }
        }
        held
    }

    fn guarded_by<'a>(&'a self, switch: &'a FlagKey) -> impl Iterator<Item = &'a FlagKey> {
        let is_guarded = |key: &&FlagKey| {
            self.flag(key.as_str()).is_some_and(|flag| flag.settings.kill_switch.as_ref() == Some(switch))
        };
        self.dependents(switch.as_str()).filter(is_guarded)
    }
}

/// Whether a layer can give the off variant.
fn can_be_off(settings: &Settings) -> bool {
    let hangs_on_others = settings.needs().next().is_some() || !settings.conflict_groups.is_empty();
    hangs_on_others || !settings.schedule.is_empty()
}

fn gives_only(choice: &Choice, now: Timestamp, is_meant: impl Fn(&VariantName) -> bool) -> bool {
    match choice {
        Choice::Variant(variant) => is_meant(variant),
        Choice::Rollout(split) => shares(split, now).all(is_meant),
    }
}

/// The variants that have a share from a moment on.
fn shares(split: &Split, now: Timestamp) -> impl Iterator<Item = &VariantName> {
    let rollout = &split.rollout;
    let later = rollout.steps.iter().filter(move |step| step.start_time > now);
    let weights = rollout.weights_at(now).iter().chain(later.flat_map(|step| &step.weights));
    weights.filter(|share| share.weight > 0).map(|share| &share.variant)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::{Body, FlagType, Kind, TargetingRule, TenantOverride, TierDefault, Window};
    use super::*;
    use crate::domain::ids::{Revision, TenantId, TierId};
    use crate::domain::rule::{Rollout, Step, Weight};

    fn variant(text: &str) -> VariantName {
        VariantName::parse(text).unwrap()
    }

    fn key(text: &str) -> FlagKey {
        FlagKey::parse(text).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn flag(name: &str, change: impl FnOnce(&mut Settings)) -> Arc<Flag> {
        let mut settings = Settings::new(key(name), FlagType::Boolean);
        settings.fill_boolean_defaults();
        settings.kind = Kind::KillSwitch;
        change(&mut settings);
        Arc::new(settings.into_flag(Revision(1), at(0)))
    }

    fn split(on: u32, later: &[(i64, u32)]) -> Split {
        let weights = |on| {
            [("on", on), ("off", 1)].map(|(name, weight)| Weight { variant: variant(name), weight }).to_vec()
        };
        let step = |(second, on): &(i64, u32)| Step { start_time: at(*second), weights: weights(*on) };
        let steps = later.iter().map(step).collect();
        let rollout = Rollout { seed: "stop".to_owned(), weights: weights(on), steps };
        Split { rollout, bucket_by: super::super::BUCKET_BY.to_owned() }
    }

    #[test]
    fn a_switch_is_thrown_where_it_can_be_on_for_somebody_now_or_later() {
        let is_thrown = |change: fn(&mut Settings)| {
            let stop = flag("stop", change);
            CompiledFlags::new().with_flag(Arc::clone(&stop)).is_thrown(&stop, at(10))
        };
        let body = |body| vec![TargetingRule { id: "r".to_owned(), description: String::new(), body }];
        assert!(!is_thrown(|_| {}));
        assert!(is_thrown(|stop| stop.default_variant = Some(variant("on"))));
        assert!(is_thrown(|stop| stop.default_variant = None), "without a value it kills");
        assert!(is_thrown(|stop| stop.default_rollout = Some(split(1, &[]))));
        assert!(!is_thrown(|stop| stop.default_rollout = Some(split(0, &[]))));
        assert!(is_thrown(|stop| stop.default_rollout = Some(split(0, &[(11, 1)]))), "later");
        assert!(!is_thrown(|stop| stop.default_rollout = Some(split(1, &[(10, 0)]))), "over");
        assert!(!is_thrown(|stop| stop.off_variant = Some(variant("on"))), "nothing gives it");
        assert!(is_thrown(|stop| {
            stop.off_variant = Some(variant("on"));
            stop.schedule = vec![Window { start_time: Some(at(20)), end_time: None }];
        }));
        let ruled = |rules: Vec<TargetingRule>| {
            let stop = flag("stop", |stop| stop.rules = rules);
            CompiledFlags::new().with_flag(Arc::clone(&stop)).is_thrown(&stop, at(10))
        };
        let serve = |name| Body::Match { conditions: Vec::new(), serve: Choice::Variant(variant(name)) };
        assert!(ruled(body(serve("on"))) && !ruled(body(serve("off"))));
        assert!(ruled(body(Body::Logic(json!({"if": [{"var": "plan"}, "on", null]})))));
    }

    #[test]
    fn tiers_and_tenants_throw_a_switch_and_so_does_who_takes_it_out_of_use() {
        let stop = flag("stop", |_| {});
        let flags = CompiledFlags::new().with_flag(Arc::clone(&stop));
        let tier = |to: &str| {
            let (tier, choice) = (TierId::parse("gold").unwrap(), Choice::Variant(variant(to)));
            Arc::new(TierDefault { tier, flag: key("stop"), choice, revision: Revision(2) })
        };
        let own = |to: &str, expire_time| {
            Arc::new(TenantOverride {
                tenant: TenantId::parse("finance").unwrap(),
                flag: key("stop"),
                choice: Choice::Variant(variant(to)),
                reason: String::new(),
                expire_time,
                revision: Revision(2),
                update_time: at(0),
            })
        };
        let is_thrown = |flags: CompiledFlags| flags.is_thrown(&stop, at(10));
        assert!(is_thrown(flags.clone().with_tier_default(tier("on"))));
        assert!(!is_thrown(flags.clone().with_tier_default(tier("off"))));
        assert!(is_thrown(flags.clone().with_override(own("on", None))));
        assert!(!is_thrown(flags.clone().with_override(own("off", None))));
        assert!(!is_thrown(flags.with_override(own("on", Some(at(10))))), "it has ended");

        let disabled = flag("stop", |stop| stop.state = FlagState::Disabled);
        let alone = CompiledFlags::new().with_flag(Arc::clone(&disabled));
        assert!(!alone.is_thrown(&disabled, at(10)));
        let guarded = flag("guarded", |guarded| guarded.kill_switch = Some(key("stop")));
        assert!(alone.with_flag(guarded).is_thrown(&disabled, at(10)));
    }

    #[test]
    fn an_emergency_holds_its_switch_what_that_guards_and_whatever_these_need() {
        let needs = |name: &str, other: &str| {
            flag(name, |it| {
                let variants = [variant("on")].into();
                it.prerequisites = vec![super::super::Prerequisite { flag_key: key(other), variants }];
            })
        };
        let mut guarded = (*needs("guarded", "base")).clone();
        guarded.settings.kill_switch = Some(key("stop"));
        let all =
            [needs("stop", "cause"), Arc::new(guarded), needs("above", "guarded"), flag("quiet", |_| {})];
        let flags = all.into_iter().chain(["cause", "base"].map(|name| flag(name, |_| {})));
        let flags = flags.fold(CompiledFlags::new(), CompiledFlags::with_flag);
        let held: Vec<_> = flags.held_by(|flag| flag.key().as_str() == "stop").into_iter().collect();
        assert_eq!(held, [&key("base"), &key("cause"), &key("guarded"), &key("stop")]);
    }
}
