//! Work that takes long, apart from the threads that serve.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::domain::error::Error;

/// Where such work is done: as much at once as leaves half of the machine to those who ask.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl Apart {
    /// In the runtime that this is called in.
    pub(super) fn new() -> Self {
        let room = std::thread::available_parallelism().map_or(1, |threads| (threads.get() / 2).max(1));
        Self { runtime: Handle::current(), room: Arc::new(Semaphore::new(room)) }
    }

    /// Waits for room, then for the work. Whoever asks may be gone before it is done: what is begun keeps its room to the end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(Error::bug)?;
        let working = self.runtime.spawn_blocking(move || {
            let made = work();
            drop(room);
            made
        });
        working.await.map_err(Error::bug)
    }
}
