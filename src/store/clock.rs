//! The time that all replicas go by, whatever the clocks of their machines show: the database's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::GenericClient;
use uuid::{ContextV7, Uuid};

use super::Error;
use super::background::database_time;

/// How far this machine's clock may be off before that counts, besides what an answer takes. A clock that is kept by NTP
/// is within milliseconds: the order of what one replica does is then its own, and no round trip moves it.
const OFF_MAX: SignedDuration = SignedDuration::from_millis(500);

/// How far this machine's clock is ahead of the database's, in microseconds; 0 as long as that is little. One for the process,
/// as the clock is.
static AHEAD: AtomicI64 = AtomicI64::new(0);
/// What keeps ids that are made within one millisecond in order.
static IDS: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// The time, in the precision that the database keeps: what is answered now and what is read later are equal.
pub fn now() -> Timestamp {
    let microseconds = Timestamp::now().as_microsecond().saturating_sub(AHEAD.load(Ordering::Relaxed));
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An id that sorts by the time at which it was made (`UUIDv7`).
pub fn new_id() -> Uuid {
    let now = now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(&IDS, seconds, nanoseconds))
}

/// How far this machine's clock is ahead of the database's, as it counts: zero where that is little.
pub fn ahead() -> SignedDuration {
    SignedDuration::from_micros(AHEAD.load(Ordering::Relaxed))
}

/// Asks the database for its time, and goes by it from here on where this machine's clock is off.
///
/// # Errors
/// Where the database does not answer: what was known before still counts.
pub async fn follow(client: &impl GenericClient) -> Result<(), Error> {
    let asked = Timestamp::now();
    let theirs = database_time(client).await?;
    let answered = Timestamp::now();
    if let Some(found) = off(asked, theirs, answered, ahead()) {
        AHEAD.store(i64::try_from(found.as_micros()).unwrap_or_default(), Ordering::Relaxed);
        let seconds = found.as_secs_f64();
        tracing::warn!(ahead_seconds = seconds, "this machine's clock is off: times are the database's");
    }
    Ok(())
}

/// How far our clock is ahead, if that is another than is `known`. What it showed when the database read its own is not
/// known better than between the question and the answer.
fn off(
    asked: Timestamp,
    theirs: Timestamp,
    answered: Timestamp,
    known: SignedDuration,
) -> Option<SignedDuration> {
    let took = answered.duration_since(asked).max(SignedDuration::ZERO);
    let found = asked.duration_since(theirs) + took / 2;
    let is_news = (found - known).unsigned_abs() > (OFF_MAX + took / 2).unsigned_abs();
    is_news.then_some(if found.unsigned_abs() > OFF_MAX.unsigned_abs() {
        found
    } else {
        SignedDuration::ZERO
    })
}

#[cfg(test)]
#[path = "clock/tests.rs"]
mod tests;
