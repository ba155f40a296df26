//! Buckets whose policy may lack what it has to say, as far as this process knows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::lock::Left;

/// By bucket: when nothing of a write can arrive any more that may have undone what others wrote.
#[derive(Default)]
pub(super) struct Doubts(Mutex<HashMap<String, Instant>>);

impl Doubts {
    /// Until when a bucket is in doubt, and then has to be written for all tenants; `None` where it is not.
    pub(super) fn of(&self, bucket: &str) -> Option<Instant> {
        self.known().get(bucket).copied()
    }

    /// Something is about to be written that may arrive until then.
    pub(super) fn begin(&self, bucket: &str, until: Instant) {
        self.known().insert(bucket.to_owned(), until);
    }

    /// A turn is over that left the policy so, and `was_alone` to the end. What `others` wrote before it may arrive until then.
    pub(super) fn end(&self, bucket: &str, left: Left, was_alone: bool, others: Option<Instant>) {
        let mut known = self.known();
        let ours = known.remove(bucket);
        if left == Left::Whole && was_alone {
            return;
        }
        // All that was sent has arrived, where nothing else is known.
        let ours = ours.map(|until| if left == Left::Open { until } else { Instant::now() });
        if let Some(until) = ours.max(others) {
            known.insert(bucket.to_owned(), until);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // A panic while it was held leaves a map that is still a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
