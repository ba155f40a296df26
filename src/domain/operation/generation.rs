//! How far the numbers of desired states go: which of a target are believed, and that ours never run over.

/// The highest generation that a target is believed to hold, beyond what it was asked for. A tenant that moves every
/// millisecond comes to it in 140 000 years, so a higher one is a mistake of the target.
pub(super) const BELIEVED_MAX: u64 = 1 << 52;
/// The highest generation of our own: the last whole number that every reader of JSON holds exactly. Whatever was believed,
/// as many changes again are left.
pub const GENERATION_MAX: u64 = (1 << 53) - 1;
/// How far an operation goes beyond what a target holds without asking anybody. A registry that was restored is behind by
/// the changes of one tenant since the backup, and those are never so many.
pub(super) const OUTBID_MAX: u64 = 1_000_000;

/// Whether a target that was asked for a generation can hold another one.
pub const fn is_believable(held: u64, asked: u64) -> bool {
    held <= asked || held <= BELIEVED_MAX
}

/// Whether a target that holds a newer generation than is asked for can have it from an honest change: one since a backup, or one
/// that has overtaken a late call. Whatever is further ahead waits for an operator.
pub const fn is_explained(held: u64, asked: u64) -> bool {
    held.saturating_sub(asked) <= OUTBID_MAX
}

/// The generation after another. The last one stays: nobody begins anything under it.
pub const fn after(generation: u64) -> u64 {
    if generation < GENERATION_MAX { generation + 1 } else { generation }
}
