//! Segments: named conditions that rules of many flags share; flagd's `$evaluators`.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::validate::{LOGIC_MAX, is_storable};
use crate::domain::ids::{Revision, SegmentName};
use crate::domain::rule::Segments;
use crate::domain::text;
use crate::domain::violation::Violation;

/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 4_000;

/// A segment as someone asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewSegment {
    /// Chosen by the caller, immutable.
    #[serde(rename = "segment_name")]
    pub name: SegmentName,
    /// Free text, up to 4,000 characters.
    pub description: String,
    /// The condition, in the rule language.
    pub source: Value,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// What its owner sets.
    #[serde(flatten)]
    pub settings: NewSegment,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

/// A field of a segment that can be changed, as an update mask names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentField {
    /// The free text.
    Description,
    /// The condition.
    Source,
}

impl SegmentField {
    /// Every field.
    pub const ALL: &'static [Self] = &[Self::Description, Self::Source];

    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Source => "condition",
        }
    }
}

impl NewSegment {
    /// What is wrong with it, but for what the rule language has to say; empty when it can be made.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Err(invalid) = text::free(&self.description, DESCRIPTION_MAX) {
            found.push(Violation::new("description", invalid.why));
        }
        if self.source.is_null() {
            // A column that must not be null takes JSON's null for one; as a condition it would be never true.
            found.push(Violation::new("logic", "must not be null"));
        }
        if let Err(why) = is_storable(&self.source, LOGIC_MAX) {
            found.push(Violation::new("logic", why));
        }
        found
    }

    /// The segment as first stored.
    pub fn into_segment(self, now: Timestamp) -> Segment {
        Segment { settings: self, revision: Revision::ZERO, create_time: now, update_time: now }
    }

    /// Takes one field's value from another segment.
    pub fn take(&mut self, field: SegmentField, from: &Self) {
        match field {
            SegmentField::Description => self.description.clone_from(&from.description),
            SegmentField::Source => self.source.clone_from(&from.source),
        }
    }
}

impl Segment {
    /// The segment after a change.
    #[must_use]
    pub fn with_settings(&self, settings: NewSegment, now: Timestamp) -> Self {
        Self { settings, revision: self.revision, create_time: self.create_time, update_time: now }
    }
}

/// The segments, ready for rules. One that is at fault (only a set taken from elsewhere can have it) is left out, and
/// the rules that use it answer with an error.
pub(super) fn evaluators(segments: &OrdMap<SegmentName, Arc<Segment>>) -> Segments {
    let source =
        |segment: &Arc<Segment>| (segment.settings.name.as_str().to_owned(), segment.settings.source.clone());
    Segments::compile(segments.values().map(source)).unwrap_or_else(|_| {
        let mut sound = Vec::new();
        for segment in segments.values() {
            sound.push(source(segment));
            if Segments::compile(sound.iter().cloned()).is_err() {
                sound.pop();
            }
        }
        Segments::compile(sound).unwrap_or_default()
    })
}
