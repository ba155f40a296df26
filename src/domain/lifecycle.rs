//! The life of a tenant: which states there are, which moves are legal and what each state grants.
//!
//! ```text
//! PROVISIONING ──▶ ACTIVE ◀──▶ SUSPENDED ──▶ ARCHIVED ◀──▶ DELETED ──▶ (purged)
//!                   ▲ │           ▲              (back only by undelete,
//!                   │ ▼           │               until the purge time)
//!                  MIGRATING ─────┘
//! ```
//!
//! A deleted tenant's data stays until it is purged: undelete gives it back.

mod verb;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::verb::{MigrationEnd, Verb};
use super::text::quote;

/// The state a tenant is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Its resources are being made.
    Provisioning,
    /// In use.
    Active,
    /// Locked out for now; data kept.
    Suspended,
    /// Data is being moved; read only.
    Migrating,
    /// Kept for retention.
    Archived,
    /// Gone; can be undeleted until the purge time.
    Deleted,
}

impl Status {
    /// Every status, in the order of the contract.
    pub const ALL: [Self; 6] =
        [Self::Provisioning, Self::Active, Self::Suspended, Self::Migrating, Self::Archived, Self::Deleted];

    /// The name in the contract, for example `ACTIVE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Migrating => "MIGRATING",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }

    /// What the registry grants a tenant in this status.
    pub const fn access(self) -> Access {
        match self {
            Self::Active => Access::Full,
            Self::Migrating => Access::ReadOnly,
            Self::Provisioning | Self::Suspended | Self::Archived | Self::Deleted => Access::None,
        }
    }

    /// Whether it is nearer to full use than another.
    pub const fn is_more_open_than(self, other: Self) -> bool {
        self.openness() > other.openness()
    }

    /// How near to full use a status is, lowest first: the scale on which [`toward`] compares.
    const fn openness(self) -> u8 {
        match self {
            Self::Deleted => 0,
            Self::Archived => 1,
            Self::Provisioning | Self::Suspended => 2,
            Self::Migrating => 3,
            Self::Active => 4,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no status {quoted}; the statuses are PROVISIONING, ACTIVE, SUSPENDED, MIGRATING, ARCHIVED and DELETED"
)]
pub struct UnknownStatus {
    /// The input, cut, escaped and in quotes.
    pub quoted: String,
}

impl FromStr for Status {
    type Err = UnknownStatus;

    /// Takes a status by its name in either case.
    fn from_str(input: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(input))
            .ok_or_else(|| UnknownStatus { quoted: quote(input) })
    }
}

/// The state machine has no such move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalTransition {
    /// The status the tenant is in.
    pub from: Status,
    /// What was asked for.
    pub verb: Verb,
    /// The statuses it can move to from there.
    pub allowed: &'static [Status],
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, verb, allowed } = self;
        write!(f, "a tenant that is {from} cannot take {}: ", verb.method())?;
        if *from == Status::Migrating {
            // The statuses alone would contradict who is refused one of them: each has its own way there.
            return f.write_str(
                "FinishMigration moves it to SUSPENDED (`tenantry tenant finish-migration ID --suspended`) or ACTIVE; \
                 AbortOperation of its StartMigration takes it back",
            );
        }
        match allowed {
            [] => f.write_str("from there only UndeleteTenant leads back, until the purge time"),
            [first, rest @ ..] => {
                write!(f, "from there it can move to {first}")?;
                rest.iter().try_for_each(|status| write!(f, " or {status}"))
            }
        }
    }
}

impl std::error::Error for IllegalTransition {}

/// Answers where a verb leads from a status, or why it may not be asked for there.
///
/// A verb that would change nothing (suspending the suspended) is illegal as well: whether a repeated request is
/// forgiven is decided by its request id, never here.
pub const fn transition(from: Status, verb: Verb) -> Result<Status, IllegalTransition> {
    use Status::{Active, Archived, Deleted, Migrating, Provisioning, Suspended};
    // By verb, then status, with no wildcard: a new status or verb does not compile until its row is decided.
    let legal = match verb {
        Verb::Provision => matches!(from, Provisioning),
        Verb::Activate => matches!(from, Provisioning | Suspended),
        Verb::Suspend | Verb::StartMigration => matches!(from, Active),
        Verb::FinishMigration { .. } => matches!(from, Migrating),
        Verb::Archive => matches!(from, Suspended),
        Verb::Delete => matches!(from, Archived),
        Verb::Undelete | Verb::Purge => matches!(from, Deleted),
        // What never came to be has nothing that could drift; what is deleted has no tier that counts.
        Verb::Repair => !matches!(from, Provisioning),
        Verb::ChangeTier => !matches!(from, Deleted),
    };
    if legal {
        Ok(verb.leads_to(from))
    } else {
        Err(IllegalTransition { from, verb, allowed: allowed(from) })
    }
}

/// The statuses that can follow a status. Undelete is no forward move: it takes one back, for a time, and is listed
/// by [`verbs`] only.
pub const fn allowed(from: Status) -> &'static [Status] {
    match from {
        Status::Provisioning => &[Status::Active],
        Status::Active => &[Status::Suspended, Status::Migrating],
        Status::Suspended => &[Status::Active, Status::Archived],
        Status::Migrating => &[Status::Active, Status::Suspended],
        Status::Archived => &[Status::Deleted],
        Status::Deleted => &[],
    }
}

/// The verbs that lead from a status to another, in the order of [`Verb::ALL`].
pub fn verbs(from: Status) -> impl Iterator<Item = Verb> {
    Verb::ALL.into_iter().filter(move |verb| verb.moves() && transition(from, *verb).is_ok())
}

/// Whether a deleted tenant can still be taken back: strictly before its purge time.
pub fn can_undelete(now: Timestamp, purge_time: Timestamp) -> bool {
    now < purge_time
}

/// What the registry grants a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Access {
    /// Nothing.
    None,
    /// Reads.
    ReadOnly,
    /// Reads and writes.
    Full,
}

impl Access {
    /// The name in the contract, for example `READ_ONLY`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::ReadOnly => "READ_ONLY",
            Self::Full => "FULL",
        }
    }
}

/// Whether a move takes access away or gives it: this decides what a failing cascade does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Toward {
    /// Denied at once in the registry, then retried forward until every target follows.
    LessAccess,
    /// Granted last; a permanent failure leads every target back to the previous state.
    MoreAccess,
}

/// Compares two statuses. Undelete counts as more access, although both of its ends grant nothing: a failure on the
/// way out of deletion must lead back, not forward. No move at all counts as less, the cautious side.
pub const fn toward(from: Status, to: Status) -> Toward {
    if to.openness() > from.openness() { Toward::MoreAccess } else { Toward::LessAccess }
}

/// The access in force while an operation moves a tenant: the lesser of both ends.
pub fn access_during(from: Status, to: Status) -> Access {
    from.access().min(to.access())
}

/// What a target system is asked to make true for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Desired {
    /// Reads and writes pass.
    Active,
    /// Reads pass, writes do not.
    ReadOnly,
    /// Nothing passes; data stays.
    Suspended,
    /// Nothing passes; data is kept for retention.
    Archived,
    /// The data is removed.
    Deleted,
}

impl Desired {
    /// The state with the name that [`Self::as_str`] gives it; `None` where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Every desired state.
    pub const ALL: [Self; 5] = [Self::Active, Self::ReadOnly, Self::Suspended, Self::Archived, Self::Deleted];

    /// What a tenant can do in a system that is in this state.
    pub const fn access(self) -> Access {
        match self {
            Self::Active => Access::Full,
            Self::ReadOnly => Access::ReadOnly,
            Self::Suspended | Self::Archived | Self::Deleted => Access::None,
        }
    }

    /// The name in the contract, for example `READ_ONLY`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::ReadOnly => "READ_ONLY",
            Self::Suspended => "SUSPENDED",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What targets must make true for a tenant in a status. Before provisioning is done, nobody is let in. A deleted
/// tenant's data is kept as an archived one's: only [`Verb::Purge`] removes it, when nobody can undelete any more.
pub const fn desired(status: Status) -> Desired {
    match status {
        Status::Active => Desired::Active,
        Status::Migrating => Desired::ReadOnly,
        Status::Provisioning | Status::Suspended => Desired::Suspended,
        Status::Archived | Status::Deleted => Desired::Archived,
    }
}

/// What targets must make true for a verb to be done, where it leads to `status`.
pub const fn desired_by(verb: Verb, status: Status) -> Desired {
    match verb {
        Verb::Purge => Desired::Deleted,
        _ => desired(status),
    }
}

/// How it is known in which state a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verification {
    /// Only what the system has stored was read: whether it acts on it was not seen.
    PolicyOnly,
    /// What an ordinary client of the system now gets was seen, or what is left of the tenant was counted.
    Effect,
}

impl Verification {
    /// The name in the contract, for example `EFFECT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Effect => "EFFECT",
            Self::PolicyOnly => "POLICY_ONLY",
        }
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
