//! Feature flags: what decides is, in this order, whether the flag is in use, a kill switch, its expiry, its schedule,
//! what it needs, what it excludes, the tenant's override, targeting rules, the tier's default, the global default.
//! An unknown flag is false.

mod answers;
mod ask;
mod basis;
mod choice;
mod compile;
mod compiled;
pub mod dependencies;
mod edition;
mod emergency;
pub mod ending;
mod evaluate;
mod explain;
mod extension;
mod file;
mod flag_set;
mod fold;
pub mod impact;
mod moments;
pub mod removal;
mod segment;
mod settings;
mod size;
pub mod stale;
mod targeting;
pub mod validate;
mod value;
mod walk;
mod words;

#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod targeting_tests;

pub use self::answers::Answers;
pub use self::basis::Basis;
pub use self::choice::{BUCKET_BY, Choice, Split, TenantOverride, TierDefault};
pub use self::compile::{CompiledFlags, OVERRIDES_WARN, PATTERNS_BYTES_MAX};
pub use self::edition::Edition;
pub use self::evaluate::{Evaluation, Query, TenantFacts, TooMuch};
pub use self::explain::LayerExplanation;
pub use self::extension::Extension;
pub use self::file::FlagFile;
pub use self::flag_set::{InProcess, Resolved};
pub use self::segment::{NewSegment, Segment, SegmentField};
pub use self::settings::{
    Flag, FlagField, FlagState, Kind, Origin, Prerequisite, Settings, Variants, Window,
};
pub use self::size::CLIENT_BYTES_MAX;
pub use self::targeting::{Body, TargetingRule};
pub use self::validate::validate;
pub use self::value::{FlagType, Value};
pub use self::words::{ErrorCode, Layer, Reason};
