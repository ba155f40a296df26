//! The in-memory read model's pace.

use std::time::Duration;

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// How the view follows the log and when it calls itself stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Time between two looks at the log when no notification comes; 10 ms to 60 s.
    pub poll_interval: Duration,
    /// A view that has not reached the database for this long says so in its answers and its health; 1 s to 1 h,
    /// and longer than the poll interval.
    pub stale_after: Duration,
    /// The reader of a watch that takes nothing for this long is cut; 1 s to 10 min.
    pub slow_reader_after: Duration,
    /// So many operations that have ended are kept in memory, the last ones; older ones are read from the database. 100
    /// to 10,000,000.
    pub ended_operations: usize,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "view.poll_interval",
        "view-poll-interval",
        Some("200ms"),
        Kind::Duration,
        "Time between two looks at the log when no notification comes.",
    ),
    setting(
        "view.stale_after",
        "view-stale-after",
        Some("60s"),
        Kind::Duration,
        "A view that has not reached the database for this long calls itself stale.",
    ),
    setting(
        "view.slow_reader_after",
        "view-slow-reader-after",
        Some("30s"),
        Kind::Duration,
        "The reader of a watch that takes nothing for this long is cut.",
    ),
    setting(
        "view.ended_operations",
        "view-ended-operations",
        Some("10000"),
        Kind::Count,
        "So many operations that have ended are kept in memory; older ones are read from the database.",
    ),
];

impl View {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let view = Self {
            poll_interval: values
                .duration("view.poll_interval", Duration::from_millis(10)..=Duration::from_mins(1))?,
            stale_after: values
                .duration("view.stale_after", Duration::from_secs(1)..=Duration::from_hours(1))?,
            slow_reader_after: values
                .duration("view.slow_reader_after", Duration::from_secs(1)..=Duration::from_mins(10))?,
            ended_operations: values.count("view.ended_operations", 100..=10_000_000)?,
        };
        if view.stale_after <= view.poll_interval {
            return Err(Error::Conflict(
                "`--view-stale-after` must be longer than `--view-poll-interval`, or every view would be stale \
                 between two polls."
                    .to_owned(),
            ));
        }
        Ok(view)
    }
}
