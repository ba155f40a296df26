//! What operators said of target systems.

use tokio_postgres::GenericClient;

use super::log::{Change, Context, json_value};
use super::reading::{Found, Range, Table, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::target::TargetControl;

/// Pauses a target or lets it be used again. Conflict where it is so already.
pub fn target_set(control: &TargetControl, context: &Context) -> Change {
    let event = if control.paused {
        Event::TargetPaused { control: control.clone() }
    } else {
        Event::TargetResumed { control: control.clone() }
    };
    Change::new(change_sql!("target/set.sql"), json_value(control), event, context, control)
}

/// Controls of a range.
pub async fn targets_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<TargetControl>, Error> {
    let table = Table { name: "target_control", key: &["target"] };
    rows_as(client, &table, include_str!("sql/target/changed_after.sql"), range).await
}
