use uuid::Uuid;

use super::*;
use crate::domain::flag::{FlagType, Settings, Window};
use crate::domain::ids::{FlagKey, Revision, TenantId, TierId};
use crate::domain::tenant::{Profile, Tenant};
use crate::domain::tier::{CacheTtlClass, Limits};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(tenant: &str, tier: &str) -> Arc<Record> {
    let profile = Profile::minimal("Finance", TierId::parse(tier).unwrap());
    let id = TenantId::parse(tenant).unwrap();
    let tenant = Tenant::provisioning(id, Uuid::nil(), profile, "ada".into(), at(0));
    Arc::new(Record { tenant, health: None })
}

/// One flag with a window from 100 to 200.
fn flags() -> CompiledFlags {
    let mut settings = Settings::new(FlagKey::parse("search").unwrap(), FlagType::Boolean);
    settings.fill_boolean_defaults();
    settings.schedule = vec![Window { start_time: Some(at(100)), end_time: Some(at(200)) }];
    CompiledFlags::build([Arc::new(settings.into_flag(Revision(1), at(0)))], [], [])
}

/// What is asked, and whether it had to be answered anew.
fn asks(kept: &KeptAnswers, question: &Question<'_>, answer: &'static [u8]) -> (Bytes, bool) {
    if let Some(found) = kept.find(question) {
        return (found.bytes, false);
    }
    let made = Answer::of_all(Bytes::from_static(answer));
    kept.offer(question, &made);
    (made.bytes, true)
}

/// A question whose answer `first` is kept.
fn kept_for(question: &Question<'_>) -> KeptAnswers {
    let kept = KeptAnswers::default();
    for _ in 0..2 {
        assert_eq!(asks(&kept, question, b"first"), (Bytes::from("first"), true));
    }
    assert_eq!(asks(&kept, question, b"second"), (Bytes::from("first"), false));
    kept
}

#[test]
fn what_is_asked_again_is_kept_and_what_is_asked_once_is_not() {
    let (flags, record) = (flags(), record("finance", "gold"));
    let question = Question {
        protocol: "a",
        bytes: b"finance",
        record: Some(&record),
        tier: None,
        flags: &flags,
        now: at(10),
    };
    kept_for(&question);
}

#[test]
fn another_question_tenant_state_protocol_or_time_is_answered_anew() {
    let (flags, finance) = (flags(), record("finance", "gold"));
    let question = || Question {
        protocol: "a",
        bytes: b"finance",
        record: Some(&finance),
        tier: None,
        flags: &flags,
        now: at(10),
    };
    let kept = kept_for(&question());
    let is_new = |question: &Question<'_>| asks(&kept, question, b"other") == (Bytes::from("other"), true);
    assert!(is_new(&Question { bytes: b"financf", ..question() }));
    assert!(is_new(&Question { protocol: "b", ..question() }));
    assert!(is_new(&Question { record: None, ..question() }));
    // The same bytes asked by somebody else, or of a tenant that has changed.
    assert!(is_new(&Question { record: Some(&record("hr", "gold")), ..question() }));
    let kept = kept_for(&question());
    let is_new = |question: &Question<'_>| asks(&kept, question, b"other") == (Bytes::from("other"), true);
    assert!(is_new(&Question { record: Some(&record("finance", "silver")), ..question() }));
    let kept = kept_for(&question());
    let is_new = |question: &Question<'_>| asks(&kept, question, b"other") == (Bytes::from("other"), true);
    let tier = |support_level: &str| {
        Arc::new(Tier {
            id: TierId::parse("gold").unwrap(),
            display_name: String::new(),
            description: String::new(),
            rank: 1,
            limits: Limits::default(),
            sla_target: 0.9,
            support_level: support_level.to_owned(),
            cache_ttl_class: CacheTtlClass::default(),
            version: 1,
            revision: Revision(1),
            create_time: at(0),
            update_time: at(0),
        })
    };
    assert!(is_new(&Question { tier: Some(&tier("24x7")), ..question() }));
    assert!(is_new(&Question { flags: &flags.clone().without_override("search", "finance"), ..question() }));
    let kept = kept_for(&question());
    let is_new = |question: &Question<'_>| asks(&kept, question, b"other") == (Bytes::from("other"), true);
    assert!(!is_new(&Question { now: at(99), ..question() }), "before the window");
    assert!(is_new(&Question { now: at(100), ..question() }), "the window opens");
    let kept = kept_for(&question());
    let is_new = |question: &Question<'_>| asks(&kept, question, b"other") == (Bytes::from("other"), true);
    assert!(is_new(&Question { now: at(9), ..question() }), "a clock that was set back");
}

#[test]
fn a_health_report_makes_no_new_answer() {
    let (flags, before) = (flags(), record("finance", "gold"));
    let after = Arc::new(Record { tenant: before.tenant.clone(), health: None });
    let question = |record| Question {
        protocol: "a",
        bytes: b"f",
        record: Some(record),
        tier: None,
        flags: &flags,
        now: at(10),
    };
    let kept = kept_for(&question(&before));
    assert_eq!(asks(&kept, &question(&after), b"other"), (Bytes::from("first"), false));
}

#[test]
fn what_is_kept_has_a_bound_in_bytes() {
    let (kept, flags) = (KeptAnswers::default(), flags());
    let large = Answer::of_all(Bytes::from(vec![0; ANSWER_MAX / 2]));
    for number in 0..4 * BYTES_MAX / large.bytes.len() {
        let bytes = number.to_le_bytes();
        let question =
            Question { protocol: "a", bytes: &bytes, record: None, tier: None, flags: &flags, now: at(10) };
        for _ in 0..2 {
            kept.offer(&question, &large);
        }
        assert!(kept.bytes() <= BYTES_MAX, "{} bytes", kept.bytes());
    }
    assert!(kept.bytes() > BYTES_MAX / 2);
    let present = kept.0.places.iter().filter_map(|place| place.kept.load_full());
    assert_eq!(present.map(|kept| kept.bytes()).sum::<usize>(), kept.bytes(), "the count is true");
}

#[test]
fn too_large_an_answer_and_too_long_a_question_are_not_kept() {
    let (kept, flags) = (KeptAnswers::default(), flags());
    let (long, large) = (vec![0; QUESTION_MAX + 1], Answer::of_all(Bytes::from(vec![0; ANSWER_MAX])));
    for bytes in [&*long, b"short"] {
        let question =
            Question { protocol: "a", bytes, record: None, tier: None, flags: &flags, now: at(10) };
        for _ in 0..3 {
            kept.offer(&question, &large);
        }
    }
    assert_eq!(kept.bytes(), 0);
}
