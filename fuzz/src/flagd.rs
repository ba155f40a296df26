//! The reader of flagd's files; what makes flags of ours of them needs more than a target does.

#[path = "../../src/domain/flagd/file.rs"]
mod file;
#[path = "../../src/domain/flagd/json_text.rs"]
mod json_text;

pub use self::file::{Entry, File};
