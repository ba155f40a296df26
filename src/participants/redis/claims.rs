//! Who has a prefix now, of two tenants that were given the same one, or one within the other, one after the other.
//!
//! A registry that was restored may believe in a tenant whose prefix went to a later one that it has forgotten. So each
//! tenant whose prefix was chosen claims it, in sorted sets beside the records: `at:PREFIX` has the uids of those with
//! that prefix, `below:PREFIX` of those with a longer one. A purge takes the claim away. Prefixes that derive from uids are
//! in nobody's reach. A tenant from before there were claims makes its own when it is next changed or looked at.

use uuid::Uuid;

use super::super::successor::Successor;
use super::super::{Failure, TenantRef};
use super::nodes::{Cluster, failure};
use super::record::Records;
use crate::domain::tenant::ResourceNames;

/// Claims that are looked at in one call.
const PAGE: usize = 100;

/// Where the claims are.
pub(super) struct Claims {
    prefix: String,
}

/// What the claims say of a tenant.
#[derive(Debug)]
pub(super) struct Found {
    /// Who has its prefix now.
    pub(super) successor: Option<Successor>,
    /// Whether its own claim is missing.
    pub(super) is_unclaimed: bool,
}

impl Claims {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    fn at(&self, prefix: &str) -> String {
        format!("{}at:{prefix}", self.prefix)
    }

    fn below(&self, prefix: &str) -> String {
        format!("{}below:{prefix}", self.prefix)
    }

    /// Looks at who is at the tenant's prefix, below it and above it.
    pub(super) async fn look(
        &self,
        cluster: &Cluster,
        records: &Records,
        tenant: &TenantRef,
    ) -> Result<Found, Failure> {
        let mut found = Found { successor: None, is_unclaimed: false };
        let Some(prefix) = chosen(tenant) else { return Ok(found) };
        let own = self.at(prefix);
        let mut score = redis::cmd("ZSCORE");
        score.arg(&own).arg(tenant.uid.to_string());
        let score: Option<f64> = cluster.holder(&own).await?.run(&score).await.map_err(failure)?;
        found.is_unclaimed = score.is_none();
        let others = [own, self.below(prefix)].into_iter().chain(above(prefix).map(|above| self.at(above)));
        for key in others {
            if let Some(uid) = later(cluster, records, tenant, &key).await? {
                found.successor = Some(Successor { uid, what: format!("the prefix {prefix}") });
                return Ok(found);
            }
        }
        Ok(found)
    }

    /// Claims the tenant's prefix, once or again.
    pub(super) async fn make(&self, cluster: &Cluster, tenant: &TenantRef) -> Result<(), Failure> {
        for key in self.own(tenant) {
            let mut add = redis::cmd("ZADD");
            add.arg(&key).arg(0).arg(tenant.uid.to_string());
            cluster.holder(&key).await?.run::<u32>(&add).await.map_err(failure)?;
        }
        Ok(())
    }

    /// Takes the claim back: whoever is purged has nothing.
    pub(super) async fn remove(&self, cluster: &Cluster, tenant: &TenantRef) -> Result<(), Failure> {
        for key in self.own(tenant) {
            let mut remove = redis::cmd("ZREM");
            remove.arg(&key).arg(tenant.uid.to_string());
            cluster.holder(&key).await?.run::<u32>(&remove).await.map_err(failure)?;
        }
        Ok(())
    }

    /// The sets with the tenant's claim, its own prefix's last: where that is, all are.
    fn own(&self, tenant: &TenantRef) -> Vec<String> {
        let Some(prefix) = chosen(tenant) else { return Vec::new() };
        above(prefix).map(|above| self.below(above)).chain([self.at(prefix)]).collect()
    }
}

/// The first of the uids in a set that came later and is not purged.
async fn later(
    cluster: &Cluster,
    records: &Records,
    tenant: &TenantRef,
    key: &str,
) -> Result<Option<Uuid>, Failure> {
    let node = cluster.holder(key).await?;
    let mut from = tenant.uid;
    loop {
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(key).arg(format!("({from}")).arg("+").arg("LIMIT").arg(0).arg(PAGE);
        let uids: Vec<String> = node.run(&range).await.map_err(failure)?;
        let uids: Vec<Uuid> = uids.iter().filter_map(|uid| uid.parse().ok()).collect();
        for uid in &uids {
            if !records.is_purged(cluster, *uid).await? {
                return Ok(Some(*uid));
            }
        }
        match uids.last() {
            Some(last) if uids.len() == PAGE => from = *last,
            _ => return Ok(None),
        }
    }
}

/// The prefix, where it does not derive from the uid: no prefix that is chosen reaches one that does.
fn chosen(tenant: &TenantRef) -> Option<&str> {
    let derived = ResourceNames::derived(&tenant.tenant_id, tenant.uid).cache_prefix;
    Some(tenant.names.cache_prefix.as_str()).filter(|prefix| *prefix != derived)
}

/// The prefixes that a prefix lies below: of `a:b:c:`, `a:` and `a:b:`.
fn above(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.match_indices(':').map(|(at, _)| &prefix[..=at]).filter(move |above| above.len() < prefix.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_lies_below_each_of_its_beginnings_that_ends_with_a_colon() {
        assert_eq!(above("a:bc:d:").collect::<Vec<_>>(), ["a:", "a:bc:"]);
        assert_eq!(above("a:").count(), 0);
    }
}
