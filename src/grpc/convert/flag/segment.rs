//! Segments.

use prost_types::FieldMask;

use super::super::{Faults, etag, mask, timestamp};
use super::answer;
use super::rule::{decode_conditions, decode_logic, encode_condition};
use crate::domain::error::Error;
use crate::domain::flag::{NewSegment, Segment, SegmentField};
use crate::domain::ids::SegmentName;
use crate::domain::rule::Condition;
use crate::proto::v1;
use crate::services::feature_flags::{Judged, SegmentUpdate};
use crate::view::Snapshot;

/// Most users that are named.
const USERS_MAX: usize = 100;
const FIXED: &[&str] =
    &["segment_name", "etag", "revision", "create_time", "update_time", "used_by", "impact"];

pub(in crate::grpc) fn encode(snapshot: Option<&Snapshot>, segment: &Segment) -> v1::Segment {
    let settings = &segment.settings;
    let conditions = Condition::all_from_json(&settings.source).unwrap_or_default();
    let users =
        snapshot.into_iter().flat_map(|snapshot| snapshot.flags.users_of_segment(settings.name.as_str()));
    v1::Segment {
        segment_name: settings.name.to_string(),
        description: settings.description.clone(),
        logic: settings.source.to_string(),
        conditions: conditions.iter().map(encode_condition).collect(),
        etag: crate::domain::tenant::etag(segment.revision),
        revision: segment.revision.as_i64(),
        create_time: Some(timestamp(segment.create_time)),
        update_time: Some(timestamp(segment.update_time)),
        used_by: users.take(USERS_MAX).map(|flag| flag.key().to_string()).collect(),
        impact: None,
    }
}

/// Encodes what was made of a segment.
pub(in crate::grpc) fn encode_judged(snapshot: Option<&Snapshot>, judged: &Judged<Segment>) -> v1::Segment {
    let impact = judged.impact.as_ref().map(answer::encode_impact);
    v1::Segment { impact, ..encode(snapshot, &judged.made) }
}

pub(in crate::grpc) fn decode_new(message: Option<v1::Segment>) -> Result<NewSegment, Error> {
    let Some(message) = message else { return Err(Error::field("segment", "must be set")) };
    decode_whole(message).map_err(|error| error.within("segment."))
}

pub(super) fn decode_whole(message: v1::Segment) -> Result<NewSegment, Error> {
    let mut faults = Faults::default();
    let segment = decode(message, &mut faults, true);
    faults.check(segment)
}

/// Decodes an update. `logic` and `conditions` are two ways to say the same.
pub(in crate::grpc) fn decode_update(
    message: Option<v1::Segment>,
    update_mask: Option<FieldMask>,
) -> Result<SegmentUpdate, Error> {
    let Some(mut message) = message else { return Err(Error::field("segment", "must be set")) };
    let named = mask(update_mask, Named::ALL, Named::as_str, FIXED)?;
    let etag = etag(std::mem::take(&mut message.etag));
    // Answers have both; whoever sends back what was read changes the one that is named.
    match (named.contains(&Named::Logic), named.contains(&Named::Conditions)) {
        (true, false) => message.conditions.clear(),
        (false, true) => message.logic.clear(),
        _ => {}
    }
    let mut fields = Vec::new();
    if named.contains(&Named::Description) {
        fields.push(SegmentField::Description);
    }
    if named.iter().any(|name| *name != Named::Description) {
        fields.push(SegmentField::Source);
    }
    let mut faults = Faults::default();
    let segment = decode(message, &mut faults, fields.contains(&SegmentField::Source));
    let update = segment.map(|segment| SegmentUpdate { segment, fields, etag });
    faults.check(update).map_err(|error| error.within("segment."))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Description,
    Logic,
    Conditions,
}

impl Named {
    const ALL: &'static [Self] = &[Self::Description, Self::Logic, Self::Conditions];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Logic => "logic",
            Self::Conditions => "conditions",
        }
    }
}

fn decode(message: v1::Segment, faults: &mut Faults, with_source: bool) -> Option<NewSegment> {
    let name = faults.id("segment_name", SegmentName::parse(&message.segment_name));
    let source = match (with_source, message.logic.is_empty(), message.conditions.is_empty()) {
        (false, ..) => None,
        (true, true, true) => {
            faults.add("logic", "must be set, or conditions");
            None
        }
        (true, false, true) => decode_logic(&message.logic, "logic", faults),
        (true, is_empty, false) => {
            let conditions = decode_conditions("conditions", message.conditions, faults);
            let source = Condition::all_to_json(&conditions);
            let both = if is_empty { None } else { decode_logic(&message.logic, "logic", faults) };
            if both.is_some_and(|logic| logic != source) {
                faults.add("logic", "must not say another thing than the conditions; give one of both");
            }
            Some(source)
        }
    };
    // Where the source is missing or at fault that has been said, and the rest is looked at all the same.
    let source = source.unwrap_or(serde_json::Value::Bool(false));
    let segment = NewSegment { name: name?, description: message.description, source };
    faults.extend(segment.violations());
    Some(segment)
}
