//! flagd's flag files: read any that flagd takes, and write the same again.
//!
//! What stands in a file is kept as text, so that it is given back to the digit. Nothing is judged here but the shape. A
//! flag whose shape is wrong is said to be unreadable, so that it alone answers with an error; flagd would refuse the
//! whole file.

mod file;
mod json_text;
mod settings;

#[cfg(test)]
mod tests;

pub use self::file::{Entry, File, FileError, Flag, Head, Slot};
pub use self::json_text::pretty;
pub use self::settings::{definition, named_metadata, named_values, settings};
