//! Named conditions that rules refer to with `$ref`: flagd's `$evaluators`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::compile::{Compiler, Mode, fail, referred, shown};
use super::error::{Error, ErrorKind};
use super::length::{written_length, written_nodes};
use super::limit::{DEPTH_MAX, SEGMENTS_MAX, SEGMENTS_PATTERNS_BYTES_MAX};
use super::node::Node;
use crate::domain::text::quote;

/// Checked segments by name. Cloning copies a pointer.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    entries: Arc<BTreeMap<String, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    source: Value,
    compiled: Result<Segment, Error>,
    /// About how many bytes of JSON it has, those of the segments it uses counted.
    length: usize,
    /// And of how many values it is.
    nodes: usize,
}

/// What is wrong with segments, and with which.
#[derive(Debug)]
pub struct Fault {
    /// The segment that has the mistake itself, not one that uses it; none where there are too many.
    pub segment: Option<String>,
    /// What it refers to that does not exist, where it does.
    pub missing: Option<String>,
    /// Of a circle its members in order, the first again at the end; else empty.
    pub circle: Vec<String>,
    /// The mistake, with its place in the segment.
    pub error: Error,
}

/// A compiled segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) source: Value,
    pub(super) node: Arc<Node>,
    /// How many values it has, those of the segments it uses counted.
    pub(super) nodes: usize,
    /// How deep it is, the segments it uses counted.
    pub(super) depth: usize,
    /// The segments it uses, directly or through others.
    pub(super) uses: BTreeSet<String>,
    pub(super) is_ours: bool,
}

impl Segments {
    /// No segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// No segments, for whoever wants to borrow them.
    pub fn none() -> &'static Self {
        static NONE: LazyLock<Segments> = LazyLock::new(Segments::default);
        &NONE
    }

    /// Takes all segments at once, in any order. They may refer to each other but not in a circle; the error's path
    /// starts with the segment's name, and that of a circle names its members in order.
    pub fn compile(sources: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Error> {
        let segments = Self::build(sources, Mode::Strict)?;
        match segments.entries.values().find_map(|entry| entry.compiled.as_ref().err()) {
            Some(error) => Err(error.clone()),
            None => Ok(segments),
        }
    }

    /// What is wrong with segments first, those that others use before these; nothing where [`Self::compile`] takes them.
    pub fn fault(sources: impl IntoIterator<Item = (String, Value)>) -> Option<Fault> {
        match Builder::run(sources, Mode::Strict) {
            Ok(builder) => builder.fault,
            Err(error) => Some(Fault { segment: None, missing: None, circle: Vec::new(), error }),
        }
    }

    /// Takes the segments of a flagd file. One with a mistake spoils only the rules that use it.
    pub fn compile_foreign(sources: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Error> {
        Self::build(sources, Mode::Foreign)
    }

    fn build(sources: impl IntoIterator<Item = (String, Value)>, mode: Mode) -> Result<Self, Error> {
        Builder::run(sources, mode).map(|builder| builder.done)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A segment's source.
    pub fn source(&self, name: &str) -> Option<&Value> {
        self.entries.get(name).map(|entry| &entry.source)
    }

    /// About how many bytes a segment has as JSON, those that it uses written into it.
    pub(super) fn written_length(&self, name: &str) -> usize {
        self.entries.get(name).map_or(0, |entry| entry.length)
    }

    /// Of how many values it is, those that it uses written into it.
    pub(super) fn written_nodes(&self, name: &str) -> usize {
        self.entries.get(name).map_or(0, |entry| entry.nodes)
    }

    /// The segments that a segment uses, directly or through others, sorted.
    pub fn uses(&self, name: &str) -> impl Iterator<Item = &str> {
        let segment = self.entries.get(name).and_then(|entry| entry.compiled.as_ref().ok());
        segment.into_iter().flat_map(|segment| segment.uses.iter().map(String::as_str))
    }

    pub(super) fn find(&self, name: &str) -> Option<Result<&Segment, &Error>> {
        self.entries.get(name).map(|entry| entry.compiled.as_ref())
    }
}

/// Compiles segments after those they use.
struct Builder {
    sources: BTreeMap<String, Value>,
    mode: Mode,
    done: Segments,
    /// Those that are waiting for what they use, in order.
    open: Vec<String>,
    /// What the patterns of all came to so far, in bytes.
    pattern_bytes: usize,
    circle: Vec<String>,
    fault: Option<Fault>,
}

impl Builder {
    fn run(sources: impl IntoIterator<Item = (String, Value)>, mode: Mode) -> Result<Self, Error> {
        let sources: BTreeMap<String, Value> = sources.into_iter().collect();
        if sources.len() > SEGMENTS_MAX {
            return fail(
                ErrorKind::Size,
                format!("has {} segments; at most {SEGMENTS_MAX} are allowed", sources.len()),
            );
        }
        let (done, open, circle) = (Segments::default(), Vec::new(), Vec::new());
        let mut builder = Self { sources, mode, done, open, pattern_bytes: 0, circle, fault: None };
        let names: Vec<String> = builder.sources.keys().cloned().collect();
        for name in names {
            builder.add(&name);
        }
        Ok(builder)
    }

    fn add(&mut self, name: &str) {
        if self.done.entries.contains_key(name) {
            return;
        }
        let Some(source) = self.sources.get(name).cloned() else { return };
        let compiled = self.compile(name, &source);
        if let Err(error) = &compiled
            && self.fault.is_none()
        {
            // Whoever uses it fails after it, for the same reason.
            let mut uses = BTreeSet::new();
            references(&source, DEPTH_MAX, &mut uses);
            let missing = uses.into_iter().find(|used| !self.sources.contains_key(used));
            let circle = std::mem::take(&mut self.circle);
            self.fault =
                Some(Fault { segment: Some(name.to_owned()), missing, circle, error: error.clone() });
        }
        let place = |error: Error| error.inside(&format!("$evaluators.{}", shown(name)));
        let compiled = compiled.map_err(place);
        // Those that it uses are done.
        let length = written_length(&source, &self.done);
        let nodes = written_nodes(&source, &self.done);
        let entry = Entry { source, compiled, length, nodes };
        Arc::make_mut(&mut self.done.entries).insert(name.to_owned(), entry);
    }

    fn compile(&mut self, name: &str, source: &Value) -> Result<Segment, Error> {
        if self.open.len() >= DEPTH_MAX {
            return fail(ErrorKind::Depth, "is at the end of too many segments that use each other");
        }
        let mut uses = BTreeSet::new();
        references(source, DEPTH_MAX, &mut uses);
        self.open.push(name.to_owned());
        for used in &uses {
            if let Some(start) = self.open.iter().position(|open| open == used) {
                let members = self.open.split_off(start);
                let why = circle(&members, used);
                // Those before the last go on to be looked at.
                self.open.extend_from_slice(members.split_last().map_or(&[], |(_, before)| before));
                self.circle = members.into_iter().chain([used.clone()]).collect();
                return fail(ErrorKind::Cycle, why);
            }
            self.add(used);
        }
        self.open.pop();
        let mut compiler = Compiler::new(&self.done, self.mode);
        let node = compiler.node(source, 1)?;
        self.pattern_bytes += compiler.pattern_bytes;
        if compiler.pattern_bytes > 0 && self.pattern_bytes > SEGMENTS_PATTERNS_BYTES_MAX {
            let why = format!(
                "has patterns that, with those of the segments before it, are larger than {SEGMENTS_PATTERNS_BYTES_MAX} bytes when compiled"
            );
            return fail(ErrorKind::Size, why);
        }
        Ok(Segment {
            source: source.clone(),
            node: Arc::new(node),
            nodes: compiler.nodes(),
            depth: compiler.deepest,
            uses: compiler.used,
            is_ours: compiler.is_ours,
        })
    }
}

/// The way round a circle of segments, of which the last one refers to the first.
fn circle(members: &[String], first: &str) -> String {
    let members: Vec<String> = members.iter().map(|member| quote(member)).collect();
    format!("refers to itself: {} -> {}", members.join(" -> "), quote(first))
}

/// The segments that a source refers to. What is too deep is not looked at: it will be refused.
fn references(source: &Value, depth: usize, found: &mut BTreeSet<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    found.extend(referred(source).map(str::to_owned));
    match source {
        Value::Array(items) => items.iter().for_each(|item| references(item, depth, found)),
        Value::Object(map) => map.values().for_each(|value| references(value, depth, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
