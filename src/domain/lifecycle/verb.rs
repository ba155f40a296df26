//! What can be asked of a tenant's lifecycle.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Status;

/// Where a migration ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MigrationEnd {
    /// The tenant is let in again.
    Active,
    /// The tenant stays out.
    Suspended,
}

/// What can be asked of a tenant's lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verb {
    /// Make a new tenant's resources, then let it in.
    Provision,
    /// Let in.
    Activate,
    /// Lock out.
    Suspend,
    /// Read only while data moves.
    StartMigration,
    /// End the move.
    FinishMigration {
        /// In which status.
        to: MigrationEnd,
    },
    /// Keep for retention.
    Archive,
    /// Remove.
    Delete,
    /// Take back the removal.
    Undelete,
    /// Remove the data for good and forget the tenant. Asked for by the registry itself, after the purge time.
    Purge,
    /// Make the tenant's status true again where a target drifted from it.
    Repair,
    /// Make the limits of another tier true.
    ChangeTier,
}

impl Verb {
    /// Every verb, with both ends of a migration.
    pub const ALL: [Self; 12] = [
        Self::Provision,
        Self::Activate,
        Self::Suspend,
        Self::StartMigration,
        Self::FinishMigration { to: MigrationEnd::Active },
        Self::FinishMigration { to: MigrationEnd::Suspended },
        Self::Archive,
        Self::Delete,
        Self::Undelete,
        Self::Purge,
        Self::Repair,
        Self::ChangeTier,
    ];

    /// The name in the contract, for example `START_MIGRATION`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "PROVISION",
            Self::Activate => "ACTIVATE",
            Self::Suspend => "SUSPEND",
            Self::StartMigration => "START_MIGRATION",
            Self::FinishMigration { .. } => "FINISH_MIGRATION",
            Self::Archive => "ARCHIVE",
            Self::Delete => "DELETE",
            Self::Undelete => "UNDELETE",
            Self::Purge => "PURGE",
            Self::Repair => "REPAIR",
            Self::ChangeTier => "CHANGE_TIER",
        }
    }

    /// The rpc that asks for it, for example `SuspendTenant`.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Provision => "CreateTenant",
            Self::Activate => "ActivateTenant",
            Self::Suspend => "SuspendTenant",
            Self::StartMigration => "StartMigration",
            Self::FinishMigration { .. } => "FinishMigration",
            Self::Archive => "ArchiveTenant",
            Self::Delete => "DeleteTenant",
            Self::Undelete => "UndeleteTenant",
            Self::Purge => "purging",
            Self::Repair => "VerifyTenant",
            Self::ChangeTier => "ChangeTier",
        }
    }

    /// Whether it leads to another status than the one it starts in.
    pub const fn moves(self) -> bool {
        !matches!(self, Self::Purge | Self::Repair | Self::ChangeTier)
    }

    /// Whether it decides the same thing about a tenant as another, so that the newer of both counts: the state that it is in and
    /// where it runs, or its tier.
    pub const fn decides_over(self, other: Self) -> bool {
        self.moves() && other.moves() || matches!((self, other), (Self::ChangeTier, Self::ChangeTier))
    }

    /// Whether it is meant for every tenant with more access than it leads to, so that one which cannot take it where it is was
    /// not done. The end of a migration is meant only for those that migrate.
    pub const fn closes(self) -> bool {
        matches!(self, Self::Suspend | Self::Archive | Self::Delete)
    }

    /// Whether it can be asked of a tenant that is where it leads, to say that the tenant stays there.
    pub fn can_confirm(self, status: Status) -> bool {
        matches!(self, Self::Activate | Self::Suspend) && self.leads_to(status) == status
    }

    /// The status that it makes true, wherever it is legal: `from` for a verb that makes the same status true anew.
    pub const fn leads_to(self, from: Status) -> Status {
        match self {
            Self::Provision | Self::Activate | Self::FinishMigration { to: MigrationEnd::Active } => {
                Status::Active
            }
            Self::Suspend | Self::FinishMigration { to: MigrationEnd::Suspended } => Status::Suspended,
            Self::StartMigration => Status::Migrating,
            Self::Archive | Self::Undelete => Status::Archived,
            Self::Delete => Status::Deleted,
            Self::Purge | Self::Repair | Self::ChangeTier => from,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
