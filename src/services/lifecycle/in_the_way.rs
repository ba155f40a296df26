//! What is said where another operation of the tenant is in the way.

use crate::domain::error::{Error, Reason};
use crate::domain::lifecycle::{MigrationEnd, Status, Verb};
use crate::domain::operation::{Operation, State};

/// Refuses what may not take over from an open operation, and says what may.
pub(super) fn in_progress(open: &Operation) -> Error {
    let takers: Vec<String> = open.gives_way_to().map(|verb| taker(open, verb)).collect();
    let may = if takers.is_empty() { "nothing".to_owned() } else { format!("only {}", takers.join(" or ")) };
    let why = match (open.is_forward_only(), open.from_status) {
        (true, _) => "it is past its point of no return, and ",
        (false, Status::Provisioning) => "the tenant has no access before it is ACTIVE, and ",
        (false, _) if open.backward => "it is being taken back, and ",
        (false, _) => "",
    };
    Error::new(
        Reason::OperationInProgress,
        format!(
            "operation {} ({}) of this tenant is {}; {why}{may} may take over. {}",
            open.operation_id,
            open.verb,
            open.state.as_str(),
            ways_on(open)
        ),
    )
    .with("operation_id", open.operation_id)
    .with("verb", open.verb)
    .with("state", open.state.as_str())
}

/// A verb that may take over. Of the two ends of a migration one lets the tenant in.
fn taker(open: &Operation, verb: Verb) -> String {
    let Verb::FinishMigration { to } = verb else { return verb.method().to_owned() };
    let (status, option) = match to {
        MigrationEnd::Active => ("ACTIVE", ""),
        MigrationEnd::Suspended => ("SUSPENDED", " --suspended"),
    };
    format!("FinishMigration to {status} (`tenantry tenant finish-migration {}{option}`)", open.tenant_id)
}

/// How an operation comes to its end.
fn ways_on(open: &Operation) -> String {
    let id = open.operation_id;
    let is_stuck_on_its_way_back = open.backward && open.state == State::NeedsOperator;
    if open.verb == Verb::Provision && is_stuck_on_its_way_back && open.abort_reason.is_empty() {
        return format!(
            "It is on its way back, so it cannot be aborted any more: `tenantry operation skip {id} TARGET` ends it as FAILED, \
             without access, and `tenantry operation retry {id} TARGET` provisions the tenant again and lets it in"
        );
    }
    let or_abort = if open.is_forward_only() || open.backward {
        String::new()
    } else {
        format!(", or abort it (`tenantry operation abort {id}`)")
    };
    format!(
        "Wait for its end, or bring it about: retry or skip (`tenantry operation skip {id} TARGET`) the targets it waits \
         for{or_abort}"
    )
}
