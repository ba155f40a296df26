//! One type per identifier, each valid by construction and cheap to clone.
//!
//! Grammars are checked by hand: they are the hottest validation of the service and too small for a regex.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::shared_text::Texts;
use super::text;
pub use super::text::quote;

/// Why a text is not an identifier: one sentence for people, with the input quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct InvalidId {
    /// What it should have been, for example `tenant id`.
    pub what: &'static str,
    /// The input, cut to 64 characters, escaped and in quotes.
    pub quoted: String,
    /// What it must look like.
    pub rule: &'static str,
}

impl InvalidId {
    fn sentence(&self) -> String {
        let Self { what, quoted, rule } = self;
        if quoted == "\"\"" {
            let article = if what.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
            format!("{article} {what} is needed: {rule}")
        } else {
            format!("{what} {quoted} is not valid: {rule}")
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        text_id!(@type $(#[$doc])* $name, $what, $rule, $check);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
    // One that a file of another system may have brought: what is chosen here has a narrower grammar.
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr, $known_rule:literal, $known:expr) => {
        text_id!(@type $(#[$doc])* $name, $what, $rule, $check);

        impl $name {
            #[doc = concat!("Takes a ", $what, " that may be there already. A flagd file may have brought one that nobody \
                could choose here; the error says what even such a one must look like.")]
            pub fn known(input: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $known;
                if check(input) {
                    Ok(Self(Arc::from(input)))
                } else {
                    Err(InvalidId { what: $what, quoted: quote(input), rule: $known_rule })
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::known(&text).map_err(serde::de::Error::custom)
            }
        }
    };
    (@type $(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks and takes a ", $what, ". The error says what it must look like.")]
            pub fn parse(input: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(input) {
                    Ok(Self(Arc::from(input)))
                } else {
                    Err(InvalidId { what: $what, quoted: quote(input), rule: $rule })
                }
            }

            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes the common copy of the text.
            pub fn share(&mut self, texts: &mut Texts) {
                texts.share(&mut self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(input: &str) -> Result<Self, InvalidId> {
                Self::parse(input)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Ordering and hashing are those of the text, so maps can be asked with a plain `&str`.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A tenant's id: chosen by the caller, immutable, never reused before purge. 1 to 63 characters.
    TenantId,
    "tenant id",
    "it must have 1 to 63 lower-case letters, digits and hyphens, start with a letter and not end with a hyphen",
    is_dns_label
);
text_id!(
    /// A tier's id, for example `gold`. 1 to 63 characters.
    TierId,
    "tier id",
    "it must have 1 to 63 lower-case letters, digits and hyphens, start with a letter and not end with a hyphen",
    is_dns_label
);
text_id!(
    /// A feature flag's key, for example `search/ranking.v2`. 1 to 128 characters.
    FlagKey,
    "flag key",
    "it must have 1 to 128 letters, digits, '.', '_', '/' and '-', and start with a letter or digit",
    is_flag_key,
    "it must have 1 to 1,024 bytes and no NUL",
    |input| !input.is_empty() && is_storable(input)
);
text_id!(
    /// The name of one of a flag's variants, for example `on`. 1 to 64 characters.
    VariantName,
    "variant name",
    "it must have 1 to 64 characters on one line and not start or end with a space",
    is_variant_name,
    "it must have at most 1,024 bytes and no NUL",
    is_storable
);
text_id!(
    /// The name of a system that cascades reach, for example `object-store`. 1 to 63 characters.
    TargetName,
    "target name",
    "it must have 1 to 63 lower-case letters, digits and hyphens, start with a letter and not end with a hyphen",
    is_dns_label
);
text_id!(
    /// The name of something that is counted and limited, unit last: `storage_bytes`. 1 to 63 characters.
    MetricName,
    "metric name",
    "it must have 1 to 63 lower-case letters, digits and underscores, and start with a letter",
    is_metric_name
);
text_id!(
    /// The name of a segment, for example `EU customers`. 1 to 128 characters.
    SegmentName,
    "segment name",
    "it must have 1 to 128 characters on one line and not start or end with a space",
    is_segment_name
);
text_id!(
    /// The name of a group of flags that exclude each other. 1 to 128 characters.
    GroupName,
    "group name",
    "it must have 1 to 128 letters, digits, '.', '_', '/' and '-', and start with a letter or digit",
    is_flag_key
);

/// Whether the database holds it as text, and finds it by an index.
fn is_storable(input: &str) -> bool {
    input.len() <= 1_024 && !input.contains('\0')
}

fn is_dns_label(input: &str) -> bool {
    let bytes = input.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !input.ends_with('-')
}

fn is_flag_key(input: &str) -> bool {
    let bytes = input.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'))
}

fn is_variant_name(input: &str) -> bool {
    input.chars().count() <= 64 && is_segment_name(input)
}

fn is_segment_name(input: &str) -> bool {
    input.trim() == input && text::display_name(input).is_ok() && input.chars().count() <= 128
}

fn is_metric_name(input: &str) -> bool {
    let bytes = input.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            #[doc = concat!("Checks and takes a ", $what, " in the hyphenated form, in either case.")]
            pub fn parse(input: &str) -> Result<Self, InvalidId> {
                let check: fn(&Uuid) -> bool = $check;
                // The parser also takes braces, URNs and bare digits; one spelling per id keeps replays recognisable.
                let parsed = if input.len() == 36 { Uuid::try_parse(input).ok() } else { None };
                match parsed.filter(check) {
                    Some(uuid) => Ok(Self(uuid)),
                    None => Err(InvalidId { what: $what, quoted: quote(input), rule: $rule }),
                }
            }

            /// Takes a UUID that is already known to be right: made by the server or read from its database.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(input: &str) -> Result<Self, InvalidId> {
                Self::parse(input)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// An operation's id: made by the server, version 7, so ids sort by time.
    OperationId,
    "operation id",
    "it must be a version 7 UUID as the server gave it, for example 01890a5d-ac96-774b-bcce-b302099a8057",
    |uuid| uuid.get_version_num() == 7
);
uuid_id!(
    /// A request's id: chosen by the caller, so that a repeated request gets the same answer.
    RequestId,
    "request id",
    "it must be a UUID with hyphens that is not all zeros, for example 6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b",
    |uuid| !uuid.is_nil()
);

/// A position in the log: every change has one, higher is later. 0 is before the first change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As the signed number that PostgreSQL and the wire use; values beyond its range stop at its largest.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From the signed number that PostgreSQL and the wire use; `None` below 0.
    pub fn from_i64(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tenant_ids_are_dns_labels_that_start_with_a_letter() {
        for good in ["a", "finance", "a1", "a-b", "a--b", "x0-9", &"a".repeat(63)] {
            assert_eq!(TenantId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a\n", &"a".repeat(64)] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_id_is_explained_in_one_sentence() {
        assert_eq!(
            TenantId::parse("Fin\u{202e}ance").unwrap_err().to_string(),
            "tenant id \"Fin\\u{202e}ance\" is not valid: it must have 1 to 63 lower-case letters, digits and hyphens, \
             start with a letter and not end with a hyphen"
        );
        assert!(TenantId::parse(&"A".repeat(1_000_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn flag_keys_take_paths_dots_and_dashes() {
        for good in ["a", "0", "advanced_analytics", "search/ranking.v2-x", &"k".repeat(128)] {
            assert!(FlagKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", ".a", "/a", "-a", "a b", "a:b", "é", &"k".repeat(129)] {
            assert!(FlagKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variant_names_are_short_and_visible() {
        for good in ["on", "dark mode", "größe", &"v".repeat(64), &"é".repeat(64)] {
            assert!(VariantName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", " a", "a ", "a\nb", "a\u{202e}", &"v".repeat(65)] {
            assert!(VariantName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_flagd_file_brought_may_have_another_name() {
        for foreign in ["a b", "é", "_a", "\n", &"k".repeat(1_024)] {
            assert_eq!(FlagKey::known(foreign).unwrap().as_str(), foreign);
            assert_eq!(VariantName::known(foreign).unwrap().as_str(), foreign);
            let stored = serde_json::to_string(&FlagKey::known(foreign).unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<FlagKey>(&stored).unwrap().as_str(), foreign);
        }
        assert!(VariantName::known("").is_ok() && FlagKey::known("").is_err());
        for never in ["\0", &"k".repeat(1_025)] {
            assert!(FlagKey::known(never).is_err() && VariantName::known(never).is_err());
        }
    }

    #[test]
    fn metric_names_are_snake_case() {
        for good in ["a", "storage_bytes", "q1", "a_", &"m".repeat(63)] {
            assert!(MetricName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", "1a", "A", "a-b", &"m".repeat(64)] {
            assert!(MetricName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uuids_have_one_spelling() {
        let v7 = "01890a5d-ac96-774b-bcce-b302099a8057";
        let v4 = "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b";
        assert_eq!(OperationId::parse(v7).unwrap().to_string(), v7);
        assert!(OperationId::parse(v4).is_err(), "not version 7");
        assert_eq!(RequestId::parse(&v4.to_uppercase()).unwrap().to_string(), v4);
        for bad in [
            "",
            "00000000-0000-0000-0000-000000000000",
            &v4.replace('-', ""),
            &format!("{{{v4}}}"),
            &format!("urn:uuid:{v4}"),
            &format!("{v4} "),
        ] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_travel_as_plain_strings_and_are_checked_on_the_way_in() {
        let id = TenantId::parse("finance").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"finance\"");
        assert_eq!(serde_json::from_str::<TenantId>("\"finance\"").unwrap(), id);
        assert!(serde_json::from_str::<TenantId>("\"Finance\"").is_err());
        assert_eq!(serde_json::to_string(&Revision(7)).unwrap(), "7");
    }

    #[test]
    fn maps_by_id_can_be_asked_with_plain_text() {
        let map = BTreeMap::from([(TierId::parse("gold").unwrap(), 1)]);
        assert_eq!(map.get("gold"), Some(&1));
    }

    #[test]
    fn revisions_cross_the_wire_as_signed_numbers() {
        assert_eq!(Revision::from_i64(-1), None);
        assert_eq!(Revision::from_i64(5), Some(Revision(5)));
        assert_eq!(Revision(u64::MAX).as_i64(), i64::MAX);
        assert_eq!(Revision(u64::MAX).next(), Revision(u64::MAX));
        assert!(Revision::ZERO < Revision::ZERO.next());
    }

    proptest! {
        #[test]
        fn whatever_the_grammar_makes_is_accepted(id in "[a-z]([a-z0-9-]{0,61}[a-z0-9])?", key in "[A-Za-z0-9][A-Za-z0-9._/-]{0,127}") {
            prop_assert!(TenantId::parse(&id).is_ok());
            prop_assert!(TierId::parse(&id).is_ok());
            prop_assert!(FlagKey::parse(&key).is_ok());
        }

        #[test]
        fn parsing_never_panics_and_keeps_the_text(input in any::<String>()) {
            for parsed in [
                TenantId::parse(&input).map(|id| id.to_string()),
                FlagKey::parse(&input).map(|id| id.to_string()),
                VariantName::parse(&input).map(|id| id.to_string()),
                MetricName::parse(&input).map(|id| id.to_string()),
            ].into_iter().flatten() {
                prop_assert_eq!(parsed, input.clone());
            }
        }
    }
}
