//! Short texts without a pointer to follow.

use std::fmt;

/// Longest text that is kept in place, in bytes: what makes a [`Word`] as large as a `String`.
const SHORT_MAX: usize = 22;

/// A text that rules compare with. Names of attributes and most values are short; kept in place, comparing them takes no
/// further step in memory, and steps in memory are most of what a rule costs among many.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Word {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<str>),
}

impl Word {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Self::Short { length, bytes } => {
                bytes.get(..usize::from(*length)).is_some_and(|own| own == text.as_bytes())
            }
            Self::Long(own) => **own == *text,
        }
    }

    /// The text; checked anew for being one where it is short.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short { length, bytes } => {
                let own = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(own).unwrap_or_default()
            }
            Self::Long(own) => own,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Short { length: 0, .. })
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_text_that_it_was_made_of_and_no_other() {
        assert_eq!(size_of::<Word>(), size_of::<String>());
        let longest = "x".repeat(SHORT_MAX);
        for text in
            ["", "a", "targetingKey", "ä\u{1f600}", &longest, &"x".repeat(SHORT_MAX + 1), &"x".repeat(300)]
        {
            let word = Word::new(text);
            assert!(word.is(text), "{text}");
            assert_eq!(word.as_str(), text);
            assert_eq!(word.is_empty(), text.is_empty());
            assert_eq!(matches!(word, Word::Short { .. }), text.len() <= SHORT_MAX);
            for other in [format!("{text}a"), text.chars().skip(1).collect(), "\0".to_owned()] {
                assert_eq!(word.is(&other), other == text, "{text} {other}");
            }
        }
    }
}
