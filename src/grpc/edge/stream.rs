//! The socket as hyper sees it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket whose first bytes were read already, to see which protocol the peer speaks; they are replayed.
///
/// It leaves `is_write_vectored` at false on purpose: h2 flushes after every DATA frame of 256 bytes or more when the
/// stream takes vectored writes, of 1,024 or more when not. The difference is a system call per middle-sized answer.
#[derive(Debug)]
pub(super) struct Replayed<const N: usize> {
    head: [u8; N],
    position: usize,
    stream: TcpStream,
}

impl<const N: usize> Replayed<N> {
    pub(super) fn new(head: [u8; N], stream: TcpStream) -> Self {
        Self { head, position: 0, stream }
    }
}

impl<const N: usize> AsyncRead for Replayed<N> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.position < N {
            let count = buffer.remaining().min(N - self.position);
            buffer.put_slice(&self.head[self.position..self.position + count]);
            self.position += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<const N: usize> AsyncWrite for Replayed<N> {
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
