//! Regular expressions, bounded in what they take.
//!
//! A pattern of a few letters can need megabytes and milliseconds when it is compiled (`\w{20}` says one of 20,000 letters
//! twenty times), so what is counted is what it comes to, not how it is written.

use regex_automata::meta::{BuildError, Builder, Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

use super::compile::{Compiled, fail};
use super::error::ErrorKind;
use super::limit::{PATTERN_BYTES_MAX, PATTERN_MAX};

/// Deepest nesting inside a pattern.
const NEST_MAX: u32 = 32;
/// Largest table that a search keeps of what it met, in bytes, for each thread.
const CACHE_BYTES_MAX: usize = 128 << 10;
/// At worst a search looks at all of a compiled pattern for each byte of the text, about 2 KiB of it in a step's time.
const BYTES_OF_STEP: usize = 2 << 10;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    /// What it takes in memory, in bytes.
    pub(super) bytes: usize,
}

impl Pattern {
    /// Compiles a pattern that may take so many bytes at most.
    pub(super) fn compile(pattern: &str, bytes_max: usize) -> Compiled<Self> {
        check_length(pattern)?;
        let config = Config::new()
            .nfa_size_limit(Some(bytes_max.min(PATTERN_BYTES_MAX)))
            .hybrid_cache_capacity(CACHE_BYTES_MAX)
            // Nobody asks for groups.
            .which_captures(WhichCaptures::Implicit)
            .onepass(false);
        let regex =
            Builder::new().configure(config).syntax(reading()).build(pattern).map_err(|error| misfit(&error));
        let regex = regex.or_else(|why| fail(ErrorKind::Pattern, why))?;
        let bytes = regex.memory_usage();
        Ok(Self { regex, bytes })
    }

    /// Whether it can be read; what it comes to is not looked at.
    pub(super) fn check(pattern: &str) -> Compiled<()> {
        check_length(pattern)?;
        match syntax::parse_with(pattern, &reading()) {
            Ok(_) => Ok(()),
            Err(error) => fail(ErrorKind::Pattern, unreadable(&error.to_string())),
        }
    }

    /// Whether a part of the text matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What a search in a text costs at most, in steps.
    pub(super) const fn steps(&self, text: &str) -> usize {
        1 + text.len().saturating_mul(1 + self.bytes / BYTES_OF_STEP) / 4
    }
}

fn reading() -> syntax::Config {
    syntax::Config::new().nest_limit(NEST_MAX)
}

fn check_length(pattern: &str) -> Compiled<()> {
    if pattern.len() <= PATTERN_MAX {
        return Ok(());
    }
    let why = format!("has a pattern of {} bytes; at most {PATTERN_MAX} are allowed", pattern.len());
    fail(ErrorKind::Pattern, why)
}

fn misfit(error: &BuildError) -> String {
    match (error.size_limit(), error.syntax_error()) {
        (None, Some(error)) => unreadable(&error.to_string()),
        _ => "has a pattern that is too large when compiled".to_owned(),
    }
}

/// The library draws the pattern with a mark below; its last line says what is wrong.
fn unreadable(text: &str) -> String {
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("has a pattern that cannot be read: {why}")
}
