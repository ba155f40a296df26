//! Work that takes long to think through, apart from the threads that serve.
//!
//! A rule can have a thousand parts and an application ten thousand flags; compiling and judging them takes as long as it
//! takes, and cannot be interrupted. On a thread that serves, all its other connections would wait, the probes among them.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::domain::error::Error;

/// How much is worked on at once: so many small messages, or one large one, so that what they become in memory stays bounded.
const ROOM: u32 = 8;
/// How many bytes of a message take one part of the room.
const PART_BYTES: usize = 32 << 10;

/// Where such work is done.
pub(super) struct Apart {
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl Apart {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, room: Arc::new(Semaphore::new(ROOM as usize)) }
    }

    /// Waits for room, then for the work that a message of `size` bytes asks for. Whoever asks may be gone before it is done: what is begun
    /// is brought to its end, and keeps its room until then.
    pub(super) fn run<T: Send + 'static>(
        &self,
        size: usize,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send {
        let work = Box::pin(work.in_current_span());
        async move {
            let parts = u32::try_from(1 + size / PART_BYTES).unwrap_or(ROOM).min(ROOM);
            let room = Arc::clone(&self.room).acquire_many_owned(parts).await.map_err(Error::bug)?;
            let runtime = self.runtime.clone();
            let done = self.runtime.spawn_blocking(move || {
                let done = runtime.block_on(work);
                drop(room);
                done
            });
            done.await.map_err(Error::bug)?
        }
    }
}
