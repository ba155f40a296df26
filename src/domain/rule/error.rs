//! Why a rule was refused.

/// What kind of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Nested too deeply.
    Depth,
    /// Too many parts, or a text that is too long.
    Size,
    /// There is no such operator.
    Operator,
    /// An operator's arguments are too few, too many, or of a kind it can never take.
    Arguments,
    /// There is no such segment.
    Segment,
    /// Segments that refer to each other in a circle.
    Cycle,
    /// A pattern that cannot be read or is too large.
    Pattern,
    /// A result that is no variant of the flag.
    Variant,
}

/// Most characters of a path that a message shows.
const PLACE_MAX: usize = 120;

/// A mistake in a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", self.place())]
pub struct Error {
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// Where in the source, for example `if[0].==[1]`; empty for the whole. A mistake in a segment starts with
    /// `$evaluators.` and its name.
    pub path: String,
    /// The end of a sentence that starts with the place, for example `there is no operator "foo"`.
    pub why: String,
}

impl Error {
    /// Of a long path only where it begins: the rest would be longer than anybody reads.
    fn place(&self) -> String {
        match self.path.char_indices().nth(PLACE_MAX) {
            _ if self.path.is_empty() => String::new(),
            None => format!("at {}: ", self.path),
            Some((end, _)) => format!("at {}…: ", &self.path[..end]),
        }
    }

    /// The same mistake of a part of something.
    #[must_use]
    pub(super) fn inside(mut self, whole: &str) -> Self {
        self.path = match self.path.chars().next() {
            None => whole.to_owned(),
            Some('[') => format!("{whole}{}", self.path),
            Some(_) => format!("{whole}.{}", self.path),
        };
        self
    }
}
