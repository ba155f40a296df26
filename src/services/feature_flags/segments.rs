//! Segments: conditions that rules of many flags share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Deciding, Judged, judge};
use crate::domain::error::{Error, Reason};
use crate::domain::event::Event;
use crate::domain::flag::{NewSegment, Segment, SegmentField};
use crate::domain::ids::{Revision, SegmentName};
use crate::services::change::{Decision, Reply};
use crate::services::paging::{Keyed, Page, PageRequest, page_by_key};
use crate::services::tiers::check_etag;
use crate::services::{Command, Registry};
use crate::store::flags::{self, Deleting, Replacing, Write};
use crate::view::Snapshot;

impl Reply for Segment {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// What is to be changed of a segment.
#[derive(Debug, Clone)]
pub struct SegmentUpdate {
    /// The new values; the name says which segment.
    pub segment: NewSegment,
    /// Which of them.
    pub fields: Vec<SegmentField>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
}

/// Reads a segment.
pub fn get_segment(snapshot: &Snapshot, name: &SegmentName) -> Result<Arc<Segment>, Error> {
    let found = snapshot.flags.segment(name.as_str()).cloned();
    let not_found = || Error::missing(Reason::SegmentNotFound, "segment", "segment_name", name);
    found.ok_or_else(|| snapshot.missing("segment", name.as_str(), not_found()))
}

/// Lists segments by name.
pub fn list_segments(snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Segment>>, Error> {
    let keyed = |segment: &Arc<Segment>| Keyed {
        key: segment.settings.name.as_str().to_owned(),
        item: Arc::clone(segment),
    };
    page_by_key(snapshot, request, &["segments"], false, snapshot.flags.segments().map(keyed).collect())
}

impl Registry {
    /// Makes a segment.
    pub async fn create_segment(&self, segment: NewSegment, command: &Command) -> Result<Segment, Error> {
        self.change(command, |snapshot, context| {
            if snapshot.flags.segment(segment.name.as_str()).is_some() {
                let name = &segment.name;
                return Err(Error::exists(Reason::SegmentExists, "segment", "segment_name", name));
            }
            let segment = segment.clone().into_segment(context.now);
            let event = Event::SegmentCreated { segment: Box::new(segment.clone()) };
            let mut write = written(&segment, None);
            judge::judge(snapshot, &mut write, (false, context.now), &|_| "segment.".to_owned())?;
            let change = flags::flags_write(&write, event, context, &segment);
            Ok(Decision::Make(Box::new(change), segment))
        })
        .await
    }

    /// Changes fields of a segment, for all flags that use it at once.
    pub async fn update_segment(
        &self,
        update: SegmentUpdate,
        command: &Command,
    ) -> Result<Judged<Segment>, Error> {
        self.change(command, |snapshot, context| {
            let current = get_segment(snapshot, &update.segment.name)?;
            check_etag(update.etag.as_deref(), current.revision)?;
            let mut settings = current.settings.clone();
            for field in &update.fields {
                settings.take(*field, &update.segment);
            }
            let violations = settings.violations();
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations).within("segment."));
            }
            let segment = current.with_settings(settings, context.now);
            let event = Event::SegmentUpdated { segment: Box::new(segment.clone()) };
            let mut write = written(&segment, Some(current.revision));
            let after = judge::judge(snapshot, &mut write, (false, context.now), &|_| "segment.".to_owned())?;
            let change = flags::flags_write(&write, event, context, &segment);
            let deciding = Deciding { snapshot, fixed: &self.static_context, context, force: false, command };
            let impact = deciding.impact(&after, &BTreeSet::new());
            Ok(Decision::Make(Box::new(change), Judged { made: segment, impact }))
        })
        .await
    }

    /// Deletes a segment that nothing uses.
    pub async fn delete_segment(
        &self,
        name: &SegmentName,
        etag: Option<&str>,
        command: &Command,
    ) -> Result<(), Error> {
        self.change(command, |snapshot, context| {
            let current = get_segment(snapshot, name)?;
            check_etag(etag, current.revision)?;
            let gone = Deleting { key: name.clone(), expected: current.revision };
            let mut write = Write { segments_deleted: vec![gone], ..Write::default() };
            judge::judge(snapshot, &mut write, (false, context.now), &|_| String::new())?;
            let event = Event::SegmentDeleted { segment_name: name.clone() };
            Ok(Decision::Make(Box::new(flags::flags_write(&write, event, context, &())), ()))
        })
        .await
    }
}

fn written(segment: &Segment, expected: Option<Revision>) -> Write {
    Write { segments: vec![Replacing { row: segment.clone(), expected }], ..Write::default() }
}
