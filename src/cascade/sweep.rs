//! Keeping one's own leases, and taking over what others left.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Class;
use super::{Inner, drive};
use crate::domain::ids::OperationId;
use crate::store::{Error, background, clock, log, operations};

/// Operations taken over in one sweep: the rest is left to others, or to the next.
const CLAIM_MAX: i64 = 64;
/// How many sweeps pass between two looks for answers that are older than 24 h.
const FORGET_EVERY: u32 = 60;

/// What becomes of operations that could not be left to others.
const LEFT: &str = "what is under way is taken over once its lease has run out";
/// How long the database has to take it that a replica leaves.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// Sweeps until told to stop. A sweep that fails is logged and the next one tries again: recovery never ends with one
/// bad moment.
pub(super) async fn run(inner: Arc<Inner>) {
    let interval = (inner.settings.lease / 5).clamp(Duration::from_millis(50), Duration::from_secs(2));
    let mut sweeps: u32 = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval.mul_f64(0.9 + fastrand::f64() * 0.2)) => {}
            () = inner.sweep_now.notified() => {}
            () = inner.stop.cancelled() => return,
        }
        if let Err(error) = sweep(&inner).await {
            tracing::warn!(error = %error, "a sweep failed");
        }
        sweeps = sweeps.wrapping_add(1);
        if sweeps.is_multiple_of(FORGET_EVERY)
            && let Err(error) = forget(&inner).await
        {
            tracing::warn!(error = %error, "old requests could not be forgotten");
        }
    }
}

async fn sweep(inner: &Arc<Inner>) -> Result<(), Error> {
    let client = inner.database.pooled().await?;
    clock::follow(&**client).await?;
    let mine: Vec<OperationId> = inner.driven().keys().copied().collect();
    if !mine.is_empty() {
        let held = operations::leases_renew(&**client, inner.lease, &mine).await?;
        // What was not renewed has ended, or is another's now: its driver stops at the next look.
        inner
            .driven()
            .retain(|id, _| !mine.contains(id) || held.iter().any(|lease| lease.operation_id == *id));
    }
    for lease in operations::leases_claim(&**client, inner.lease, CLAIM_MAX).await? {
        let operation_id = lease.operation_id;
        // The view may not have come to an operation that is this new.
        let operation = inner.view.snapshot().ok().and_then(|now| now.operations.get(&operation_id).cloned());
        let tenant_id = operation.as_ref().map(|operation| operation.tenant_id.as_str());
        tracing::info!(%operation_id, tenant_id, epoch = lease.epoch, "took an operation over");
        drive::spawn(inner, lease.operation_id, lease.epoch, Class::First);
    }
    Ok(())
}

/// Leaves the leases that this replica holds, so that nobody has to wait until they run out. Only tried: where the database does not
/// answer, they do run out.
pub(super) async fn hand_over(inner: &Inner) {
    let release = async {
        let client = inner.database.pooled().await?;
        let left = operations::leases_release(&**client, inner.lease.owner).await?;
        background::work_release(&**client, inner.lease.owner).await?;
        Ok::<_, Error>(left)
    };
    match tokio::time::timeout(HAND_OVER_MAX, release).await {
        Ok(Ok(0)) => {}
        Ok(Ok(operations)) => tracing::info!(operations, "left what is under way to whoever takes it"),
        Ok(Err(error)) => tracing::warn!(error = %error, "{LEFT}"),
        Err(_) => tracing::warn!("the database does not answer: {LEFT}"),
    }
}

async fn forget(inner: &Inner) -> Result<(), Error> {
    let client = inner.database.pooled().await?;
    log::forget_requests(&**client).await?;
    operations::leases_forget(&**client).await?;
    Ok(())
}
