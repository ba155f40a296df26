//! What keeps a tier from being deleted.

use std::fmt::Write as _;

use crate::domain::bulk::{Bulk, BulkState};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TierId};
use crate::domain::operation::{Operation, State};

impl Operation {
    /// Whether the tenant may come to be on the tier by this operation, which has not ended: it leads there, or would come
    /// back there if it were taken back. Where a scheduled one comes from is settled only when it begins; until then it
    /// needs no more than the tier it leads to.
    ///
    /// The same as in store/sql/tier/delete.sql.
    pub fn needs_tier(&self, tier_id: &TierId) -> bool {
        let details = &self.details;
        let has_begun = self.state != State::Scheduled;
        let change = details.tier.as_ref().filter(|_| has_begun);
        self.finish_time.is_none()
            && (details.wish.tier.as_ref() == Some(tier_id)
                || change.is_some_and(|change| change.from == *tier_id || change.to == *tier_id))
    }
}

impl Bulk {
    /// Whether tenants may still be begun that it leads to the tier.
    pub fn needs_tier(&self, tier_id: &TierId) -> bool {
        self.state == BulkState::Running && self.wish.tier.as_ref() == Some(tier_id)
    }
}

/// Who uses a tier.
#[derive(Debug, Default)]
pub struct TierUsers {
    /// Tenants on it that are not deleted.
    pub tenants: usize,
    /// Deleted tenants on it: each can be undeleted until it is purged.
    pub deleted: usize,
    /// How many operations need it, and the first of them.
    pub operations: (usize, Option<OperationId>),
    /// How many bulk operations need it, and the first of them.
    pub bulks: (usize, Option<OperationId>),
}

impl TierUsers {
    /// The refusal to delete the tier; `None` where nobody uses it.
    pub fn refusal(&self, tier_id: &TierId) -> Option<Error> {
        let parts = [self.on_it(), self.held_by_deleted(), self.operations(), self.bulks()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return None;
        }
        let mut error =
            Error::new(Reason::TierInUse, format!("tier \"{tier_id}\" is in use: {}", parts.join("; ")))
                .with("tier_id", tier_id)
                .with("tenants", self.tenants + self.deleted)
                .with("deleted_tenants", self.deleted)
                .with("operations", self.operations.0)
                .with("bulk_operations", self.bulks.0);
        if let (_, Some(id)) = self.operations {
            error = error.with("operation_id", id);
        }
        if let (_, Some(id)) = self.bulks {
            error = error.with("bulk_operation_id", id);
        }
        Some(error)
    }

    fn on_it(&self) -> Option<String> {
        let (are, them) = if self.tenants == 1 { ("is", "it") } else { ("are", "them") };
        let tenants = counted(self.tenants, "tenant")?;
        Some(format!("{tenants} {are} on it (move {them} to another tier first)"))
    }

    fn held_by_deleted(&self) -> Option<String> {
        let (holds, they, are) =
            if self.deleted == 1 { ("holds", "it", "is") } else { ("hold", "they", "are") };
        let tenants = counted(self.deleted, "deleted tenant")?;
        Some(format!("{tenants} {holds} it until {they} {are} purged, and could be undeleted until then"))
    }

    fn operations(&self) -> Option<String> {
        let (count, first) = self.operations;
        let mut text = counted(count, "operation")?;
        text.push_str(if count == 1 {
            " leads to it or comes from it"
        } else {
            " lead to it or come from it"
        });
        named(&mut text, count, first);
        text.push_str(", open or scheduled: wait for the end, or abort");
        Some(text)
    }

    fn bulks(&self) -> Option<String> {
        let (count, first) = self.bulks;
        let mut text = counted(count, "bulk operation")?;
        text.push_str(if count == 1 { " leads tenants to it" } else { " lead tenants to it" });
        named(&mut text, count, first);
        text.push_str(": wait for the end, or abort");
        Some(text)
    }
}

/// For example `1 tenant`, `2 tenants`; nothing of none.
fn counted(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        more => Some(format!("{more} {what}s")),
    }
}

fn named(text: &mut String, count: usize, first: Option<OperationId>) {
    if let Some(id) = first {
        let which = if count == 1 { "" } else { "first " };
        // Writing to a text does not fail.
        let _ = write!(text, " ({which}{id})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(users: &TierUsers) -> Option<String> {
        users.refusal(&TierId::parse("gold").unwrap()).map(|error| error.message)
    }

    #[test]
    fn who_uses_a_tier_is_told_in_whole_and_one_is_one() {
        assert_eq!(said(&TierUsers::default()), None);
        let one = TierUsers { tenants: 1, ..TierUsers::default() };
        assert_eq!(
            said(&one).unwrap(),
            "tier \"gold\" is in use: 1 tenant is on it (move it to another tier first)"
        );
        let deleted = TierUsers { deleted: 1, ..TierUsers::default() };
        assert_eq!(
            said(&deleted).unwrap(),
            "tier \"gold\" is in use: 1 deleted tenant holds it until it is purged, and could be undeleted until then"
        );
        let id = OperationId::from_uuid(uuid::Uuid::nil());
        let all = TierUsers { tenants: 2, deleted: 3, operations: (2, Some(id)), bulks: (1, Some(id)) };
        let said = said(&all).unwrap();
        for part in [
            "2 tenants are on it",
            "3 deleted tenants hold it until they are purged",
            "2 operations lead to it or come from it (first 0",
            "1 bulk operation leads tenants to it (0",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
