//! What large messages were written as, for streams that send the very same ones.
//!
//! Thousands of streams may be told of one change of thousands of flags, as one message that lies in memory once. As JSON, or
//! compressed, it takes milliseconds to write: the first stream does it for all.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost_reflect::MessageDescriptor;

use super::Wire;

/// Bytes of messages that are kept: smaller ones are written as fast as they are found.
const SIZES: RangeInclusive<usize> = 16 << 10..=1 << 20;
/// How many are kept, the newest.
const KEPT_MAX: usize = 8;

/// How a message is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) wire: Wire,
    pub(super) output: Option<MessageDescriptor>,
    pub(super) gzip: bool,
}

#[derive(Debug)]
struct Entry {
    /// As long as it is held, no other bytes are at its place.
    source: Bytes,
    form: Form,
    written: Bytes,
}

/// The newest large messages of streams.
#[derive(Debug, Default)]
pub(in super::super) struct Written(Mutex<VecDeque<Entry>>);

impl Written {
    /// What these bytes, at this place, were written as.
    pub(super) fn find(&self, source: &Bytes, form: &Form) -> Option<Bytes> {
        if !SIZES.contains(&source.len()) {
            return None;
        }
        let is_it = |entry: &&Entry| {
            (entry.source.as_ptr(), entry.source.len()) == (source.as_ptr(), source.len())
                && entry.form == *form
        };
        self.entries().iter().find(is_it).map(|entry| entry.written.clone())
    }

    /// Keeps it for others.
    pub(super) fn keep(&self, source: &Bytes, form: Form, written: &Bytes) {
        if SIZES.contains(&source.len()) {
            let mut entries = self.entries();
            entries.push_front(Entry { source: source.clone(), form, written: written.clone() });
            entries.truncate(KEPT_MAX);
        }
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_where_it_lies_and_how_it_is_written() {
        let kept = Written::default();
        let large = || Bytes::from(vec![7; 16 << 10]);
        let form = |gzip| Form { wire: Wire::GRPC, output: None, gzip };
        let (source, other, small) = (large(), large(), Bytes::from_static(b"small"));
        let written = Bytes::from_static(b"written");
        for source in [&source, &small] {
            kept.keep(source, form(true), &written);
        }
        assert_eq!(kept.find(&source.clone(), &form(true)), Some(written.clone()));
        assert_eq!(kept.find(&source, &form(false)), None);
        assert_eq!(kept.find(&other, &form(true)), None);
        assert_eq!(kept.find(&small, &form(true)), None);
        for _ in 0..KEPT_MAX {
            kept.keep(&large(), form(true), &written);
        }
        assert_eq!((kept.find(&source, &form(true)), kept.entries().len()), (None, KEPT_MAX));
    }
}
