//! Replies kept as bytes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::domain::tier::Tier;
use crate::grpc::convert::tenant;
use crate::grpc::frame::framed;
use crate::services::tenant_registry::Shown;
use crate::view::{Record, Snapshot};

/// Replies that are kept at most: about 50 MB of usual ones. Of more tenants, those asked for in turn push each other
/// out, and are encoded anew as if nothing were kept.
const KEPT_MAX: usize = 1 << 16;

/// A reply, and all that it was made of: it is good as long as a snapshot has the very same.
struct Kept {
    record: Arc<Record>,
    tier: Option<Arc<Tier>>,
    bytes: Bytes,
}

/// Replies by what they were made of, a place each.
pub(in crate::grpc) struct Replies {
    tenants: Box<[ArcSwapOption<Kept>]>,
}

impl Default for Replies {
    fn default() -> Self {
        Self { tenants: (0..KEPT_MAX).map(|_| ArcSwapOption::empty()).collect() }
    }
}

impl Replies {
    /// The tenant of a record as it goes out.
    pub(super) fn tenant(&self, snapshot: &Snapshot, record: &Arc<Record>) -> Bytes {
        let tier = snapshot.tier_of(record);
        let place = &self.tenants[place_of(record)];
        if let Some(kept) = &*place.load()
            && Arc::ptr_eq(&kept.record, record)
            && kept.tier.as_ref().map(Arc::as_ptr) == tier.map(Arc::as_ptr)
        {
            return kept.bytes.clone();
        }
        let bytes = framed(&tenant::encode(&Shown::new(snapshot, record)));
        let kept = Kept { record: Arc::clone(record), tier: tier.cloned(), bytes: bytes.clone() };
        place.store(Some(Arc::new(kept)));
        bytes
    }
}

/// The place of a record: its address, mixed. While a reply is kept its record is too, so nothing else can come to lie
/// at the same address.
fn place_of(record: &Arc<Record>) -> usize {
    // Fibonacci hashing: the upper bits depend on all bits of the address.
    const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (Arc::as_ptr(record).addr() as u64).wrapping_mul(RATIO);
    usize::try_from(mixed >> (u64::BITS - KEPT_MAX.trailing_zeros())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::Timestamp;
    use prost::Message as _;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{TenantId, TierId};
    use crate::domain::tenant::{Profile, Tenant};
    use crate::proto::v1;

    fn record(owner: &str) -> Arc<Record> {
        let mut profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
        profile.owner = owner.into();
        let id = TenantId::parse("finance").unwrap();
        let tenant = Tenant::provisioning(id, Uuid::nil(), profile, "ada".into(), Timestamp::UNIX_EPOCH);
        Arc::new(Record { tenant, health: None })
    }

    fn owner_of(reply: &Bytes) -> String {
        v1::Tenant::decode(&reply[5..]).unwrap().owner
    }

    #[test]
    fn a_reply_is_kept_for_its_record_and_for_no_other() {
        let (replies, snapshot) = (Replies::default(), Snapshot::default());
        let (before, after) = (record("ada"), record("grace"));
        let first = replies.tenant(&snapshot, &before);
        let again = replies.tenant(&snapshot, &before);
        assert_eq!((owner_of(&first).as_str(), first.as_ptr()), ("ada", again.as_ptr()), "the same bytes");
        assert_eq!(owner_of(&replies.tenant(&snapshot, &after)), "grace");
        assert_eq!(owner_of(&replies.tenant(&snapshot, &before)), "ada");
    }

    #[test]
    fn a_prefix_says_how_long_the_reply_is() {
        let reply = Replies::default().tenant(&Snapshot::default(), &record("ada"));
        assert_eq!(reply[0], 0);
        assert_eq!(u32::from_be_bytes(reply[1..5].try_into().unwrap()) as usize, reply.len() - 5);
    }

    #[test]
    fn records_spread_over_all_places() {
        let records: Vec<_> = (0..1_000).map(|_| record("ada")).collect();
        let places: HashSet<_> = records.iter().map(place_of).collect();
        assert!(places.len() > 900, "{} places for 1,000 records", places.len());
    }
}
