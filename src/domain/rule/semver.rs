//! Versions as `sem_ver` compares them: semver.org's, with flagd's leniency for a leading `v` and for missing parts.

use std::cmp::Ordering;

/// How two versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    SameMajor,
    SameMinor,
}

impl Comparison {
    pub(super) fn parse(operator: &str) -> Option<Self> {
        Some(match operator {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::AtMost,
            ">" => Self::Greater,
            ">=" => Self::AtLeast,
            "^" => Self::SameMajor,
            "~" => Self::SameMinor,
            _ => return None,
        })
    }

    pub(super) fn holds(self, version: &Version<'_>, target: &Version<'_>) -> bool {
        let order = version.cmp(target);
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::SameMajor => version.numbers[0] == target.numbers[0],
            Self::SameMinor => version.numbers[..2] == target.numbers[..2],
        }
    }
}

/// A version; what stands after `+` is checked and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version<'a> {
    /// Major, minor and patch as digits without leading zeros, so that no number is too large.
    numbers: [&'a str; 3],
    /// What stands after `-`; empty for a release.
    prerelease: &'a str,
}

impl<'a> Version<'a> {
    /// Reads `1.2.3-rc.1+build`, also with a leading `v` or `V`; `1` is `1.0.0` and `1.2` is `1.2.0`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        let (core, prerelease) = match text.split_once('-') {
            Some((core, prerelease)) => (core, Some(prerelease)),
            None => (text, None),
        };
        let mut numbers = ["0"; 3];
        let mut given = 0;
        for number in core.split('.') {
            *numbers.get_mut(given)? = is_number(number).then_some(number)?;
            given += 1;
        }
        if given < 3 && (prerelease.is_some() || build.is_some()) {
            return None;
        }
        let fits = |list: &str, check: fn(&str) -> bool| {
            list.split('.').all(|part| !part.is_empty() && part.bytes().all(is_part_byte) && check(part))
        };
        let is_valid = prerelease.is_none_or(|list| fits(list, |part| !is_digits(part) || is_number(part)))
            && build.is_none_or(|list| fits(list, |_| true));
        is_valid.then_some(Self { numbers, prerelease: prerelease.unwrap_or_default() })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let mut pairs = self.numbers.iter().zip(&other.numbers);
        let numbers = pairs.find_map(|(a, b)| Some(compare_numbers(a, b)).filter(|order| order.is_ne()));
        numbers.unwrap_or_else(|| match (self.prerelease, other.prerelease) {
            (a, b) if a == b => Ordering::Equal,
            // A release comes after its candidates.
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (a, b) => compare_prereleases(a, b),
        })
    }
}

/// Part by part: numbers by value and before words, words by their bytes, fewer parts first.
fn compare_prereleases(a: &str, b: &str) -> Ordering {
    let (mut a_parts, mut b_parts) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a_parts.next(), b_parts.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (is_digits(a), is_digits(b)) {
                (true, true) => compare_numbers(a, b),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Of numbers without leading zeros the longer one is the larger.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn is_digits(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(part: &str) -> bool {
    is_digits(part) && (part == "0" || !part.starts_with('0'))
}

const fn is_part_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(version: &str, operator: &str, target: &str) -> bool {
        let comparison = Comparison::parse(operator).unwrap();
        comparison.holds(&Version::parse(version).unwrap(), &Version::parse(target).unwrap())
    }

    #[test]
    fn versions_are_ordered_as_semver_org_has_it() {
        let rising = [
            "0.9.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "2.0.0",
            "99999999999999999999999.0.0",
        ];
        for (low, a) in rising.iter().enumerate() {
            for (high, b) in rising.iter().enumerate() {
                assert_eq!(holds(a, "<", b), low < high, "{a} < {b}");
                assert_eq!(holds(a, "<=", b), low <= high, "{a} <= {b}");
                assert_eq!(holds(a, "=", b), low == high, "{a} = {b}");
                assert_eq!(holds(a, "!=", b), low != high, "{a} != {b}");
                assert_eq!(holds(a, ">=", b), low >= high, "{a} >= {b}");
                assert_eq!(holds(a, ">", b), low > high, "{a} > {b}");
            }
        }
    }

    #[test]
    fn a_leading_v_missing_parts_and_builds_make_no_difference() {
        for (a, b) in [
            ("v1.0.0", "1.0.0"),
            ("V1.0.0", "v1"),
            ("1.2", "1.2.0"),
            ("1.0.0+a", "1.0.0+b.0"),
            ("0", "0.0.0"),
        ] {
            assert!(holds(a, "=", b), "{a} = {b}");
        }
    }

    #[test]
    fn a_caret_compares_the_major_and_a_tilde_the_minor_number() {
        assert!(holds("3.1.0", "^", "3.0.0") && holds("3.0.0-rc.1", "^", "3.9.9"));
        assert!(!holds("4.0.0", "^", "3.0.0"));
        assert!(
            holds("3.0.1", "~", "3.0.0") && !holds("3.1.0", "~", "3.0.0") && !holds("2.0.0", "~", "3.0.0")
        );
        assert!(holds("1.5.0", "^", "1"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "v",
            "vv1",
            "a",
            "1.",
            ".1",
            "1.2.3.4",
            "01.0.0",
            "1.02.0",
            "1.0.00",
            "-1.0.0",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-a..b",
            "1.0.0-01",
            "1.0.0-ä",
            "1.0-rc",
            "1+b",
            "1.0.0+a+b",
            " 1.0.0",
            "1.0.0 ",
            "true",
            "2.0.0.0",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert!(Version::parse("1.0.0-0a.01a").is_some());
        for bad in ["", "==", "===", "<>", "in"] {
            assert_eq!(Comparison::parse(bad), None, "{bad}");
        }
    }
}
