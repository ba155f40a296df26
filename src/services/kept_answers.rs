//! Answers about many flags, kept as the bytes that went out.
//!
//! A platform asks for the flags of a tenant, all or the same few, with every page it shows, with few contexts that come
//! again and again. An
//! answer goes out once more to the very same question, as long as the flags and the tenant are what they were and the
//! clock changes nothing. Nothing has to be invalidated: what an answer was made of is kept with it and compared.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::flag::{CompiledFlags, Edition};
use crate::domain::ids::FlagKey;
use crate::domain::tier::Tier;
use crate::view::Record;

/// Answers that are kept at most, a place each.
const PLACES: usize = 1 << 12;
/// Bytes of answers and their questions that are kept at most.
const BYTES_MAX: usize = 64 << 20;
/// Largest answer with its question that is kept.
const ANSWER_MAX: usize = BYTES_MAX / 32;
/// Longest question that is kept, in bytes. Contexts of this size are one user's and do not come again.
const QUESTION_MAX: usize = 4 << 10;

/// One question about many flags.
pub struct Question<'a> {
    /// Who answers it: the same question gets other bytes in another protocol.
    pub protocol: &'static str,
    /// All that was asked, as it came.
    pub bytes: &'a [u8],
    /// The tenant, as it is now.
    pub record: Option<&'a Arc<Record>>,
    /// Its tier, as it is now.
    pub tier: Option<&'a Arc<Tier>>,
    /// The flags, as they are now.
    pub flags: &'a CompiledFlags,
    /// When.
    pub now: Timestamp,
}

/// An answer as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its bytes.
    pub bytes: Bytes,
    /// The flags that were asked for by name and are there, as often as they were named; none where all were asked for.
    pub named: Option<Arc<[FlagKey]>>,
}

impl Answer {
    /// About all flags.
    pub const fn of_all(bytes: Bytes) -> Self {
        Self { bytes, named: None }
    }
}

/// An answer, and all that it was made of.
struct Kept {
    protocol: &'static str,
    question: Bytes,
    record: Option<Arc<Record>>,
    tier: Option<Arc<Tier>>,
    edition: Edition,
    from: Timestamp,
    until: Option<Timestamp>,
    answer: Answer,
}

impl Kept {
    fn answers(&self, question: &Question<'_>) -> bool {
        self.protocol == question.protocol
            && self.question == question.bytes
            && self.edition == *question.flags.edition()
            && self.from <= question.now
            && self.until.is_none_or(|end| question.now < end)
            && is_same(self.record.as_ref(), question.record)
            && is_alike(self.tier.as_ref(), question.tier)
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.question, &self.answer)
    }
}

/// What it takes to keep an answer with its question; of a flag's name only the pointer, as the flags have the name.
fn bytes_of(question: &[u8], answer: &Answer) -> usize {
    let named = answer.named.as_ref().map_or(0, |named| size_of_val(&**named));
    question.len() + answer.bytes.len() + named
}

/// Whether rules see the same tenant; its health, which changes by the minute, they do not see.
fn is_same(kept: Option<&Arc<Record>>, now: Option<&Arc<Record>>) -> bool {
    match (kept, now) {
        (Some(kept), Some(now)) => Arc::ptr_eq(kept, now) || kept.tenant == now.tenant,
        (None, None) => true,
        _ => false,
    }
}

/// Whether rules see the same of a tenant's tier: that is what the tenant has from it.
fn is_alike(kept: Option<&Arc<Tier>>, now: Option<&Arc<Tier>>) -> bool {
    match (kept, now) {
        (Some(kept), Some(now)) => Arc::ptr_eq(kept, now) || kept.support_level == now.support_level,
        (None, None) => true,
        _ => false,
    }
}

struct Place {
    kept: ArcSwapOption<Kept>,
    /// The hash of the question that was last asked here in vain.
    missed: AtomicU64,
}

struct Inner {
    places: Box<[Place]>,
    hasher: RandomState,
    bytes: AtomicUsize,
    /// Where room is made next.
    hand: AtomicUsize,
}

/// Answers that are kept. Cheap to clone.
#[derive(Clone)]
pub struct KeptAnswers(Arc<Inner>);

impl std::fmt::Debug for KeptAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptAnswers").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Default for KeptAnswers {
    fn default() -> Self {
        let place = || Place { kept: ArcSwapOption::empty(), missed: AtomicU64::new(0) };
        Self(Arc::new(Inner {
            places: (0..PLACES).map(|_| place()).collect(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }))
    }
}

impl KeptAnswers {
    /// The answer that was kept for this question.
    pub fn find(&self, question: &Question<'_>) -> Option<Answer> {
        let (place, _) = self.place(question)?;
        let kept = place.kept.load();
        kept.as_ref().filter(|kept| kept.answers(question)).map(|kept| kept.answer.clone())
    }

    /// Takes the answer that was made now. It is kept where the same question was the last one that had to be answered
    /// in its place: what is asked only once would push out what comes again.
    pub fn offer(&self, question: &Question<'_>, answer: &Answer) {
        let Some((place, hash)) = self.place(question) else { return };
        let is_repeated = place.missed.swap(hash, Ordering::Relaxed) == hash;
        if is_repeated && bytes_of(question.bytes, answer) <= ANSWER_MAX {
            self.keep(place, question, answer.clone());
        }
    }

    /// A question's place and its hash, unless it is too long to be kept.
    fn place(&self, question: &Question<'_>) -> Option<(&Place, u64)> {
        if question.bytes.len() > QUESTION_MAX {
            return None;
        }
        let hash = self.0.hasher.hash_one((question.protocol, question.bytes));
        // The lower bits of a hash are as good as any.
        #[allow(clippy::cast_possible_truncation)]
        let index = hash as usize & (PLACES - 1);
        Some((&self.0.places[index], hash))
    }

    fn keep(&self, place: &Place, question: &Question<'_>, answer: Answer) {
        let kept = Kept {
            protocol: question.protocol,
            question: Bytes::copy_from_slice(question.bytes),
            record: question.record.cloned(),
            tier: question.tier.cloned(),
            edition: question.flags.edition().clone(),
            from: question.now,
            until: question.flags.steady_until(question.now),
            answer,
        };
        self.0.bytes.fetch_add(kept.bytes(), Ordering::Relaxed);
        self.free(place.kept.swap(Some(Arc::new(kept))));
        // Once around is enough: then nothing is left but what others keep meanwhile.
        for _ in 0..PLACES {
            if self.bytes() <= BYTES_MAX {
                break;
            }
            let next = self.0.hand.fetch_add(1, Ordering::Relaxed) & (PLACES - 1);
            self.free(self.0.places[next].kept.swap(None));
        }
    }

    fn free(&self, kept: Option<Arc<Kept>>) {
        if let Some(kept) = kept {
            self.0.bytes.fetch_sub(kept.bytes(), Ordering::Relaxed);
        }
    }

    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "kept_answers_tests.rs"]
mod tests;
