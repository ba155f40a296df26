//! Which flags an OpenFeature client asks for: flagd's selector.

use super::text;
use super::violation::Violation;

/// Longest name of a flag set, in bytes: an index finds flags by it.
pub const FLAG_SET_BYTES_MAX: usize = 1_024;
/// Longest selector, in bytes: room for the longest flag set, and for a tenant and a source with their keys.
const LENGTH_MAX: usize = FLAG_SET_BYTES_MAX + 256;
/// The name of the one source of all flags here.
pub const SOURCE: &str = "tenantry";

/// Whether a selector can say the name of a flag set; else no client could ask for it.
///
/// # Errors
///
/// The end of a sentence that starts with the name.
pub fn can_name(flag_set: &str) -> Result<(), String> {
    if flag_set.len() > FLAG_SET_BYTES_MAX {
        return Err(format!("must have at most {FLAG_SET_BYTES_MAX} bytes"));
    }
    if flag_set.contains(',') {
        return Err("must not contain commas, which end a name in a client's selector".to_owned());
    }
    if flag_set.trim() != flag_set {
        return Err("must not begin or end with white space, which a client's selector leaves out".to_owned());
    }
    if flag_set.contains(char::is_control) {
        return Err("must not contain control characters, which a client's selector cannot hold".to_owned());
    }
    Ok(())
}

/// The text of a selector that came as a header. HTTP leaves open what bytes beyond ASCII mean; here they are UTF-8.
///
/// # Errors
///
/// Where they are not. `field` is the header's name.
pub fn of_header<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, Violation> {
    std::str::from_utf8(bytes).map_err(|_| Violation::new(field, "must be text in UTF-8"))
}

/// A selector, read. Without any part it selects every flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// `flagSetId=`: a tenant's flags, or those of a flag set; the empty name is that of flags without a set.
    pub flag_set: Option<String>,
    /// `source=`, or a bare word: where flags come from.
    pub source: Option<String>,
    /// `tenantId=`: a tenant's flags. Ours, for when a flag set is to be named as well.
    pub tenant: Option<String>,
}

impl Selector {
    /// Reads `key=value`, several of them with commas between, or a bare word. `field` is its place in the request.
    pub fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        if text.len() > LENGTH_MAX {
            return Err(Violation::new(field, format!("must have at most {LENGTH_MAX} bytes")));
        }
        let mut selector = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or(("source", part));
            let place = match key.trim() {
                "flagSetId" => &mut selector.flag_set,
                "source" => &mut selector.source,
                "tenantId" => &mut selector.tenant,
                other => {
                    let why = format!(
                        "has no key {}; there are flagSetId, tenantId and source",
                        text::quote(other)
                    );
                    return Err(Violation::new(field, why));
                }
            };
            if place.replace(value.trim().to_owned()).is_some() {
                return Err(Violation::new(field, format!("must have {} once", text::quote(key.trim()))));
            }
        }
        Ok(selector)
    }

    /// Whether it asks for a source that is not there, and so for nothing.
    pub fn is_elsewhere(&self) -> bool {
        self.source.as_deref().is_some_and(|source| !source.is_empty() && source != SOURCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Selector {
        Selector::parse("selector", text).unwrap()
    }

    #[test]
    fn a_selector_names_a_set_a_source_or_a_tenant() {
        assert_eq!(parse(""), Selector::default());
        assert_eq!(parse("flagSetId=web").flag_set.as_deref(), Some("web"));
        assert_eq!(parse("flagSetId=").flag_set.as_deref(), Some(""));
        assert_eq!(parse("source=a").source.as_deref(), Some("a"));
        assert_eq!(parse("flags.json").source.as_deref(), Some("flags.json"));
        let both = parse(" tenantId=finance , flagSetId=web");
        assert_eq!((both.tenant.as_deref(), both.flag_set.as_deref()), (Some("finance"), Some("web")));
    }

    #[test]
    fn what_it_does_not_know_is_refused_by_name() {
        for text in ["team=a", "flagSetId=a,flagSetId=b", &"a".repeat(1_281)] {
            assert_eq!(
                Selector::parse("flagd-selector", text).unwrap_err().field,
                "flagd-selector",
                "{text}"
            );
        }
    }

    #[test]
    fn every_name_that_a_flag_set_may_have_is_read_as_it_is_and_no_other_is_taken() {
        let longest = "é".repeat(FLAG_SET_BYTES_MAX / 2);
        for name in ["", "web", "web shop", "é ü", "a=b", "=", "100%", &longest] {
            assert_eq!(can_name(name), Ok(()), "{name}");
            let tenant = "t".repeat(63);
            let selector = parse(&format!("tenantId={tenant},source=tenantry,flagSetId={name}"));
            assert_eq!(selector.flag_set.as_deref(), Some(name));
        }
        for name in ["a,b", ",", " lead", "trail ", "\u{a0}x", " ", "a\tb", "a\0b", &format!("{longest}x")] {
            assert!(can_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn another_source_has_nothing() {
        assert!(parse("flags.json").is_elsewhere());
        assert!(!parse("source=tenantry").is_elsewhere());
        assert!(!parse("source=").is_elsewhere());
        assert!(!parse("").is_elsewhere());
    }
}
