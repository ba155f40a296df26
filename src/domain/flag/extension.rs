//! Longer lives that flags were given: who gave them, when and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Flag;

/// Most that a flag keeps, the newest; the log has them all.
const KEPT_MAX: usize = 20;

/// A longer life that a flag was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// When it would have expired.
    pub previous_expire_time: Timestamp,
    /// When it expires since; never where not said.
    pub expire_time: Option<Timestamp>,
    /// Who did it.
    pub actor: String,
    /// When.
    pub time: Timestamp,
    /// Why, for people; empty where nothing was said, as by a set or a file.
    pub reason: String,
}

impl Flag {
    /// When it would have expired, where it lives longer after a change.
    pub fn extended_from(&self, before: &Self) -> Option<Timestamp> {
        let previous = before.settings.expire_time?;
        self.settings.expire_time.is_none_or(|end| end > previous).then_some(previous)
    }

    /// Keeps that its life was extended.
    pub fn keep_extension(&mut self, previous_expire_time: Timestamp, actor: &str, reason: &str) {
        let surplus = (self.extensions.len() + 1).saturating_sub(KEPT_MAX);
        self.extensions.drain(..surplus);
        self.extensions.push(Extension {
            previous_expire_time,
            expire_time: self.settings.expire_time,
            actor: actor.to_owned(),
            time: self.update_time,
            reason: reason.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flag::{FlagType, Settings};
    use crate::domain::ids::{FlagKey, Revision};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_a_later_end_or_none_is_a_longer_life() {
        let flag = |end: Option<i64>| {
            let settings = Settings::new(FlagKey::parse("a").unwrap(), FlagType::Boolean);
            Settings { expire_time: end.map(at), ..settings }.into_flag(Revision(1), at(0))
        };
        let before = flag(Some(10));
        assert_eq!(flag(Some(11)).extended_from(&before), Some(at(10)));
        assert_eq!(flag(None).extended_from(&before), Some(at(10)));
        assert_eq!(flag(Some(10)).extended_from(&before), None);
        assert_eq!(flag(Some(9)).extended_from(&before), None);
        assert_eq!(flag(Some(9)).extended_from(&flag(None)), None);
    }

    #[test]
    fn the_newest_are_kept_through_later_changes() {
        let settings = Settings::new(FlagKey::parse("a").unwrap(), FlagType::Boolean);
        let mut flag = settings.clone().into_flag(Revision(1), at(0));
        for round in 0..25 {
            flag.keep_extension(at(round), "ada", "later");
        }
        let flag = flag.with_settings(settings, at(100));
        assert_eq!(flag.extensions.len(), KEPT_MAX);
        let ends = flag.extensions.iter().map(|it| it.previous_expire_time);
        assert_eq!(ends.collect::<Vec<_>>(), (5..25).map(at).collect::<Vec<_>>());
    }
}
