//! Numbers and times on the command line.

use std::time::Duration;

use jiff::Timestamp;

/// A number with a value; JSON, in which requests go out, has no others, and would make one that is left out of them.
pub(super) fn finite(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("must be a number, such as 0.999")
}

/// A time in seconds, more than none.
pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = finite(text).ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    seconds.filter(|time| !time.is_zero()).ok_or("must be a number of seconds above 0, such as 5 or 0.5")
}

/// A moment, as requests have it. No "30d": the same command would ask for something else whenever it is repeated.
pub(super) fn time(text: &str) -> Result<String, &'static str> {
    let time: Result<Timestamp, _> = text.parse();
    time.map(|time| time.to_string()).map_err(|_| "must be a time such as 2027-01-31T00:00:00Z (RFC 3339)")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{finite, seconds, time};

    #[test]
    fn a_time_is_a_moment_whatever_its_offset() {
        assert_eq!(time("2027-01-31T00:00:00Z").as_deref(), Ok("2027-01-31T00:00:00Z"));
        assert_eq!(time("2027-01-31T02:00:00.5+02:00").as_deref(), Ok("2027-01-31T00:00:00.5Z"));
        for text in ["30d", "2027-01-31", "2027-01-31T00:00:00", "tomorrow", ""] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_more_than_none_and_may_be_a_part_of_a_second() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        for text in ["0", "-1", "nan", "1e300", "", "1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_no_number() {
        assert_eq!((finite("0.999"), finite("1e3"), finite("-1")), (Ok(0.999), Ok(1_000.0), Ok(-1.0)));
        for text in ["nan", "NaN", "inf", "-infinity", "1e999", "", "a", "1,5"] {
            assert!(finite(text).is_err(), "{text}");
        }
    }
}
