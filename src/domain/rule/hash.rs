//! How `fractional` turns a bucketing value into a bucket.

use serde::{Deserialize, Serialize};

/// Which of flagd's algorithms `fractional` uses. It is kept with the flag, since a change moves tenants to other
/// buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HashVersion {
    /// flagd until 2025: a percentage by floating point.
    V1,
    /// flagd from 0.14 on: `(murmur3 × Σ weights) >> 32`.
    #[default]
    V2,
    /// The bucketing value may be of any type; it is hashed as deterministic CBOR.
    V3,
}
