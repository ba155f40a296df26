//! The socket as hyper sees it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket whose first bytes were read already, to see which protocol the peer speaks; they are replayed.
///
/// It leaves `is_write_vectored` at false on purpose: h2 flushes after every DATA frame of 256 bytes or more when the
/// stream takes vectored writes, of 1,024 or more when not. The difference is a system call per middle-sized answer.
#[derive(Debug)]
pub(super) struct Replayed {
    head: [u8; HEAD_BYTES],
    position: usize,
    filled: usize,
    stream: TcpStream,
}

/// As many bytes as HTTP/2 begins with.
pub(super) const HEAD_BYTES: usize = 24;

impl Replayed {
    /// The first `filled` bytes of `head` were read from the stream.
    pub(super) fn new(head: [u8; HEAD_BYTES], filled: usize, stream: TcpStream) -> Self {
        Self { head, position: 0, filled: filled.min(HEAD_BYTES), stream }
    }

    /// Lets the kernel cut the connection when the peer has taken nothing for so long: gone, or not reading.
    pub(super) fn give_up_after(&self, unacknowledged: Duration) {
        let socket = SockRef::from(&self.stream);
        let keepalive = TcpKeepalive::new().with_time(unacknowledged);
        // Without them a dead peer is found out later, by the kernel's own patience.
        let _ = socket.set_tcp_keepalive(&keepalive);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_user_timeout(Some(unacknowledged));
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.position < self.filled {
            let count = buffer.remaining().min(self.filled - self.position);
            buffer.put_slice(&self.head[self.position..self.position + count]);
            self.position += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
