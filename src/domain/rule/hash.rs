//! How a bucketing value becomes a bucket.

use serde::{Deserialize, Serialize};

/// Which of flagd's algorithms shares go by, `fractional`'s and rollouts'. It is kept with the flag, since a change moves
/// tenants and users to other buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HashVersion {
    /// A percentage by floating point: flagd before 0.15 and providers of that time.
    V1,
    /// `(murmur3 × Σ weights) >> 32`: flagd 0.15 and 0.16 and their providers.
    #[default]
    V2,
    /// As V2, but the bucketing value may be of any type and is hashed as deterministic CBOR.
    V3,
}

impl HashVersion {
    /// Every version.
    pub const ALL: &'static [Self] = &[Self::V1, Self::V2, Self::V3];

    /// The name in the contract, for example `V2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
        }
    }

    /// Which share a hash falls into: the index of a weight above 0, none if there is none. The weights' sum must not
    /// exceed `i32::MAX`.
    pub(super) fn share(self, hash: u32, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
        let sum: u64 = weights.clone().map(u64::from).sum();
        let mut end = 0;
        let is_inside = |end: u64| match self {
            Self::V1 => percentage(hash) < 100.0 * to_float(end) / to_float(sum),
            Self::V2 | Self::V3 => (u64::from(hash) * sum) >> 32 < end,
        };
        let mut last = None;
        for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0) {
            end += u64::from(weight);
            last = Some(index);
            if is_inside(end) {
                return last;
            }
        }
        // Only V1 comes here, for the few hashes whose percentage is 100 or more.
        last
    }
}

/// V1's place of a hash in 0 to 100: the size of the hash, read with a sign, of the largest there is.
fn percentage(hash: u32) -> f64 {
    f64::from(hash.cast_signed()).abs() / f64::from(i32::MAX) * 100.0
}

/// Sums of weights fit 31 bits.
#[allow(clippy::cast_precision_loss)]
fn to_float(weight: u64) -> f64 {
    weight as f64
}

/// `MurmurHash3` for 32 bits with seed 0, of bytes that arrive in pieces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Murmur3 {
    state: u32,
    /// What does not fill a block yet, first byte lowest.
    tail: u32,
    length: u32,
}

impl Murmur3 {
    /// The hash of one piece.
    pub(super) fn of(bytes: &[u8]) -> u32 {
        Self::default().with(bytes).finish()
    }

    /// Takes a piece.
    #[must_use]
    pub(super) fn with(mut self, mut bytes: &[u8]) -> Self {
        while !self.length.is_multiple_of(4) {
            let Some((byte, rest)) = bytes.split_first() else { return self };
            self.push(*byte);
            bytes = rest;
        }
        let mut blocks = bytes.chunks_exact(4);
        for block in &mut blocks {
            self.block(block.try_into().map_or(0, u32::from_le_bytes));
            self.length = self.length.wrapping_add(4);
        }
        for byte in blocks.remainder() {
            self.push(*byte);
        }
        self
    }

    fn push(&mut self, byte: u8) {
        self.tail |= u32::from(byte) << (8 * (self.length % 4));
        self.length = self.length.wrapping_add(1);
        if self.length.is_multiple_of(4) {
            self.block(self.tail);
            self.tail = 0;
        }
    }

    const fn block(&mut self, block: u32) {
        self.state = (self.state ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }

    /// The hash of all pieces.
    pub(super) const fn finish(self) -> u32 {
        let mut hash = self.state ^ scramble(self.tail) ^ self.length;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

const fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn murmur3_gives_the_published_values() {
        for (text, hash) in [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("aa", 0x3710_91a9),
            ("abc", 0xb3dd_93fa),
            ("abcd", 0x43ed_676a),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ] {
            assert_eq!(Murmur3::of(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_lone_weight_always_wins_and_nobody_wins_without_one() {
        for version in HashVersion::ALL {
            for hash in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                assert_eq!(version.share(hash, [0, 7, 0].into_iter()), Some(1), "{version:?} {hash}");
                assert_eq!(version.share(hash, [0, 0].into_iter()), None);
            }
        }
    }

    #[test]
    fn shares_begin_and_end_where_flagd_has_them() {
        let halves = |hash| HashVersion::V2.share(hash, [50, 50].into_iter());
        assert_eq!([halves(0), halves(0x7fff_ffff)], [Some(0); 2]);
        assert_eq!([halves(0x8000_0000), halves(u32::MAX)], [Some(1); 2]);
    }

    proptest! {
        #[test]
        fn pieces_hash_as_the_whole(text in "\\PC{0,40}", cuts in (0_usize..40, 0_usize..40)) {
            let bytes = text.as_bytes();
            let (a, b) = (cuts.0.min(bytes.len()), cuts.1.min(bytes.len()));
            let (a, b) = (a.min(b), a.max(b));
            let pieces = Murmur3::default().with(&bytes[..a]).with(&bytes[a..b]).with(&bytes[b..]);
            prop_assert_eq!(pieces.finish(), Murmur3::of(bytes));
        }
    }
}
