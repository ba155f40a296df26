//! Which flags these are, and how long their answers stay the same.

use std::sync::Arc;

use jiff::Timestamp;

use super::CompiledFlags;

/// Names one state of all flags, segments, tier defaults and overrides: two sets with the same one are the same. Whoever
/// keeps one can be sure that no later state comes to look like it.
#[derive(Debug, Clone)]
pub struct Edition(Arc<u8>);

impl Default for Edition {
    fn default() -> Self {
        Self(Arc::new(0))
    }
}

impl PartialEq for Edition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Edition {}

impl CompiledFlags {
    /// Until when, `now` counted and the end not, the same question about all flags gets the same answer, as long as the
    /// flags and the tenant stay what they are. None where time changes nothing.
    pub fn steady_until(&self, now: Timestamp) -> Option<Timestamp> {
        // Rules see whole seconds.
        let next_second = || Timestamp::from_second(now.as_second().saturating_add(1)).unwrap_or(now);
        let tick = self.reads_time().then(next_second);
        [self.next_change(now), tick].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::flag::{
        Body, Choice, Flag, FlagType, NewSegment, Segment, Settings, TargetingRule, TenantOverride,
        TierDefault, Window,
    };
    use crate::domain::ids::{FlagKey, Revision, SegmentName, TenantId, TierId, VariantName};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn flag(change: impl FnOnce(&mut Settings)) -> Arc<Flag> {
        let mut settings = Settings::new(FlagKey::parse("search").unwrap(), FlagType::Boolean);
        settings.fill_boolean_defaults();
        change(&mut settings);
        Arc::new(settings.into_flag(Revision(1), at(0)))
    }

    fn flags() -> CompiledFlags {
        CompiledFlags::build([flag(|_| {})], [], [])
    }

    #[test]
    fn every_change_makes_another_edition_and_a_copy_is_the_same() {
        let choice = || Choice::Variant(VariantName::parse("on").unwrap());
        let key = || FlagKey::parse("search").unwrap();
        let default = Arc::new(TierDefault {
            tier: TierId::parse("gold").unwrap(),
            flag: key(),
            choice: choice(),
            revision: Revision(1),
        });
        let own = Arc::new(TenantOverride {
            tenant: TenantId::parse("finance").unwrap(),
            flag: key(),
            choice: choice(),
            reason: String::new(),
            expire_time: None,
            revision: Revision(1),
            update_time: at(0),
        });
        let name = SegmentName::parse("europe").unwrap();
        let settings =
            NewSegment { name: name.clone(), description: String::new(), source: json!({"var": "european"}) };
        let segment =
            Arc::new(Segment { settings, revision: Revision(1), create_time: at(0), update_time: at(0) });
        let mut seen = vec![flags()];
        let mut step = |change: &dyn Fn(CompiledFlags) -> CompiledFlags| {
            let before = seen.last().unwrap().clone();
            assert_eq!(before.edition(), seen.last().unwrap().edition());
            let after = change(before);
            assert!(
                seen.iter().all(|earlier| earlier.edition() != after.edition()),
                "after {} steps",
                seen.len()
            );
            seen.push(after);
        };
        step(&|flags| flags.with_flag(flag(|it| it.priority = 1)));
        step(&|flags| flags.with_tier_default(Arc::clone(&default)));
        step(&|flags| flags.without_tier_default("search", "gold"));
        step(&|flags| flags.with_override(Arc::clone(&own)));
        step(&|flags| flags.without_override("search", "finance"));
        step(&|flags| flags.with_segments([Arc::clone(&segment)]));
        step(&|flags| flags.without_segment(&name));
        step(&|flags| flags.without_flag("search"));
    }

    #[test]
    fn answers_stay_until_the_next_moment_or_where_a_rule_looks_at_the_clock_the_next_second() {
        let now = Timestamp::from_millisecond(10_500).unwrap();
        assert_eq!(flags().steady_until(now), None);
        let window = Window { start_time: Some(at(20)), end_time: Some(at(30)) };
        let scheduled = flags().with_flag(flag(|it| it.schedule = vec![window]));
        assert_eq!(scheduled.steady_until(now), Some(at(20)));
        assert_eq!(scheduled.steady_until(at(20)), Some(at(30)));
        let logic = json!({"if": [{">": [{"var": "$flagd.timestamp"}, 12]}, "on", "off"]});
        let rule =
            TargetingRule { id: "late".to_owned(), description: String::new(), body: Body::Logic(logic) };
        let timed = flags().with_flag(flag(|it| it.rules = vec![rule]));
        assert_eq!(timed.steady_until(now), Some(at(11)));
        assert_eq!(timed.without_flag("search").steady_until(now), None, "the flag is gone");
    }
}
