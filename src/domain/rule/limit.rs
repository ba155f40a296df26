//! How large a rule may be.

/// Deepest nesting of a source's arrays and objects, those of its segments counted. An operator with its list of
/// arguments is two levels; the deepest rule seen in the field has 14. Evaluation recurses this deep.
pub const DEPTH_MAX: usize = 64;
/// Most values in a source, those of its segments counted. A rule evaluates each at most once.
pub const NODES_MAX: usize = 10_000;
/// Most bytes in all texts of a source, those of its segments not counted: 10,000 tenant ids of the longest kind fit.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest pattern, in bytes.
pub const PATTERN_MAX: usize = 1_000;
/// Largest compiled pattern, in bytes: five times what one for mail addresses needs, and about a millisecond's work.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Most bytes of all compiled patterns of a source, those of its segments not counted.
pub const PATTERNS_BYTES_MAX: usize = 1 << 20;
/// Most bytes of all compiled patterns of segments that see each other.
pub const SEGMENTS_PATTERNS_BYTES_MAX: usize = 8 << 20;
/// Most segments.
pub const SEGMENTS_MAX: usize = 1_000;
