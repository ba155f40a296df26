//! A tenant whose place is another's now, which came later. Of two the later has the last word, and of uids that grow with
//! time it has the greater.

use uuid::Uuid;

use super::Observed;
use crate::domain::lifecycle::Desired;

/// Another tenant, that came later and was not purged, and has what was the tenant's that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Successor {
    /// Whose.
    pub uid: Uuid,
    /// What, for people.
    pub what: String,
}

impl Successor {
    /// That the tenant has nothing to do here any more.
    pub(super) fn words(&self) -> String {
        format!("{} is another tenant's now, of the uid {}: skip this target", self.what, self.uid)
    }

    /// What is found of the tenant: what its record says, and nothing that is met there, which is the other's.
    pub(super) fn leaves(&self, record: Option<(Desired, u64)>) -> Observed {
        let generation = record.map_or(0, |(_, generation)| generation);
        match record.map(|(state, _)| state) {
            // All that was its own was removed before the other came.
            Some(Desired::Deleted) => {
                Observed::policy(Desired::Deleted, generation).with_unproven(&self.words())
            }
            asked => {
                let found = Observed::policy(Desired::Suspended, generation).with_asked(asked);
                found.with_amiss(Some(self.words()))
            }
        }
    }
}
