//! Calls of one process that are about the same tenant, one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// Longest wait for another call's turn to end. Longer than Alertmanager takes to answer where nothing is wrong; where something is, a
/// suspension does not wait for it.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Whose silences are being changed.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until no other call changes the tenant's silences; `None` where one does for too long.
    pub(super) async fn take(&self, uid: Uuid) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(uid).or_default())
        };
        tokio::time::timeout(WAIT_MAX, turn.lock_owned()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_waits_for_the_one_before_of_its_tenant_and_of_no_other_and_not_for_ever() {
        let (turns, acme, sales) = (Turns::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let first = turns.take(acme).await;
        assert!(first.is_some());
        assert!(turns.take(sales).await.is_some());
        let second = async {
            let began = tokio::time::Instant::now();
            assert!(turns.take(acme).await.is_some());
            began.elapsed()
        };
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(first);
        };
        let waited = tokio::join!(second, end).0;
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        let _hung = turns.take(acme).await;
        assert!(turns.take(acme).await.is_none());
        assert_eq!(turns.0.lock().unwrap().len(), 1, "nothing is kept of the other");
    }
}
