//! Takes connections in and deals them out to the serving threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    admission::{ConnectionPlace, Connections, Full},
    metrics::Metrics,
};

/// Time to wait when the kernel has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An accepted connection with its place.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: std::net::TcpStream,
    pub(super) place: ConnectionPlace,
    /// Which listener took it in.
    pub(super) site: usize,
}

/// One serving thread as an acceptor sees it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) send: mpsc::UnboundedSender<Arrival>,
    /// Connections that the thread has.
    pub(super) open: Arc<AtomicUsize>,
}

/// The accept task of one listener.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) site: usize,
    pub(super) desks: Arc<[Desk]>,
    pub(super) connections: Arc<Connections>,
    pub(super) metrics: Metrics,
    /// The listener closes then.
    pub(super) until: CancellationToken,
}

impl Acceptor {
    /// Deals out connections until it is told to end; then the listener closes.
    pub(super) async fn run(self, listener: tokio::net::TcpListener) {
        let mut turn = 0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.until.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => match self.connections.take(peer.ip()) {
                    Ok(place) => self.deal(stream, place, &mut turn),
                    // Closing at once costs less than any answer, and a client's backoff does the rest.
                    Err(full) => self.refused(full),
                },
                Err(cause) => {
                    warn!(%cause, "A connection could not be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn refused(&self, full: Full) {
        let reason = match full {
            Full::Server => "server_full",
            Full::Peer => "peer_full",
        };
        self.metrics.connections_refused.with_label_values(&[reason]).inc();
    }

    /// To the thread with the fewest connections; among equals in turn.
    fn deal(&self, stream: TcpStream, place: ConnectionPlace, turn: &mut usize) {
        let count = self.desks.len();
        let least = (0..count)
            .map(|offset| (*turn + offset) % count)
            .min_by_key(|&index| self.desks[index].open.load(Ordering::Relaxed));
        *turn = turn.wrapping_add(1);
        // A stream belongs to the runtime that made it, so it changes over as a plain socket.
        if let (Some(index), Ok(stream)) = (least, stream.into_std()) {
            let desk = &self.desks[index];
            desk.open.fetch_add(1, Ordering::Relaxed);
            if desk.send.send(Arrival { stream, place, site: self.site }).is_err() {
                // The thread has ended.
                desk.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
