//! Watching an operation until it ends.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::error::Error;
use crate::domain::ids::OperationId;
use crate::domain::operation::Operation;
use crate::services::Registry;

impl Registry {
    /// Tells an operation as it is now, then at every change of it or of what holds up its targets, until it ended.
    /// Level triggered: changes that follow each other closely may be told as one.
    pub async fn watch_operation(
        &self,
        operation_id: OperationId,
    ) -> Result<mpsc::Receiver<Result<Arc<Operation>, Error>>, Error> {
        let mut revisions = self.view.revisions();
        revisions.borrow_and_update();
        let snapshot = self.view.snapshot()?;
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
                let holds = view.snapshot().map(|snapshot| registry.holds(&snapshot, &operation));
                let now = Some((operation.revision, holds.unwrap_or_default()));
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
                    () = told.closed() => return,
                }
                if let Some(newer) =
                    view.snapshot().ok().and_then(|now| now.operations.get(&operation_id).cloned())
                {
                    operation = newer;
                }
            }
        });
        Ok(receiver)
    }
}
