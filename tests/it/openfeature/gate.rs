//! A door in front of a port that can be shut: nobody listens, and who was inside is thrown out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The door.
pub(crate) struct Gate {
    address: SocketAddr,
    behind: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Gate {
    /// A door that is open.
    pub(crate) async fn before(behind: SocketAddr) -> Self {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        Self { address, behind, open: Some(tokio::spawn(pass(listener, behind))) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads elsewhere, once it is opened again.
    pub(crate) fn lead_to(&mut self, behind: SocketAddr) {
        self.behind = behind;
    }

    /// Shuts it.
    pub(crate) fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }

    /// Opens it again, at the same port, as soon as that is free: what was aborted may still hold it.
    pub(crate) fn open(&mut self) {
        let (address, behind) = (self.address, self.behind);
        self.open = Some(tokio::spawn(async move {
            for _ in 0..500 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                if let Ok(listener) = socket.bind(address).and_then(|()| socket.listen(64)) {
                    return pass(listener, behind).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{address} is somebody else's");
        }));
    }
}

/// At a port that no connection is given as its own end (those are from 32768 on): while the door is shut nobody else is to take it.
async fn listener() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = u16::try_from(std::process::id() % 5_000).unwrap();
    for _ in 0..1_000 {
        let port = 27_000 + (from + NEXT.fetch_add(1, Ordering::Relaxed)) % 5_000;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return listener;
        }
    }
    panic!("no port is free");
}

async fn pass(listener: TcpListener, behind: SocketAddr) {
    // Dropped with this task, and every connection with it.
    let mut inside = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        inside.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(behind).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
