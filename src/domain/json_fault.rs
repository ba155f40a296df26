//! Why a text is not read as JSON, in our own words.

use serde_json::Error;

/// How deep lists and objects may lie in each other, the outermost counted.
const DEPTH_MAX: usize = 127;

/// Why a text was not read: a part of a sentence with the line and the column, from 1, such as `it cannot be read at line 1,
/// column 2`.
pub fn cause(error: &Error) -> String {
    let why = if is_too_deep(error) {
        format!("it nests more than {DEPTH_MAX} deep")
    } else if error.to_string().starts_with("number out of range") {
        "a number is too large".to_owned()
    } else {
        "it cannot be read".to_owned()
    };
    format!("{why} at line {}, column {}", error.line(), error.column())
}

/// Whether lists and objects lie deeper in each other than is read. What the library calls it is the only way to tell.
pub fn is_too_deep(error: &Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(), String> {
        serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| cause(&error))
    }

    #[test]
    fn a_text_that_nests_too_deep_and_a_number_that_is_too_large_are_told_from_what_is_no_json() {
        let nested = |depth: usize| read(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert_eq!(nested(DEPTH_MAX), Ok(()));
        assert_eq!(nested(DEPTH_MAX + 1).unwrap_err(), "it nests more than 127 deep at line 1, column 128");
        assert_eq!(read("[1e999]").unwrap_err(), "a number is too large at line 1, column 6");
        assert_eq!(read("fro").unwrap_err(), "it cannot be read at line 1, column 2");
    }
}
