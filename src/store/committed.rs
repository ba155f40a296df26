//! What a transaction of this replica left behind, so that its own view need not read it back.

use uuid::Uuid;

use super::log::Mark;
use crate::domain::ids::Revision;
use crate::domain::lifecycle::Verb;
use crate::domain::operation::Operation;
use crate::domain::tenant::{Health, Tenant};

/// Every row that a change leaves in the tables that the view holds, exactly as they would be read back.
///
/// A change says so only where it knows: where its statement replaces whole rows, or is conditional on the revision of
/// all that it does not replace, or says which fields it replaces. Everything else is read back, which is always right and takes longer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The tenant, made or changed.
    pub tenant: Option<Tenant>,
    /// Its health report.
    pub health: Option<Health>,
    /// The operation, opened or gone on.
    pub operation: Option<Operation>,
    /// What a step of the operation did to its tenant.
    pub followed: Option<Followed>,
}

/// A tenant that followed its operation: of its row only those fields are written that the verb is about, and others may
/// have been changed since it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// With the fields as they were written.
    pub tenant: Tenant,
    /// Which fields.
    pub verb: Verb,
}

impl Rows {
    /// The rows as of the revision that the change was given.
    #[must_use]
    pub(super) fn at(mut self, revision: Revision) -> Self {
        if let Some(tenant) = &mut self.tenant {
            tenant.revision = revision;
        }
        if let Some(health) = &mut self.health {
            health.revision = revision;
        }
        if let Some(operation) = &mut self.operation {
            operation.revision = revision;
        }
        if let Some(followed) = &mut self.followed {
            followed.tenant.revision = revision;
        }
        self
    }
}

/// Which log a transaction wrote to, as it was when it held the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Its epoch.
    pub epoch: Uuid,
    /// Revisions up to this one can no longer be told apart.
    pub compacted: Revision,
    /// The entry before the transaction's first; `None` where there is none, or where it was not seen.
    pub before: Option<Mark>,
    /// The transaction's last entry.
    pub last: Option<Mark>,
}

/// One transaction of this replica's writer, after its commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// To which log. `None` where a change was found to have been made before.
    pub log: Option<Log>,
    /// The revision of its first change; the others follow without a gap.
    pub first: Revision,
    /// What each change left, in order; `None` where that must be read.
    pub changes: Vec<Option<Rows>>,
}

impl Committed {
    /// The revision of the last change.
    pub fn last(&self) -> Revision {
        // A commit without changes is not told.
        Revision(self.first.get() + self.changes.len().saturating_sub(1) as u64)
    }
}
