//! Watching an operation until it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::error::Error;
use crate::domain::ids::OperationId;
use crate::domain::operation::{Operation, State};
use crate::services::{Registry, now};
use crate::view::View;

impl Registry {
    /// Tells an operation as it is now, then at every change of it, of what holds up its targets, or of what it waits for
    /// once its time has come, until it ended. Level triggered: changes that follow each other closely may be told as one.
    pub async fn watch_operation(
        &self,
        operation_id: OperationId,
    ) -> Result<mpsc::Receiver<Result<Arc<Operation>, Error>>, Error> {
        let mut revisions = self.view.revisions();
        revisions.borrow_and_update();
        let snapshot = self.view.snapshot()?;
        let history = snapshot.history;
        let mut operation = self.operation(&snapshot, operation_id).await?;
        // For the line of the call's end: what it asked for names no tenant.
        tracing::Span::current().record("tenant_id", operation.tenant_id.as_str());
        let registry = self.clone();
        let view = Arc::clone(&self.view);
        let (told, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let patience = view.slow_reader_after();
            let mut seen = None;
            loop {
                let waits = view.snapshot().map(|snapshot| {
                    (registry.holds(&snapshot, &operation), registry.waits_for(&snapshot, &operation))
                });
                let now = Some((operation.revision, waits.unwrap_or_default()));
                if now != seen {
                    seen = now;
                    let ended = operation.finish_time.is_some();
                    if told.send_timeout(Ok(Arc::clone(&operation)), patience).await.is_err() {
                        let _ = told.send_timeout(Err(view.slow_reader()), patience).await;
                        return;
                    }
                    if ended {
                        return;
                    }
                }
                tokio::select! {
                    changed = revisions.changed() => if changed.is_err() { return },
                    () = until_due(&operation) => {}
                    () = told.closed() => return,
                }
                let Ok(now) = view.snapshot() else { continue };
                if now.history != history {
                    let _ = told.send_timeout(Err(View::replaced()), patience).await;
                    return;
                }
                if let Some(newer) = now.operations.get(&operation_id) {
                    operation = Arc::clone(newer);
                }
            }
        });
        Ok(receiver)
    }
}

/// Waits until the time of a scheduled operation comes: then it waits for something, and no change says so. For ever where
/// it has come already.
async fn until_due(operation: &Operation) {
    let left = operation.schedule_time.filter(|_| operation.state == State::Scheduled);
    let left = left.and_then(|time| Duration::try_from(time.duration_since(now())).ok());
    match left.filter(|left| !left.is_zero()) {
        // Not a moment before: it is due strictly after its time.
        Some(left) => tokio::time::sleep(left + Duration::from_millis(2)).await,
        None => std::future::pending().await,
    }
}
