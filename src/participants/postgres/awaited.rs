//! What changes wait for between their attempts, without a place at the target: one look for all of them. So one long transaction
//! keeps no other tenant's access row from being written.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use uuid::Uuid;

use super::super::access::{connection, failure};
use super::super::{Failure, TenantRef};
use super::old::{GRACE, Id, Old, number};

/// From when on somebody else's wait tells that a transaction is a long one.
const KNOWN_AFTER: Duration = Duration::from_millis(250);
/// How old a look may be that tells whether it has ended.
const LOOK_AGE: Duration = Duration::from_millis(100);

/// Those that a tenant's change waits for.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    /// The number of the transaction that made the change.
    pub(super) change: u32,
    pub(super) generation: u64,
    pub(super) old: Vec<Old>,
    /// Since when it waits for these.
    pub(super) since: Instant,
    /// Those that were found right after the change, and none that came to light when they had ended.
    pub(super) is_first: bool,
}

/// What each tenant's last change still waited for when an attempt ended. Without it, as after a start, the next attempt
/// waits for whatever is open by then.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    awaited: Mutex<HashMap<Uuid, Awaited>>,
    present: tokio::sync::Mutex<Option<(Instant, Present)>>,
}

impl Remembered {
    /// By tenant.
    pub(super) fn awaited(&self) -> MutexGuard<'_, HashMap<Uuid, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another tenant has waited for one of these before.
    pub(super) fn knows_of(&self, uid: Uuid, mine: &Awaited) -> bool {
        self.awaited().iter().any(|(other, theirs)| {
            *other != uid
                && theirs.since < mine.since
                && theirs.since.elapsed() >= KNOWN_AFTER
                && theirs.old.iter().any(|one| one.is_among(&mine.old))
        })
    }

    /// Until what the last attempt of this change waited for is gone, or `ends` is to end it; at once where that attempt did not wait.
    pub(super) async fn until_gone(
        &self,
        pool: &Pool,
        tenant: &TenantRef,
        generation: u64,
        ends: bool,
    ) -> Result<(), Failure> {
        loop {
            let mine = self.awaited().get(&tenant.uid).filter(|mine| mine.generation == generation).cloned();
            let Some(mine) = mine else { return Ok(()) };
            if self.is_over(pool, &mine).await? || (ends && mine.since.elapsed() >= GRACE) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGE).await;
        }
    }

    /// By a look that is young enough, else a new one, which whoever asks meanwhile waits for.
    async fn is_over(&self, pool: &Pool, mine: &Awaited) -> Result<bool, Failure> {
        let mut last = self.present.lock().await;
        let present = match last.take().filter(|(at, _)| at.elapsed() < LOOK_AGE) {
            Some((at, present)) => last.insert((at, present)),
            None => last.insert((Instant::now(), Present::look(pool).await?)),
        };
        Ok(present.1.are_over(mine))
    }
}

/// Every transaction that is open in the database.
#[derive(Debug, Default)]
struct Present {
    /// By process and virtual number: whether it has written, and the oldest transaction that it sees as running.
    running: HashMap<(i32, String), (bool, Option<u32>)>,
    prepared: HashSet<String>,
}

impl Present {
    async fn look(pool: &Pool) -> Result<Self, Failure> {
        let client = connection(pool).await?;
        let rows = client.query(include_str!("../sql/old/present.sql"), &[]).await.map_err(failure)?;
        let mut present = Self::default();
        for row in rows {
            let transaction: String = row.get(1);
            match row.get(0) {
                Some(pid) => {
                    present
                        .running
                        .insert((pid, transaction), (row.get(2), row.get::<_, Option<i64>>(3).map(number)));
                }
                None => {
                    present.prepared.insert(transaction);
                }
            }
        }
        Ok(present)
    }

    /// Whether none is left of those that are waited for, as `find` would tell.
    fn are_over(&self, awaited: &Awaited) -> bool {
        !awaited.old.iter().any(|one| match &one.id {
            Id::Running { pid, transaction } => {
                self.running.get(&(*pid, transaction.clone())).is_some_and(|(has_written, oldest)| {
                    *has_written || oldest.is_some_and(|oldest| !is_after(oldest, awaited.change))
                })
            }
            Id::Prepared { transaction } => self.prepared.contains(transaction),
        })
    }
}

/// Whether a transaction's number is after another's. Numbers begin again: what is less than half of all ahead is after.
const fn is_after(number: u32, other: u32) -> bool {
    number != other && number.wrapping_sub(other) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_transactions_are_compared_across_their_beginning_again() {
        assert!(is_after(11, 10) && !is_after(10, 10) && !is_after(9, 10));
        assert!(is_after(5, u32::MAX - 5) && !is_after(u32::MAX - 5, 5));
    }

    #[test]
    fn a_transaction_is_over_once_it_is_gone_or_sees_the_change_and_has_written_nothing() {
        let id = |pid| Id::Running { pid, transaction: "3/7".to_owned() };
        let old = |id| Old { id, words: String::new() };
        let prepared = Id::Prepared { transaction: "44".to_owned() };
        let waits_for = |id| Awaited {
            change: 100,
            generation: 1,
            old: vec![old(id)],
            since: Instant::now(),
            is_first: true,
        };
        let running =
            [(1, (false, Some(101))), (2, (false, Some(100))), (3, (true, Some(101))), (4, (false, None))];
        let running = running.map(|(pid, seen)| ((pid, "3/7".to_owned()), seen)).into();
        let present = Present { running, prepared: HashSet::from(["44".to_owned()]) };
        let over: Vec<bool> = (1..=5).map(|pid| present.are_over(&waits_for(id(pid)))).collect();
        assert_eq!(over, [true, false, false, true, true]);
        assert!(!present.are_over(&waits_for(prepared.clone())));
        assert!(Present::default().are_over(&waits_for(prepared)));
    }
}
