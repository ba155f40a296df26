//! Calls to a tenant's targets that were not answered, or that nobody waits for any more because they were overtaken. At a target that
//! cannot refuse what is older than what it holds, such a call may still have its effect when it arrives, after everything was
//! read back. So these tenants are looked at again a while later.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::TenantId;

/// The pauses before each look. By the first one a call has arrived that was on its way as others are; the later ones are for what a network
/// or a process holds back. Together 7 min; what arrives after that is left to the rounds of the verifier.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(80),
    Duration::from_secs(320),
];

/// When to look at whom, each tenant once.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    order: BTreeSet<(Instant, TenantId)>,
    /// When the tenant is looked at next, and how often it was.
    next: HashMap<TenantId, (Instant, usize)>,
}

impl Stragglers {
    /// Takes note that something may still be on its way to a tenant's targets. All its looks begin anew, and none is put off.
    pub(super) fn expect_of(&mut self, tenant_id: &TenantId, now: Instant) {
        let first = now + PAUSES[0];
        let due = self.next.get(tenant_id).map_or(first, |(due, _)| first.min(*due));
        self.put(tenant_id, due, 0);
    }

    /// A tenant that is to be looked at by now, and again after the next pause.
    pub(super) fn take(&mut self, now: Instant) -> Option<TenantId> {
        let (due, tenant_id) = self.order.first().filter(|(due, _)| *due <= now)?.clone();
        let looks = self.next.get(&tenant_id).map_or(0, |(_, looks)| *looks) + 1;
        if let Some(pause) = PAUSES.get(looks) {
            self.put(&tenant_id, now + *pause, looks);
        } else {
            self.order.remove(&(due, tenant_id.clone()));
            self.next.remove(&tenant_id);
        }
        Some(tenant_id)
    }

    fn put(&mut self, tenant_id: &TenantId, due: Instant, looks: usize) {
        if let Some((before, _)) = self.next.insert(tenant_id.clone(), (due, looks)) {
            self.order.remove(&(before, tenant_id.clone()));
        }
        self.order.insert((due, tenant_id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    /// When each look at a tenant falls due, in seconds from `start`.
    fn looks(stragglers: &mut Stragglers, start: Instant, name: &str) -> Vec<u64> {
        let at = |second| start + Duration::from_secs(second);
        let due = |second: &u64| stragglers.take(at(*second)).is_some_and(|tenant_id| tenant_id == id(name));
        (0..1_000).filter(due).collect()
    }

    #[test]
    fn a_tenant_is_looked_at_after_each_pause_and_then_no_more() {
        let (mut stragglers, start) = (Stragglers::default(), Instant::now());
        stragglers.expect_of(&id("finance"), start);
        assert_eq!(looks(&mut stragglers, start, "finance"), [1, 6, 26, 106, 426]);
        assert!(stragglers.order.is_empty() && stragglers.next.is_empty(), "{stragglers:?}");
    }

    #[test]
    fn a_tenant_that_is_told_again_is_kept_once_and_its_looks_begin_anew() {
        let (mut stragglers, start) = (Stragglers::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        stragglers.expect_of(&id("finance"), start);
        stragglers.expect_of(&id("finance"), at(500));
        assert_eq!(stragglers.order.len(), 1);
        assert_eq!(stragglers.take(at(999)), None);
        assert_eq!(
            stragglers.take(at(1_000)),
            Some(id("finance")),
            "the look that was to come is not put off"
        );
        stragglers.expect_of(&id("finance"), at(2_000));
        assert_eq!(stragglers.take(at(3_000)), Some(id("finance")), "it comes sooner than it would have");
        assert_eq!(looks(&mut stragglers, at(3_000), "finance"), [5, 25, 105, 425]);
    }

    #[test]
    fn of_several_the_one_that_waits_longest_comes_first() {
        let (mut stragglers, start) = (Stragglers::default(), Instant::now());
        stragglers.expect_of(&id("sales"), start);
        stragglers.expect_of(&id("finance"), start + Duration::from_millis(1));
        let late = start + Duration::from_mins(1);
        assert_eq!(stragglers.take(late), Some(id("sales")));
        assert_eq!(stragglers.take(late), Some(id("finance")));
        assert_eq!(stragglers.take(late), None);
    }
}
