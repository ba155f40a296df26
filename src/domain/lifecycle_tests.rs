//! The lifecycle, edge by edge.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use Status::{Active, Archived, Deleted, Migrating, Provisioning, Suspended};

const TO_ACTIVE: Verb = Verb::FinishMigration { to: MigrationEnd::Active };
const TO_SUSPENDED: Verb = Verb::FinishMigration { to: MigrationEnd::Suspended };

const LEGAL: [(Status, Verb, Status); 10] = [
    (Provisioning, Verb::Provision, Active),
    (Provisioning, Verb::Activate, Active),
    (Active, Verb::Suspend, Suspended),
    (Suspended, Verb::Activate, Active),
    (Active, Verb::StartMigration, Migrating),
    (Migrating, TO_ACTIVE, Active),
    (Migrating, TO_SUSPENDED, Suspended),
    (Suspended, Verb::Archive, Archived),
    (Archived, Verb::Delete, Deleted),
    (Deleted, Verb::Undelete, Archived),
];

#[test]
fn exactly_the_documented_edges_exist() {
    for from in Status::ALL {
        for verb in Verb::ALL.into_iter().filter(|verb| verb.moves()) {
            let expected = LEGAL.iter().find(|(f, v, _)| (*f, *v) == (from, verb)).map(|(_, _, to)| *to);
            assert_eq!(transition(from, verb).ok(), expected, "{from} {verb:?}");
        }
    }
}

#[test]
fn the_allowed_statuses_are_those_that_verbs_reach_other_than_by_undelete() {
    for from in Status::ALL {
        let reached: BTreeSet<Status> =
            verbs(from).filter(|verb| *verb != Verb::Undelete).map(|verb| verb.leads_to(from)).collect();
        assert_eq!(reached, allowed(from).iter().copied().collect(), "{from}");
    }
}

#[test]
fn from_archived_only_deleted_follows() {
    assert_eq!(allowed(Archived), [Deleted]);
    assert_eq!(verbs(Archived).collect::<Vec<_>>(), [Verb::Delete]);
}

#[test]
fn a_deleted_tenant_moves_nowhere_but_can_be_undeleted() {
    assert!(allowed(Deleted).is_empty());
    assert_eq!(verbs(Deleted).collect::<Vec<_>>(), [Verb::Undelete]);
    assert_eq!(transition(Deleted, Verb::Undelete), Ok(Archived));
}

#[test]
fn verbs_that_lead_nowhere_else_are_legal_where_there_is_something_to_make_true() {
    let legal = |verb: Verb| -> Vec<Status> {
        Status::ALL.into_iter().filter(|from| transition(*from, verb) == Ok(*from)).collect()
    };
    assert_eq!(legal(Verb::Purge), [Deleted]);
    assert_eq!(legal(Verb::Repair), [Active, Suspended, Migrating, Archived, Deleted]);
    assert_eq!(legal(Verb::ChangeTier), [Provisioning, Active, Suspended, Migrating, Archived]);
}

#[test]
fn only_a_purge_removes_data() {
    for status in Status::ALL {
        assert_ne!(desired(status), Desired::Deleted, "{status}");
        for verb in Verb::ALL {
            assert_eq!(desired_by(verb, status) == Desired::Deleted, verb == Verb::Purge, "{verb} {status}");
        }
    }
}

#[test]
fn undelete_ends_at_the_purge_time() {
    let purge: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
    assert!(can_undelete("2026-01-30T23:59:59.999Z".parse().unwrap(), purge));
    assert!(!can_undelete(purge, purge));
}

#[test]
fn a_refusal_names_the_status_the_method_and_the_ways_out() {
    assert_eq!(
        transition(Active, Verb::Delete).unwrap_err().to_string(),
        "a tenant that is ACTIVE cannot take DeleteTenant: from there it can move to SUSPENDED or MIGRATING"
    );
    assert_eq!(
        transition(Migrating, Verb::Suspend).unwrap_err().to_string(),
        "a tenant that is MIGRATING cannot take SuspendTenant: FinishMigration moves it to SUSPENDED (`tenantry tenant \
         finish-migration ID --suspended`) or ACTIVE; AbortOperation of its StartMigration takes it back"
    );
    assert_eq!(
        transition(Deleted, Verb::Activate).unwrap_err().to_string(),
        "a tenant that is DELETED cannot take ActivateTenant: from there only UndeleteTenant leads back, until the purge time"
    );
}

#[test]
fn only_active_tenants_write_and_only_migrating_ones_read_besides() {
    let granted = |access| Status::ALL.into_iter().filter(move |s| s.access() == access).collect::<Vec<_>>();
    assert_eq!(granted(Access::Full), [Active]);
    assert_eq!(granted(Access::ReadOnly), [Migrating]);
    assert_eq!(granted(Access::None), [Provisioning, Suspended, Archived, Deleted]);
}

#[test]
fn suspend_archive_and_delete_retry_forward_while_activate_and_undelete_fall_back() {
    for (from, verb, to) in LEGAL {
        let expected = match verb {
            Verb::Suspend
            | Verb::StartMigration
            | Verb::FinishMigration { to: MigrationEnd::Suspended }
            | Verb::Archive
            | Verb::Delete => Toward::LessAccess,
            Verb::Provision
            | Verb::Activate
            | Verb::FinishMigration { to: MigrationEnd::Active }
            | Verb::Undelete => Toward::MoreAccess,
            Verb::Purge | Verb::Repair | Verb::ChangeTier => unreachable!("these lead nowhere else"),
        };
        assert_eq!(toward(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn access_is_taken_at_once_and_given_last() {
    assert_eq!(access_during(Active, Suspended), Access::None);
    assert_eq!(access_during(Suspended, Active), Access::None);
    assert_eq!(access_during(Active, Migrating), Access::ReadOnly);
    assert_eq!(access_during(Migrating, Active), Access::ReadOnly);
}

#[test]
fn what_targets_make_true_agrees_with_what_the_registry_grants() {
    for status in Status::ALL {
        let access = match desired(status) {
            Desired::Active => Access::Full,
            Desired::ReadOnly => Access::ReadOnly,
            Desired::Suspended | Desired::Archived | Desired::Deleted => Access::None,
        };
        assert_eq!(access, status.access(), "{status}");
    }
}

#[test]
fn statuses_are_read_in_either_case_and_unknown_ones_are_quoted_back() {
    assert_eq!("active".parse(), Ok(Active));
    assert_eq!("ARCHIVED".parse(), Ok(Archived));
    assert!("".parse::<Status>().is_err());
    assert!(
        "gone\n".parse::<Status>().unwrap_err().to_string().starts_with("there is no status \"gone\\n\";")
    );
}

#[test]
fn stored_names_are_the_contract_s() {
    for status in Status::ALL {
        assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
    }
    for state in Desired::ALL {
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
    for verb in Verb::ALL {
        let json = serde_json::to_string(&verb).unwrap();
        assert!(json.contains(verb.as_str()), "{json}");
        assert_eq!(serde_json::from_str::<Verb>(&json).unwrap(), verb);
    }
}

proptest! {
    #[test]
    fn no_sequence_of_verbs_reaches_deletion_without_suspension_and_archive(
        verbs in prop::collection::vec(prop::sample::select(Verb::ALL.to_vec()), 0..60)
    ) {
        let mut path = vec![Provisioning];
        for verb in verbs {
            let here = path[path.len() - 1];
            match transition(here, verb) {
                Ok(next) if next == here => {}
                Ok(next) => path.push(next),
                Err(refusal) => prop_assert_eq!((refusal.from, refusal.verb, refusal.allowed), (here, verb, allowed(here))),
            }
        }
        if let Some(deleted) = path.iter().position(|status| *status == Deleted) {
            prop_assert_eq!(path[deleted - 1], Archived);
            prop_assert_eq!(path[deleted - 2], Suspended);
        }
    }
}
