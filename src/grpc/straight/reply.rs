//! The body of an answer that is one message and OK.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::Status;

/// Largest piece that h2 copies behind what it has to send already. A larger one it sends by itself, after what is before
/// it and before the status: three system calls for an answer instead of a share of one.
const PIECE_MAX: usize = 1_023;
/// Largest message that goes out in pieces: half of h2's buffer, so that another answer's fit in. Above, copying costs more
/// than the calls.
const PIECES_MAX: usize = 8 << 10;

/// A message with its prefix, then the status.
#[derive(Debug)]
pub(super) struct ReplyBody {
    message: Bytes,
    piece: usize,
    ended: bool,
}

impl ReplyBody {
    pub(super) fn new(message: Bytes) -> Self {
        let piece = if message.len() <= PIECES_MAX { PIECE_MAX } else { message.len() };
        Self { message, piece, ended: false }
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.message.is_empty() {
            let piece = self.piece.min(self.message.len());
            return Poll::Ready(Some(Ok(Frame::data(self.message.split_to(piece)))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_message_arrives_whole_however_it_is_cut() {
        for (length, pieces) in [(5, 1), (1_023, 1), (1_024, 2), (8 << 10, 9), ((8 << 10) + 1, 1)] {
            let message: Bytes = (0..length).map(|index: usize| index.to_le_bytes()[0]).collect();
            let mut body = ReplyBody::new(message.clone());
            let (mut seen, mut whole) = (0, Vec::new());
            while let Some(frame) = body.frame().await {
                match frame.unwrap().into_data() {
                    Ok(data) => {
                        seen += 1;
                        whole.extend_from_slice(&data);
                    }
                    Err(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
                }
            }
            assert_eq!((seen, whole.as_slice()), (pieces, &*message), "{length} bytes");
            assert!(body.is_end_stream());
        }
    }
}
