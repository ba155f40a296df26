//! Flags that should go: too old, expired, or about to.

use jiff::{SignedDuration, Timestamp};

use super::settings::{Flag, FlagState, LIFETIME};

/// How long before its expiry a flag's owner is warned.
pub const WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Why a flag is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Staleness {
    /// It has expired.
    Expired,
    /// It was made more than 90 days ago.
    Old,
    /// It expires within 14 days.
    Expiring,
}

/// Why a flag should go, the weightiest reason first; nothing for one that is archived or of a kind that stays.
pub fn staleness(flag: &Flag, now: Timestamp) -> Option<Staleness> {
    let settings = &flag.settings;
    if settings.state == FlagState::Archived {
        return None;
    }
    if let Some(end) = settings.expire_time
        && end <= now
    {
        return Some(Staleness::Expired);
    }
    if settings.kind.expires() && now.duration_since(flag.create_time) > LIFETIME {
        return Some(Staleness::Old);
    }
    let left = settings.expire_time?.duration_since(now);
    (left <= WARNING).then_some(Staleness::Expiring)
}

/// What a flag's owner should hear with every look at it.
pub fn warning(flag: &Flag, now: Timestamp) -> Option<String> {
    let end = flag.settings.expire_time?;
    let found = staleness(flag, now)?;
    match found {
        Staleness::Expired => Some(format!("expired at {end}")),
        Staleness::Expiring => {
            let left = match end.duration_since(now).as_hours() / 24 {
                0 => "less than a day".to_owned(),
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            };
            Some(format!("expires in {left}, at {end}; extend it or take it out of the code"))
        }
        Staleness::Old => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flag::{FlagType, Kind, Settings};
    use crate::domain::ids::{FlagKey, Revision};

    fn day(number: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * number)
    }

    fn flag(kind: Kind, expire_time: Option<Timestamp>) -> Flag {
        let settings = Settings {
            kind,
            expire_time,
            ..Settings::new(FlagKey::parse("search").unwrap(), FlagType::Boolean)
        };
        settings.into_flag(Revision(1), day(0))
    }

    #[test]
    fn a_release_flag_is_warned_of_for_14_days_and_then_expired() {
        let mut settings = flag(Kind::Release, None).settings;
        settings.fill_expire_time(day(0));
        assert_eq!(settings.expire_time, Some(day(90)));
        let flag = flag(Kind::Release, settings.expire_time);
        assert_eq!(staleness(&flag, day(75)), None);
        assert_eq!(staleness(&flag, day(76)), Some(Staleness::Expiring));
        let soon = day(89) + SignedDuration::from_hours(1);
        for (now, left) in [(day(80), "in 10 days,"), (day(89), "in 1 day,"), (soon, "in less than a day,")] {
            assert!(warning(&flag, now).unwrap().contains(left), "{:?}", warning(&flag, now));
        }
        assert_eq!(staleness(&flag, day(90)), Some(Staleness::Expired));
    }

    #[test]
    fn an_extended_flag_is_old_after_90_days_all_the_same() {
        assert_eq!(staleness(&flag(Kind::Experiment, Some(day(365))), day(91)), Some(Staleness::Old));
    }

    #[test]
    fn kill_switches_and_permissions_stay_and_archived_flags_are_done_with() {
        for kind in [Kind::KillSwitch, Kind::Permission] {
            let mut settings = flag(kind, None).settings;
            settings.fill_expire_time(day(0));
            assert_eq!(settings.expire_time, None);
            assert_eq!(staleness(&flag(kind, None), day(1_000)), None);
        }
        let mut archived = flag(Kind::Release, Some(day(1)));
        archived.settings.state = FlagState::Archived;
        assert_eq!(staleness(&archived, day(2)), None);
    }
}
