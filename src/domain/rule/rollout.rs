//! Weighted and progressive rollouts with stable bucketing.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cbor;
use super::fractional::WEIGHTS_MAX;
use super::hash::{HashVersion, Murmur3};
use crate::domain::ids::VariantName;
use crate::domain::text;
use crate::domain::violation::Violation;

/// Most variants with a weight: as many as a flag can have.
pub(super) const WEIGHTS_COUNT_MAX: usize = 64;
/// Most steps: one a day for three months.
pub(super) const STEPS_COUNT_MAX: usize = 100;
/// Longest seed, in characters.
pub(super) const SEED_MAX: usize = 200;

/// A variant's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Which variant.
    pub variant: VariantName,
    /// Its share of the sum of all weights.
    pub weight: u32,
}

/// The weights from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From when on; a whole second.
    pub start_time: Timestamp,
    /// The weights from then on.
    pub weights: Vec<Weight>,
}

/// Variants by weight. The same key gets the same variant as long as the weights stay. When the first variant's part
/// of the sum grows, keys only move towards it: list the variant that is rolled out first. Steps are in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Hashed before the key: rollouts with the same seed put the same keys into the same share. The flag's key where
    /// nothing else is wanted.
    pub seed: String,
    /// The weights until the first step; at least one above 0.
    pub weights: Vec<Weight>,
    /// Later weights, by time; empty for a rollout that stays as it is.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl Rollout {
    /// What is wrong with it; empty when it can be used. `field` is its path in the request.
    pub fn validate(&self, field: &str) -> Vec<Violation> {
        let mut found = Vec::new();
        let seed = text::one_line(&self.seed, SEED_MAX).map_err(|invalid| invalid.why);
        let seed = seed.and_then(|()| {
            // flagd's `cat` drops white space at the ends, so an exported rollout would hash something else.
            let is_bare = self.seed.trim() == self.seed;
            is_bare.then_some(()).ok_or_else(|| "must not begin or end with white space".to_owned())
        });
        found.extend(seed.err().map(|why| Violation::new(format!("{field}.seed"), why)));
        check_weights(&self.weights, &format!("{field}.weights"), &mut found);
        if self.steps.len() > STEPS_COUNT_MAX {
            let why = format!("must have at most {STEPS_COUNT_MAX} entries");
            found.push(Violation::new(format!("{field}.steps"), why));
            return found;
        }
        let mut before = None;
        for (index, step) in self.steps.iter().enumerate() {
            let place = format!("{field}.steps[{index}]");
            check_weights(&step.weights, &format!("{place}.weights"), &mut found);
            if step.start_time.subsec_nanosecond() != 0 {
                found.push(Violation::new(format!("{place}.start_time"), "must be a whole second"));
            }
            if before.is_some_and(|before| step.start_time <= before) {
                found.push(Violation::new(
                    format!("{place}.start_time"),
                    "must be after that of the step before",
                ));
            }
            before = Some(step.start_time);
        }
        found
    }

    /// The same with all its weights in one order, that in which they first name the variants: a step with another one
    /// would take from keys what they have.
    #[must_use]
    pub fn in_one_order(mut self) -> Self {
        let mut places = HashMap::new();
        for variant in self.variants() {
            let next = places.len();
            places.entry(variant.clone()).or_insert(next);
        }
        for step in &mut self.steps {
            step.weights.sort_by_key(|share| places.get(&share.variant).copied());
        }
        self
    }

    /// The weights at a moment.
    pub fn weights_at(&self, now: Timestamp) -> &[Weight] {
        let step = self.steps.iter().rev().find(|step| step.start_time <= now);
        step.map_or(&self.weights, |step| &step.weights)
    }

    /// The key's variant: murmur3 over seed and key, as `fractional` of the flag's hash version does it. None where no
    /// weight is above 0, and without a key where more than one is.
    pub fn select(&self, hash: HashVersion, key: Option<&str>, now: Timestamp) -> Option<&VariantName> {
        let weights = self.weights_at(now);
        let seed = Seed::new(hash, self.seed.as_str());
        let index = chosen(&seed, key, weights.iter().map(|share| share.weight))?;
        weights.get(index).map(|share| &share.variant)
    }

    /// Whether everybody gets the same at a moment, whatever the key, and also without one.
    pub fn is_for_all(&self, now: Timestamp) -> bool {
        whole(self.weights_at(now).iter().map(|share| share.weight)).is_some()
    }

    /// The first moment after `now` at which the weights change.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.steps.iter().map(|step| step.start_time).filter(|time| *time > now).min()
    }

    /// The variants it names, each as often as it is named.
    pub fn variants(&self) -> impl Iterator<Item = &VariantName> {
        let steps = self.steps.iter().flat_map(|step| &step.weights);
        self.weights.iter().chain(steps).map(|weight| &weight.variant)
    }

    /// The same in flagd's syntax, with `targetingKey` for the key; null without one. Evaluated with the same hash
    /// version it selects the same.
    pub fn to_json(&self) -> Value {
        let split = |weights: &[Weight]| {
            let mut args = vec![json!({"cat": [self.seed, {"var": "targetingKey"}]})];
            args.extend(weights.iter().map(|share| json!([share.variant, share.weight])));
            json!({ "fractional": args })
        };
        let mut branches = Vec::with_capacity(2 * self.steps.len() + 1);
        for step in self.steps.iter().rev() {
            branches.push(json!({">=": [{"var": "$flagd.timestamp"}, step.start_time.as_second()]}));
            branches.push(split(&step.weights));
        }
        let first = split(&self.weights);
        let now = if branches.is_empty() {
            first
        } else {
            branches.push(first);
            json!({ "if": branches })
        };
        json!({"if": [{"var": "targetingKey"}, now]})
    }
}

/// What is hashed before the key, and how.
#[derive(Debug)]
struct Seed<S> {
    version: HashVersion,
    hashed: Murmur3,
    text: S,
}

impl<S: AsRef<str>> Seed<S> {
    fn new(version: HashVersion, text: S) -> Self {
        Self { version, hashed: Murmur3::default().with(text.as_ref().as_bytes()), text }
    }

    /// The hash of the seed and the key as one text.
    fn with(&self, key: &str) -> u32 {
        if self.version != HashVersion::V3 {
            return self.hashed.with(key.as_bytes()).finish();
        }
        // Version 3 hashes the text as CBOR, which has the length of both in front.
        let seed = self.text.as_ref();
        let mut hash = Murmur3::default();
        cbor::write_text_head(seed.len() + key.len(), &mut |piece| hash = hash.with(piece));
        hash.with(seed.as_bytes()).with(key.as_bytes()).finish()
    }
}

/// A rollout made ready for many evaluations: its seed is hashed, and beside each weight stands what it gives.
#[derive(Debug)]
pub struct Prepared<T> {
    seed: Seed<Box<str>>,
    weights: Shares<T>,
    steps: Box<[(Timestamp, Shares<T>)]>,
}

type Shares<T> = Box<[(u32, T)]>;

impl<T> Prepared<T> {
    /// Makes a rollout of a flag of this hash version ready.
    pub fn new(rollout: &Rollout, hash: HashVersion, given: impl Fn(&VariantName) -> T) -> Self {
        let shares = |weights: &[Weight]| -> Shares<T> {
            weights.iter().map(|share| (share.weight, given(&share.variant))).collect()
        };
        let steps = rollout.steps.iter();
        Self {
            seed: Seed::new(hash, rollout.seed.as_str().into()),
            weights: shares(&rollout.weights),
            steps: steps.map(|step| (step.start_time, shares(&step.weights))).collect(),
        }
    }

    /// What the key gets: the same as [`Rollout::select`] says.
    pub fn select(&self, key: Option<&str>, now: Timestamp) -> Option<&T> {
        let step = self.steps.iter().rev().find(|(start_time, _)| *start_time <= now);
        let shares = step.map_or(&self.weights, |(_, shares)| shares);
        let index = chosen(&self.seed, key, shares.iter().map(|(weight, _)| *weight))?;
        shares.get(index).map(|(_, given)| given)
    }
}

/// The place of the weight that a key falls into. What goes to one variant as a whole needs no key.
fn chosen<S: AsRef<str>>(
    seed: &Seed<S>,
    key: Option<&str>,
    weights: impl Iterator<Item = u32> + Clone,
) -> Option<usize> {
    match key {
        Some(key) => seed.version.share(seed.with(key), weights),
        None => whole(weights),
    }
}

/// The place of the only weight above 0.
fn whole(weights: impl Iterator<Item = u32>) -> Option<usize> {
    let mut shares = weights.enumerate().filter(|(_, weight)| *weight > 0);
    let (index, _) = shares.next()?;
    shares.next().is_none().then_some(index)
}

fn check_weights(weights: &[Weight], field: &str, found: &mut Vec<Violation>) {
    let sum: u64 = weights.iter().map(|share| u64::from(share.weight)).sum();
    if weights.len() > WEIGHTS_COUNT_MAX {
        found.push(Violation::new(field, format!("must have at most {WEIGHTS_COUNT_MAX} entries")));
    } else if sum == 0 {
        found.push(Violation::new(field, "must have at least one weight above 0"));
    } else if sum > u64::from(WEIGHTS_MAX) {
        found.push(Violation::new(field, format!("must have at most {WEIGHTS_MAX} in all; there are {sum}")));
    }
    let mut seen = BTreeSet::new();
    for (index, share) in weights.iter().enumerate().take(WEIGHTS_COUNT_MAX) {
        if !seen.insert(&share.variant) {
            found.push(Violation::new(format!("{field}[{index}].variant"), "must not be there twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Context, Input, Rule, Segments, Selection};
    use super::*;

    fn weights(shares: &[(&str, u32)]) -> Vec<Weight> {
        let weight = |(name, weight): &(&str, u32)| Weight {
            variant: VariantName::parse(name).unwrap(),
            weight: *weight,
        };
        shares.iter().map(weight).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn progressive() -> Rollout {
        let step =
            |second, on| Step { start_time: at(second), weights: weights(&[("on", on), ("off", 100 - on)]) };
        Rollout {
            seed: "new-checkout".to_owned(),
            weights: weights(&[("on", 0), ("off", 100)]),
            steps: vec![step(100, 10), step(200, 50), step(300, 100)],
        }
    }

    fn share_of_on(rollout: &Rollout, second: i64) -> usize {
        let keys = (0..10_000).map(|key| format!("tenant-{key}"));
        keys.filter(|key| rollout.select(HashVersion::V2, Some(key), at(second)).unwrap().as_str() == "on")
            .count()
    }

    #[test]
    fn shares_grow_at_their_times_and_are_as_large_as_their_weights() {
        let rollout = progressive();
        assert_eq!(share_of_on(&rollout, 99), 0);
        assert!((900..1100).contains(&share_of_on(&rollout, 100)));
        assert!((900..1100).contains(&share_of_on(&rollout, 199)));
        assert!((4800..5200).contains(&share_of_on(&rollout, 200)));
        assert_eq!(share_of_on(&rollout, 300), 10_000);
        assert_eq!(rollout.next_change(at(0)), Some(at(100)));
        assert_eq!(rollout.next_change(at(100)), Some(at(200)));
        assert_eq!(rollout.next_change(at(300)), None);
    }

    #[test]
    fn a_step_that_names_its_variants_in_another_order_takes_nothing_from_whoever_has_it() {
        let rollout = Rollout {
            seed: "new-checkout".to_owned(),
            weights: weights(&[("on", 10), ("off", 90)]),
            steps: vec![
                Step { start_time: at(100), weights: weights(&[("late", 10), ("off", 40), ("on", 50)]) },
                Step { start_time: at(200), weights: weights(&[("off", 0), ("late", 40), ("on", 60)]) },
            ],
        };
        let rollout = rollout.in_one_order();
        assert_eq!(rollout.steps[0].weights, weights(&[("on", 50), ("off", 40), ("late", 10)]));
        assert_eq!(rollout.steps[1].weights, weights(&[("on", 60), ("off", 0), ("late", 40)]));
        let is_on = |key: &str, second| {
            rollout.select(HashVersion::V2, Some(key), at(second)).unwrap().as_str() == "on"
        };
        let keys: Vec<String> = (0..1_000).map(|key| format!("tenant-{key}")).collect();
        let first: Vec<&String> = keys.iter().filter(|key| is_on(key, 0)).collect();
        assert!(first.len() > 50, "{}", first.len());
        assert!(first.iter().all(|key| is_on(key, 100) && is_on(key, 200)));
    }

    #[test]
    fn another_seed_puts_other_keys_first() {
        let a = progressive();
        let b = Rollout { seed: "other".to_owned(), ..a.clone() };
        let keys: Vec<String> = (0..1_000).map(|key| format!("tenant-{key}")).collect();
        let both = |rollout: &Rollout, key: &String| {
            rollout.select(HashVersion::V2, Some(key), at(250)).unwrap().as_str() == "on"
        };
        let same = keys.iter().filter(|key| both(&a, key) && both(&b, key)).count();
        assert!((150..350).contains(&same), "a quarter is expected, {same} of 1,000 were there");
    }

    #[test]
    fn without_a_key_there_is_no_share_but_what_everybody_gets() {
        let rollout = progressive();
        let given = |second| rollout.select(HashVersion::V2, None, at(second)).map(VariantName::as_str);
        assert_eq!([99, 100, 299, 300].map(given), [Some("off"), None, None, Some("on")]);
        assert_eq!(
            [99, 100, 299, 300].map(|second| rollout.is_for_all(at(second))),
            [true, false, false, true]
        );
    }

    #[test]
    fn what_cannot_be_rolled_out_is_refused_with_its_place() {
        let fields = |rollout: &Rollout| -> Vec<String> {
            rollout.validate("rollout").into_iter().map(|violation| violation.field).collect()
        };
        let good = progressive();
        assert_eq!(fields(&good), [""; 0]);
        let changed = |change: &dyn Fn(&mut Rollout)| {
            let mut rollout = good.clone();
            change(&mut rollout);
            fields(&rollout)
        };
        assert_eq!(changed(&|it| it.seed = " a".to_owned()), ["rollout.seed"]);
        assert_eq!(changed(&|it| it.seed = "a\n".to_owned()), ["rollout.seed"]);
        assert_eq!(changed(&|it| it.weights.clear()), ["rollout.weights"]);
        assert_eq!(changed(&|it| it.weights = weights(&[("on", 0)])), ["rollout.weights"]);
        assert_eq!(changed(&|it| it.weights = weights(&[("on", u32::MAX)])), ["rollout.weights"]);
        assert_eq!(
            changed(&|it| it.weights = weights(&[("on", 1), ("on", 1)])),
            ["rollout.weights[1].variant"]
        );
        assert_eq!(changed(&|it| it.steps[1].weights.clear()), ["rollout.steps[1].weights"]);
        assert_eq!(changed(&|it| it.steps[1].start_time = at(100)), ["rollout.steps[1].start_time"]);
        let half = Timestamp::from_millisecond(100_500).unwrap();
        assert_eq!(changed(&|it| it.steps[0].start_time = half), ["rollout.steps[0].start_time"]);
    }

    fn some_version() -> impl Strategy<Value = HashVersion> {
        prop::sample::select(HashVersion::ALL)
    }

    proptest! {
        #[test]
        fn made_ready_it_selects_the_same(
            key in "[a-z0-9-]{1,40}", seed in "[a-z]{0,9}", second in 0_i64..400, hash in some_version(),
        ) {
            let rollout = Rollout { seed, ..progressive() };
            let prepared = Prepared::new(&rollout, hash, VariantName::clone);
            for key in [Some(key.as_str()), None] {
                prop_assert_eq!(prepared.select(key, at(second)), rollout.select(hash, key, at(second)));
            }
        }

        #[test]
        fn a_growing_first_share_never_gives_a_key_away(
            key in "[a-z0-9-]{1,40}", from in 0_u32..=100, to in 0_u32..=100, hash in some_version(),
        ) {
            let (from, to) = (from.min(to), from.max(to));
            let rollout = |on| Rollout { seed: "s".to_owned(), weights: weights(&[("on", on), ("off", 100 - on)]), steps: vec![] };
            let is_on = |on| rollout(on).select(hash, Some(&key), at(0)).unwrap().as_str() == "on";
            prop_assert!(!is_on(from) || is_on(to));
        }

        #[test]
        fn the_exported_rule_selects_the_same(
            key in "[a-zA-Z0-9._-]{1,300}", seed in "[a-z]{0,9}", second in 0_i64..400, hash in some_version(),
        ) {
            let rollout = Rollout { seed, ..progressive() };
            let rule = Rule::compile(&rollout.to_json(), &Segments::new(), hash).unwrap();
            let attributes = json!({"targetingKey": key}).as_object().unwrap().clone();
            let context = Context::new(attributes).unwrap();
            let input = Input { flag_key: "any", now: at(second), context: &context };
            let expected = rollout.select(hash, Some(&key), at(second)).unwrap();
            prop_assert_eq!(rule.select(&input), Selection::Variant(expected.as_str().into()));
        }
    }
}
