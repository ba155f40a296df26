//! The operators whose arguments are evaluated before they are.

use std::ops::RangeInclusive;

use super::semver::Comparison;

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    StrictlyEqual,
    StrictlyNotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Not,
    Truthy,
    In,
    Missing,
    MissingSome,
    Merge,
    Cat,
    Substr,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Max,
    Min,
    Abs,
    ContainsAll,
    ContainsAny,
    ContainsNone,
    StartsWith,
    EndsWith,
    Lower,
    Upper,
    SemVer,
    Log,
}

/// Most arguments of an operator that takes any number.
const ANY: usize = usize::MAX;

impl Op {
    /// Every operator by its name.
    pub(super) const ALL: [(&str, Self); 33] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("===", Self::StrictlyEqual),
        ("!==", Self::StrictlyNotEqual),
        ("<", Self::Less),
        ("<=", Self::AtMost),
        (">", Self::Greater),
        (">=", Self::AtLeast),
        ("!", Self::Not),
        ("!!", Self::Truthy),
        ("in", Self::In),
        ("missing", Self::Missing),
        ("missing_some", Self::MissingSome),
        ("merge", Self::Merge),
        ("cat", Self::Cat),
        ("substr", Self::Substr),
        ("+", Self::Add),
        ("-", Self::Subtract),
        ("*", Self::Multiply),
        ("/", Self::Divide),
        ("%", Self::Modulo),
        ("max", Self::Max),
        ("min", Self::Min),
        ("abs", Self::Abs),
        ("contains_all", Self::ContainsAll),
        ("contains_any", Self::ContainsAny),
        ("contains_none", Self::ContainsNone),
        ("starts_with", Self::StartsWith),
        ("ends_with", Self::EndsWith),
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("sem_ver", Self::SemVer),
        ("log", Self::Log),
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, op)| op)
    }

    /// How many arguments make sense. flagd takes other numbers too and mostly answers null.
    pub(super) const fn arity(self) -> RangeInclusive<usize> {
        match self {
            Self::Equal
            | Self::NotEqual
            | Self::StrictlyEqual
            | Self::StrictlyNotEqual
            | Self::In
            | Self::MissingSome
            | Self::Modulo
            | Self::StartsWith
            | Self::EndsWith
            | Self::ContainsAll
            | Self::ContainsAny
            | Self::ContainsNone => 2..=2,
            Self::Less | Self::AtMost | Self::Greater | Self::AtLeast | Self::Substr => 2..=3,
            Self::Not | Self::Truthy | Self::Abs | Self::Lower | Self::Upper | Self::Log => 1..=1,
            Self::SemVer => 3..=3,
            Self::Subtract | Self::Divide | Self::Max | Self::Min => 1..=ANY,
            Self::Missing | Self::Merge | Self::Cat | Self::Add | Self::Multiply => 0..=ANY,
        }
    }

    /// Whether it gives true or false, or nothing.
    pub(super) const fn is_test(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::StrictlyEqual
                | Self::StrictlyNotEqual
                | Self::Less
                | Self::AtMost
                | Self::Greater
                | Self::AtLeast
                | Self::Not
                | Self::Truthy
                | Self::In
                | Self::ContainsAll
                | Self::ContainsAny
                | Self::ContainsNone
                | Self::StartsWith
                | Self::EndsWith
                | Self::SemVer
        )
    }

    /// Whether every published in-process provider knows it. docs/OPENFEATURE.md says which do not.
    pub(super) const fn is_known_everywhere(self) -> bool {
        !matches!(
            self,
            Self::Lower
                | Self::Upper
                | Self::Abs
                | Self::ContainsAll
                | Self::ContainsAny
                | Self::ContainsNone
        )
    }

    /// Whether it looks at attributes of its own accord, and so cannot be evaluated in advance.
    pub(super) const fn reads_context(self) -> bool {
        matches!(self, Self::Missing | Self::MissingSome)
    }
}

/// How the versions of a `sem_ver` are compared, as its middle argument says.
pub(super) fn version_comparison(argument: &super::datum::Datum<'_>) -> Option<Comparison> {
    Comparison::parse(argument.text()?)
}
