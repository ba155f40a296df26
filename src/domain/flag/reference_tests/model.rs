//! The slow model: what the order of layers says, word for word. It reads rules itself and hashes itself, and shares no
//! code with evaluation but the types it reads.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::super::{
    Body, Choice, ErrorCode, Evaluation, FlagState, Kind, Layer, Prerequisite, Reason, Settings, Split,
};
use super::world::{Caller, World, variant};
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Condition, HashVersion, Operator, Weight};

/// What a flag answers, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    layer: Layer,
    pub(super) variant: Option<VariantName>,
    rule: Option<String>,
    error: Option<ErrorCode>,
    is_share: bool,
}

impl Said {
    pub(super) fn of(found: &Evaluation<'_>) -> Self {
        Self {
            layer: found.layer,
            variant: found.variant.cloned(),
            rule: found.rule.map(str::to_owned),
            error: found.error,
            is_share: found.reason == Reason::Split,
        }
    }

    fn plain(layer: Layer, variant: Option<VariantName>) -> Self {
        Self { layer, variant, rule: None, error: None, is_share: false }
    }

    fn broken(rule: &str, error: ErrorCode) -> Self {
        Self { rule: Some(rule.to_owned()), error: Some(error), ..Self::plain(Layer::TargetingRule, None) }
    }
}

/// One question, as long as it is looked for in one flag.
struct Look<'a> {
    world: &'a World,
    caller: &'a Caller,
    flag: &'a Settings,
    now: Timestamp,
    attributes: Map<String, Json>,
}

impl World {
    /// Whether flags hang on each other in a circle: flags that are asked after nobody are taken away until none is left.
    pub(super) fn has_circle(&self) -> bool {
        let mut left: Vec<_> = self.flags.iter().map(|flag| (flag.key.clone(), self.before(flag))).collect();
        while !left.is_empty() {
            let is_free = |(_, before): &(FlagKey, std::collections::BTreeSet<FlagKey>)| {
                !left.iter().any(|(other, _)| before.contains(other))
            };
            let Some(free) = left.iter().position(is_free) else { return true };
            left.remove(free);
        }
        false
    }

    pub(super) fn answer(&self, name: &FlagKey, caller: &Caller, now: Timestamp) -> Said {
        let Some(flag) = self.flag(name) else {
            return Said { error: Some(ErrorCode::FlagNotFound), ..Said::plain(Layer::UnknownFlag, None) };
        };
        // A switch, and all that it hangs on, is as for an active tenant.
        let active = (flag.kind == Kind::KillSwitch).then(|| caller.with(Access::Full));
        let caller = active.as_ref().unwrap_or(caller);
        Look { world: self, caller, flag, now, attributes: caller.context.to_map() }.answer()
    }
}

impl Look<'_> {
    fn known(&self, name: Option<&VariantName>) -> Option<VariantName> {
        name.filter(|it| self.flag.variants.contains_key(*it)).cloned()
    }

    fn other(&self, name: &FlagKey) -> Option<VariantName> {
        self.world.answer(name, self.caller, self.now).variant
    }

    fn answer(&self) -> Said {
        let Self { flag, now, .. } = *self;
        let off = || self.known(flag.off_answer());
        if flag.state != FlagState::Enabled {
            return Said::plain(Layer::Disabled, None);
        }
        // Only a switch that says it is off lets a flag live.
        if let Some(switch) = &flag.kill_switch
            && self.other(switch) != Some(variant("off"))
        {
            return Said::plain(Layer::KillSwitch, off());
        }
        if flag.expire_time.is_some_and(|end| end <= now) && flag.expired_variant.is_some() {
            return Said::plain(Layer::Expired, flag.expired_variant.clone());
        }
        if !flag.schedule.is_empty() && !flag.schedule.iter().any(|window| window.contains(now)) {
            return Said::plain(Layer::Schedule, off());
        }
        let met = |needed: &Prerequisite| {
            self.other(&needed.flag_key).is_some_and(|it| needed.variants.contains(&it))
        };
        if !flag.prerequisites.iter().all(met) {
            return Said::plain(Layer::Prerequisite, off());
        }
        // Only those ahead are asked: asking behind would go in circles.
        let ahead = self.world.before(flag);
        if self
            .world
            .flags
            .iter()
            .filter(|other| ahead.contains(&other.key))
            .any(|other| self.excludes(other))
        {
            return Said::plain(Layer::Conflict, off());
        }
        let active =
            self.own().or_else(|| self.ruled()).or_else(|| self.of_tier()).unwrap_or_else(|| self.of_all());
        if self.caller.tenant.as_ref().is_some_and(|tenant| tenant.access != Access::Full) {
            return Said::plain(Layer::SafeDefault, self.safe(&active));
        }
        active
    }

    fn excludes(&self, other: &Settings) -> bool {
        let shares = !other.conflict_groups.is_disjoint(&self.flag.conflict_groups);
        let ahead =
            (-i64::from(other.priority), &other.key) < (-i64::from(self.flag.priority), &self.flag.key);
        let seen = self.other(&other.key);
        shares && ahead && seen.is_some() && seen.as_ref() != other.off_answer()
    }

    /// What it gives a tenant that is not active: nothing is turned on that would be off, or broken, if it were.
    fn safe(&self, active: &Said) -> Option<VariantName> {
        let settings = self.flag;
        let is_named = settings.safe_variant.is_some() || settings.expired_variant.is_some();
        let off = self.known(settings.off_answer());
        if !is_named && (active.error.is_some() || active.variant == off) {
            return off;
        }
        self.known(settings.safe_answer())
    }

    fn own_choice(&self) -> Option<&Choice> {
        let tenant = self.caller.tenant.as_ref()?;
        let mine = |own: &&super::super::TenantOverride| own.flag == self.flag.key && own.tenant == tenant.id;
        // The last one written counts.
        let own = self.world.overrides.iter().rev().find(mine)?;
        let lasts = own.expire_time.is_none_or(|end| self.now < end);
        lasts.then_some(&own.choice)
    }

    fn own(&self) -> Option<Said> {
        self.given(self.own_choice()?, Layer::TenantOverride)
    }

    fn tier_choice(&self) -> Option<&Choice> {
        let tenant = self.caller.tenant.as_ref()?;
        let defaults = &self.world.defaults;
        let default = defaults.iter().rev().find(|it| it.flag == self.flag.key && it.tier == tenant.tier)?;
        Some(&default.choice)
    }

    fn of_tier(&self) -> Option<Said> {
        self.given(self.tier_choice()?, Layer::TierDefault)
    }

    fn of_all(&self) -> Said {
        let rollout = self.flag.default_rollout.as_ref();
        let share = rollout.and_then(|split| self.known(self.share(split).as_ref()));
        match share {
            Some(share) => Said { is_share: true, ..Said::plain(Layer::GlobalDefault, Some(share)) },
            None => Said::plain(Layer::GlobalDefault, self.flag.default_variant.clone()),
        }
    }

    fn ruled(&self) -> Option<Said> {
        for rule in &self.flag.rules {
            let said = match &rule.body {
                Body::Logic(source) => match self.value(source) {
                    None => Some(Said::broken(&rule.id, ErrorCode::ParseError)),
                    Some(Json::Null) => None,
                    Some(Json::String(name)) if name == "gone" => {
                        Some(Said::broken(&rule.id, ErrorCode::General))
                    }
                    Some(Json::String(name)) => Some(Said::plain(Layer::TargetingRule, Some(variant(&name)))),
                    other => panic!("no rule gives {other:?}"),
                },
                Body::Match { conditions, serve } if conditions.iter().all(|it| self.holds(it)) => {
                    self.given(serve, Layer::TargetingRule)
                }
                Body::Match { .. } => None,
            };
            if let Some(said) = said {
                return Some(Said { rule: Some(rule.id.clone()), ..said });
            }
        }
        None
    }

    /// Whether a segment is there, and all that it uses.
    fn is_whole(&self, name: &str) -> bool {
        let found = self.world.segments.iter().find(|it| it.settings.name.as_str() == name);
        found.is_some_and(|it| references(&it.settings.source).iter().all(|used| self.is_whole(used)))
    }

    fn given(&self, choice: &Choice, layer: Layer) -> Option<Said> {
        match choice {
            Choice::Variant(one) => Some(Said::plain(layer, Some(self.known(Some(one))?))),
            Choice::Rollout(split) => {
                let one = self.known(self.share(split).as_ref())?;
                Some(Said { is_share: true, ..Said::plain(layer, Some(one)) })
            }
        }
    }

    /// The variant that a share gives to everybody.
    fn share(&self, split: &Split) -> Option<VariantName> {
        let key = match &self.caller.tenant {
            Some(tenant) if split.bucket_by == "tenantId" => Some(tenant.id.to_string()),
            _ => match self.at(&split.bucket_by) {
                found if !is_true(&found) => None,
                Json::String(text) => Some(text),
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            },
        };
        let begun = split.rollout.steps.iter().filter(|step| step.start_time <= self.now);
        let weights =
            begun.max_by_key(|step| step.start_time).map_or(&split.rollout.weights, |it| &it.weights);
        let pairs: Vec<_> = weights.iter().map(|Weight { variant, weight }| (variant, *weight)).collect();
        let Some(key) = key else {
            let given: Vec<_> = pairs.iter().filter(|(_, weight)| *weight > 0).collect();
            return if let [(only, _)] = given.as_slice() { Some((*only).clone()) } else { None };
        };
        self.drawn(&format!("{}{key}", split.rollout.seed), &pairs).map(|it| (*it).clone())
    }

    /// The attribute at a path; null where there is none.
    fn at(&self, path: &str) -> Json {
        let mut parts = path.split('.');
        let mut found = parts.next().and_then(|first| self.attributes.get(first));
        for part in parts {
            found = found.and_then(|it| it.get(part));
        }
        found.cloned().unwrap_or_default()
    }

    /// Whether a condition holds; one that cannot be decided does not.
    fn holds(&self, condition: &Condition) -> bool {
        let found = self.at(&condition.attribute);
        let texts = || condition.values.iter().filter_map(Json::as_str);
        let text = found.as_str();
        let order = condition.values.first().and_then(|bound| ordered(&found, bound));
        let versions = || Some((version(text?)?, version(texts().next()?)?));
        // Conditions of a segment that is not there do not hold, whatever they say of it.
        let in_segments =
            || first_that(texts(), |name| self.segment(name), is_true).map(|found| found.is_some()).ok();
        match condition.operator {
            Operator::In => condition.values.iter().any(|it| is_same(it, &found)),
            Operator::NotIn => !condition.values.iter().any(|it| is_same(it, &found)),
            Operator::LessThan => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::GreaterThan => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
            Operator::StartsWith => text.is_some_and(|text| texts().any(|it| text.starts_with(it))),
            Operator::EndsWith => text.is_some_and(|text| texts().any(|it| text.ends_with(it))),
            Operator::Contains => match &found {
                Json::String(text) => texts().any(|it| text.contains(it)),
                Json::Array(items) => texts().any(|it| items.iter().any(|item| item == it)),
                _ => false,
            },
            Operator::VersionEqual => versions().is_some_and(|(own, other)| own == other),
            Operator::VersionLessThan => versions().is_some_and(|(own, other)| own < other),
            Operator::VersionAtMost => versions().is_some_and(|(own, other)| own <= other),
            Operator::VersionGreaterThan => versions().is_some_and(|(own, other)| own > other),
            Operator::VersionAtLeast => versions().is_some_and(|(own, other)| own >= other),
            Operator::VersionSameMajor => versions().is_some_and(|(own, other)| own.0[0] == other.0[0]),
            Operator::VersionSameMinor => versions().is_some_and(|(own, other)| own.0[..2] == other.0[..2]),
            Operator::Present => !found.is_null(),
            Operator::Absent => found.is_null(),
            Operator::InSegment => in_segments() == Some(true),
            Operator::NotInSegment => in_segments() == Some(false),
            Operator::Matches => panic!("no world has it"),
        }
    }

    /// What a segment gives. One that uses what is not there is as good as not there.
    fn segment(&self, name: &str) -> Option<Json> {
        let found = self.world.segments.iter().find(|it| it.settings.name.as_str() == name);
        self.value(&found.filter(|_| self.is_whole(name))?.settings.source)
    }

    /// What an expression gives; those of worlds are of few kinds. None where it comes to a segment that is not there.
    fn value(&self, source: &Json) -> Option<Json> {
        let Some((word, argument)) = source.as_object().and_then(|map| map.iter().next()) else {
            return Some(source.clone());
        };
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        Some(match (word.as_str(), parts) {
            ("var", _) => self.at(argument.as_str().unwrap()),
            ("$ref", _) => self.segment(argument.as_str().unwrap())?,
            ("==", [one, other]) => is_same(&self.value(one)?, &self.value(other)?).into(),
            ("!", [one]) => (!is_true(&self.value(one)?)).into(),
            ("and", [rest @ .., last]) => {
                match first_that(rest.iter(), |it| self.value(it), |it| !is_true(it)).ok()? {
                    Some(found) => found,
                    None => self.value(last)?,
                }
            }
            ("or", [rest @ .., last]) => match first_that(rest.iter(), |it| self.value(it), is_true).ok()? {
                Some(found) => found,
                None => self.value(last)?,
            },
            ("if", [test, yes, no]) => self.value(if is_true(&self.value(test)?) { yes } else { no })?,
            ("cat", parts) => {
                let text = |part| match self.value(part)? {
                    Json::String(text) => Some(text),
                    other => Some(other.to_string()),
                };
                parts.iter().map(text).collect::<Option<String>>()?.into()
            }
            ("fractional", [key, shares @ ..]) => {
                let key = self.value(key)?;
                let share = |it: &Json| (it[0].clone(), u32::try_from(it[1].as_u64().unwrap()).unwrap());
                let shares: Vec<_> = shares.iter().map(share).collect();
                self.drawn(key.as_str().unwrap(), &shares).cloned().unwrap_or_default()
            }
            other => panic!("no world has {other:?}"),
        })
    }

    /// The share that a text's hash falls into.
    fn drawn<'v, T>(&self, text: &str, shares: &'v [(T, u32)]) -> Option<&'v T> {
        let is_of = |version| self.flag.hash_version == version;
        // RFC 8949: a text is its length, in the fewest bytes, and then itself.
        let length = u8::try_from(text.len()).unwrap();
        let head = if length < 24 { vec![0x60 + length] } else { vec![0x78, length] };
        let bytes = [if is_of(HashVersion::V3) { &*head } else { &[] }, text.as_bytes()].concat();
        let hash = murmur3(&bytes);
        let sum: u32 = shares.iter().map(|(_, weight)| weight).sum();
        // Of the whole, how far the hash is.
        let part = if is_of(HashVersion::V1) {
            f64::from(i32::from_ne_bytes(hash.to_ne_bytes())).abs() / 2_147_483_647.0
        } else {
            f64::from(hash) / 4_294_967_296.0
        };
        let mut end = 0;
        shares.iter().find_map(|(given, weight)| {
            end += weight;
            (part * f64::from(sum) < f64::from(end)).then_some(given)
        })
    }
}

/// The segments that an expression names itself.
fn references(source: &Json) -> Vec<&str> {
    match source {
        Json::Array(items) => items.iter().flat_map(references).collect(),
        Json::Object(map) => {
            let own = map.get("$ref").and_then(Json::as_str);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        _ => Vec::new(),
    }
}

/// An expression came to a segment that is not there.
struct Missing;

/// The first value that is wanted, if any; a failure where one before it cannot be found.
fn first_that<T>(
    all: impl Iterator<Item = T>,
    value: impl Fn(T) -> Option<Json>,
    is_wanted: impl Fn(&Json) -> bool,
) -> Result<Option<Json>, Missing> {
    for one in all {
        let found = value(one).ok_or(Missing)?;
        if is_wanted(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(map) => !map.is_empty(),
    }
}

/// Whether two texts, numbers or booleans are the same.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one.as_f64() == other.as_f64(),
        (Json::String(_) | Json::Bool(_), _) => one == other,
        _ => false,
    }
}

fn ordered(one: &Json, other: &Json) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Json::String(one), Json::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Numbers, and whether it is a release: one comes after its candidates, of which worlds have one.
fn version(text: &str) -> Option<([u32; 3], bool)> {
    let (numbers, candidate) = text.split_once('-').map_or((text, None), |(numbers, it)| (numbers, Some(it)));
    let numbers: Vec<u32> = numbers.split('.').map(|it| it.parse().ok()).collect::<Option<_>>()?;
    Some((numbers.try_into().ok()?, candidate.is_none()))
}

/// murmur3 of 32 bits, as its author's page has it.
fn murmur3(bytes: &[u8]) -> u32 {
    let mixed = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let little = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let mut hash = 0_u32;
    for block in bytes.chunks(4) {
        hash ^= mixed(little(block));
        if block.len() == 4 {
            hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    hash ^= u32::try_from(bytes.len()).unwrap();
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[test]
fn the_model_hashes_as_others_do() {
    for (text, hash) in [("", 0), ("a", 0x3c25_69b2), ("hello", 0x248b_fa47), ("hello, world", 0x149b_bb7f)] {
        assert_eq!(murmur3(text.as_bytes()), hash, "{text}");
    }
}
