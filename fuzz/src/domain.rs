//! As in the service, so that paths within stay the same.

/// The reader of files; what makes flags of ours of them needs more than a target does.
pub mod flagd {
    #[path = "../../../../src/domain/flagd/file.rs"]
    mod file;
    #[path = "../../../../src/domain/flagd/json_text.rs"]
    mod json_text;

    pub use self::file::{Entry, File};
}
#[path = "../../src/domain/ids.rs"]
pub mod ids;
#[path = "../../src/domain/rule/mod.rs"]
pub mod rule;
#[path = "../../src/domain/shared_text.rs"]
pub mod shared_text;
#[path = "../../src/domain/text.rs"]
pub mod text;
#[path = "../../src/domain/violation.rs"]
pub mod violation;
