//! What operators said of target systems.

use tokio_postgres::GenericClient;

use super::log::{Change, Context, json_value, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::ids::Revision;
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

/// Controls that changed after a revision.
pub async fn targets_changed_after(
    client: &impl GenericClient,
    after: Revision,
) -> Result<Vec<TargetControl>, Error> {
    rows_as(client, "target_control", include_str!("sql/target/changed_after.sql"), after).await
}
