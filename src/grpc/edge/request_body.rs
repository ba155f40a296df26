//! Checks the gRPC framing of a request without compression while it streams through, so that every fault in it gets our words.
//!
//! tonic checks the same things, but answers with its own text and codes, and ignores a second message where one is
//! asked for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::{
    items,
    protocol::Terms,
    received::Received,
    status::{
        BAD_FRAME, CALL_CANCELLED, COMPRESSED_WITHOUT_ENCODING, MESSAGE_TOO_LARGE, NO_MESSAGE, Refusal,
        SEVERAL_MESSAGES, TRUNCATED_REQUEST, too_many_items,
    },
};

const HEADER_BYTES: usize = 5;

/// What a request's framing must satisfy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) terms: Terms,
    /// What the messages are, so that they can be weighed; `None` where nobody will decode them.
    pub(super) input: Option<MessageDescriptor>,
}

/// What is wrong with a request's bytes.
#[derive(Debug, PartialEq)]
enum Fault {
    Refused(Refusal),
    TooMany(items::TooMany),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Fault {
    fn status(self) -> Status {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::TooMany(too_many) => too_many_items(&too_many),
        }
    }
}

/// Follows message boundaries through chunks of any size.
#[derive(Debug)]
struct Framing {
    rule: Rule,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    message_left: usize,
    messages: usize,
    /// A message that may become too much, as far as it is here.
    suspicious: Option<Vec<u8>>,
}

impl Framing {
    fn new(rule: Rule) -> Self {
        Self {
            rule,
            header: [0; HEADER_BYTES],
            header_filled: 0,
            message_left: 0,
            messages: 0,
            suspicious: None,
        }
    }

    fn advance(&mut self, mut chunk: &[u8]) -> Result<(), Fault> {
        while !chunk.is_empty() {
            if self.message_left > 0 {
                let (message, rest) = chunk.split_at(self.message_left.min(chunk.len()));
                self.message_left -= message.len();
                chunk = rest;
                self.weigh(message)?;
                continue;
            }
            if self.rule.terms.single && self.messages == 1 {
                return Err(SEVERAL_MESSAGES.into());
            }
            let taken = (HEADER_BYTES - self.header_filled).min(chunk.len());
            self.header[self.header_filled..self.header_filled + taken].copy_from_slice(&chunk[..taken]);
            self.header_filled += taken;
            chunk = &chunk[taken..];
            if self.header_filled == HEADER_BYTES {
                self.begin_message()?;
            }
        }
        Ok(())
    }

    /// Gathers a message of which more is here, and weighs it when it is complete: whoever decodes it has not seen
    /// its end by then.
    fn weigh(&mut self, more: &[u8]) -> Result<(), Fault> {
        let Some(message) = &mut self.suspicious else { return Ok(()) };
        message.extend_from_slice(more);
        if self.message_left > 0 {
            return Ok(());
        }
        let counted = self
            .rule
            .input
            .as_ref()
            .map_or(Ok(()), |input| items::check(input, message, self.rule.terms.bounds));
        self.suspicious = None;
        counted.map_err(Fault::TooMany)
    }

    fn begin_message(&mut self) -> Result<(), Refusal> {
        let [flag, length @ ..] = self.header;
        match flag {
            0 => {}
            1 => return Err(COMPRESSED_WITHOUT_ENCODING),
            _ => return Err(BAD_FRAME),
        }
        self.message_left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if self.message_left > self.rule.terms.message_bytes_max {
            return Err(MESSAGE_TOO_LARGE);
        }
        if self.message_left > items::SUSPICIOUS_BYTES && self.rule.input.is_some() {
            self.suspicious = Some(Vec::new());
        }
        self.header_filled = 0;
        self.messages += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.header_filled > 0 || self.message_left > 0 {
            return Err(TRUNCATED_REQUEST);
        }
        if self.rule.terms.single && self.messages == 0 {
            return Err(NO_MESSAGE);
        }
        Ok(())
    }
}

/// A request's body under a [`Rule`]; a fault is a status of ours, which tonic hands on as it is.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Received,
    framing: Framing,
    has_ended: bool,
}

impl RequestBody {
    pub(super) fn new(inner: Received, rule: Rule) -> Self {
        Self { inner, framing: Framing::new(rule), has_ended: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    // `is_end_stream` stays false: whoever trusts it would skip the check at the end.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let Some(polled) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            self.has_ended = true;
            return Poll::Ready(self.framing.end().err().map(|refusal| Err(refusal.status())));
        };
        let checked = match polled {
            Ok(frame) => match frame.data_ref().map(|data| self.framing.advance(data)) {
                Some(Err(fault)) => Err(fault),
                Some(Ok(())) | None => Ok(frame),
            },
            // The stream broke, so nobody reads the answer.
            Err(_broken) => Err(CALL_CANCELLED.into()),
        };
        self.has_ended = checked.is_err();
        Poll::Ready(Some(checked.map_err(Fault::status)))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: items::Bounds = items::Bounds { list_max: 10_000, bytes_max: 32 << 20 };
    const UNARY: Rule =
        Rule { terms: Terms { single: true, message_bytes_max: 10, bounds: BOUNDS }, input: None };

    fn judge(rule: Rule, body: &[u8], chunk_bytes: usize) -> Result<(), Fault> {
        let mut framing = Framing::new(rule);
        for chunk in body.chunks(chunk_bytes) {
            framing.advance(chunk)?;
        }
        Ok(framing.end()?)
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_the_body_is_cut() {
        let cases: &[(&[u8], Result<(), Refusal>)] = &[
            (b"\0\0\0\0\x03abc", Ok(())),
            (b"\0\0\0\0\0", Ok(())),
            (b"", Err(NO_MESSAGE)),
            (b"\0\0\0\0\x03ab", Err(TRUNCATED_REQUEST)),
            (b"\0\0\0", Err(TRUNCATED_REQUEST)),
            (b"\0\0\0\0\x01a\0\0\0\0\x01b", Err(SEVERAL_MESSAGES)),
            (b"\0\0\0\0\x0babcdefghijk", Err(MESSAGE_TOO_LARGE)),
            (b"\x01\0\0\0\x01a", Err(COMPRESSED_WITHOUT_ENCODING)),
            (b"\x02\0\0\0\x01a", Err(BAD_FRAME)),
        ];
        for (body, verdict) in cases {
            for chunk_bytes in 1..=12 {
                let wanted = verdict.map_err(Fault::Refused);
                assert_eq!(judge(UNARY, body, chunk_bytes), wanted, "{body:?} by {chunk_bytes}");
            }
        }
    }

    #[test]
    fn items_are_weighed_when_the_last_byte_is_here_however_the_body_is_cut() {
        let pool = prost_reflect::DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
        let input = pool.get_message_by_name("tenantry.v1.BatchCreateTenantsRequest");
        let rule = Rule { terms: Terms { message_bytes_max: 1 << 20, ..UNARY.terms }, input };
        let body = |items: usize| {
            [
                &b"\0\0"[..],
                &(u32::try_from(items).unwrap() * 2).to_be_bytes()[1..],
                &b"\x0a\x00".repeat(items),
            ]
            .concat()
        };
        let too_many =
            || Err(Fault::TooMany(items::TooMany { field: "requests".to_owned(), bounds: BOUNDS }));
        for chunk_bytes in [1, 7, 1_024, 1 << 20] {
            assert_eq!(judge(rule.clone(), &body(BOUNDS.list_max), chunk_bytes), Ok(()));
            assert_eq!(judge(rule.clone(), &body(BOUNDS.list_max + 1), chunk_bytes), too_many());
        }
    }

    #[test]
    fn a_streaming_request_may_have_any_number_of_messages() {
        let rule = Rule { terms: Terms { single: false, ..UNARY.terms }, ..UNARY };
        assert_eq!(judge(rule.clone(), b"", 4), Ok(()));
        assert_eq!(judge(rule, b"\0\0\0\0\x01a\0\0\0\0\x01b", 4), Ok(()));
    }
}
