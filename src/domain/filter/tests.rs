//! Filters and orders as their users write them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tenant::{SCHEMA, TenantField};
use super::*;

#[derive(Clone)]
struct Row {
    id: &'static str,
    name: &'static str,
    status: &'static str,
    tier: &'static str,
    score: f64,
    region: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
    created: &'static str,
    frameworks: &'static [&'static str],
}

impl Record for Row {
    fn field(&self, id: FieldId) -> FieldValue<'_> {
        match TenantField::from_id(id) {
            Some(TenantField::TenantId) => FieldValue::Text(self.id),
            Some(TenantField::DisplayName) => FieldValue::Text(self.name),
            Some(TenantField::Status) => FieldValue::Text(self.status),
            Some(TenantField::Tier) => FieldValue::Text(self.tier),
            Some(TenantField::HealthScore) => FieldValue::Number(self.score),
            Some(TenantField::Region) => FieldValue::Text(self.region),
            Some(TenantField::CreateTime) => FieldValue::Time(self.created.parse().unwrap()),
            _ => FieldValue::Absent,
        }
    }

    fn entry(&self, id: FieldId, key: &str) -> Option<&str> {
        (id == TenantField::Labels.id()).then(|| self.labels.get(key).copied()).flatten()
    }

    fn has_any(&self, id: FieldId) -> bool {
        (id == TenantField::Labels.id() && !self.labels.is_empty())
            || (id == TenantField::ComplianceFrameworks.id() && !self.frameworks.is_empty())
    }

    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool {
        id == TenantField::ComplianceFrameworks.id() && self.frameworks.iter().any(|item| test(item))
    }
}

fn rows() -> Vec<Row> {
    let finance = Row {
        id: "finance",
        name: "Finance Department",
        status: "ACTIVE",
        tier: "platinum",
        score: 90.0,
        region: "eu-west-1",
        labels: BTreeMap::from([("team", "ledger"), ("example.com/env", "prod")]),
        created: "2026-01-01T00:00:00Z",
        frameworks: &["SOX", "GDPR"],
    };
    vec![
        finance.clone(),
        Row {
            id: "hr",
            name: "HR Operations",
            status: "SUSPENDED",
            tier: "gold",
            score: 10.0,
            region: "",
            labels: BTreeMap::from([("team", "")]),
            created: "2026-02-01T00:00:00Z",
            frameworks: &["GDPR"],
        },
        Row {
            id: "marketing",
            name: "Größe \"XL\" 5*",
            status: "ACTIVE",
            tier: "silver",
            score: 0.0,
            region: "us-east-1",
            labels: BTreeMap::new(),
            created: "2026-03-01T00:00:00Z",
            frameworks: &[],
        },
    ]
}

fn found(filter: &str) -> String {
    let filter = Filter::parse(filter, &SCHEMA).unwrap_or_else(|refusal| panic!("{filter}: {refusal}"));
    rows().iter().filter(|row| filter.matches(*row)).map(|row| row.id).collect::<Vec<_>>().join(" ")
}

fn refused(filter: &str) -> String {
    Filter::parse(filter, &SCHEMA).unwrap_err().to_string()
}

#[test]
fn an_empty_filter_matches_everything() {
    for empty in ["", "  \t\n"] {
        assert_eq!(found(empty), "finance hr marketing");
        assert!(Filter::parse(empty, &SCHEMA).unwrap().is_all());
    }
    assert!(Filter::ALL.matches(&rows()[0]));
}

#[test]
fn text_is_compared_exactly_or_in_order() {
    assert_eq!(found(r#"tier = "gold""#), "hr");
    assert_eq!(found("tier = gold"), "hr");
    assert_eq!(found("tier = 'gold'"), "hr");
    assert_eq!(found("tier=gold"), "hr");
    assert_eq!(found("tier = Gold"), "");
    assert_eq!(found("tier != gold"), "finance marketing");
    assert_eq!(found("tier > gold"), "finance marketing");
    assert_eq!(found("tier <= gold"), "hr");
    assert_eq!(found(r#"region = """#), "hr");
    assert_eq!(found(r#"owner = """#), "finance hr marketing", "unset text is empty");
}

#[test]
fn a_star_at_either_end_stands_for_other_text() {
    assert_eq!(found(r#"region = "eu-*""#), "finance");
    assert_eq!(found("region = *-1"), "finance marketing");
    assert_eq!(found(r#"region = "*-west-*""#), "finance");
    assert_eq!(found("region != eu-*"), "hr marketing");
    assert_eq!(found("region = *"), "finance marketing", "anything but nothing");
    assert_eq!(found(r#"display_name = "*5\*""#), "marketing");
    assert!(refused(r#"region = "e*u""#).contains("only at the start or end"));
    assert!(refused("tier > g*").contains("a * can be used with =, != and : only"));
}

#[test]
fn has_on_text_finds_it_anywhere_whatever_the_case() {
    assert_eq!(found("display_name:operations"), "hr");
    assert_eq!(found("display_name:GRÖSSE"), "");
    assert_eq!(found("display_name:GRÖ"), "marketing");
    assert_eq!(found("region:*"), "finance marketing");
    assert_eq!(found("owner:*"), "");
}

#[test]
fn enum_names_are_read_in_either_case_and_checked() {
    assert_eq!(found("status = active"), "finance marketing");
    assert_eq!(found("status:ACTIVE"), "finance marketing");
    assert_eq!(found("status != ACTIVE"), "hr");
    assert_eq!(
        refused("status = ACTIV"),
        "\"ACTIV\" is no status; it is one of PROVISIONING, ACTIVE, SUSPENDED, MIGRATING, ARCHIVED, DELETED (at character 10)"
    );
    assert_eq!(refused("status > ACTIVE"), "status has no order; compare it with = or != (at character 10)");
}

#[test]
fn numbers_are_compared_as_numbers() {
    assert_eq!(found("health_score < 80"), "hr marketing");
    assert_eq!(found("health_score >= 10.0"), "finance hr");
    assert_eq!(found("health_score = 1e1"), "hr");
    assert_eq!(found("health_score != 10"), "finance marketing");
    assert_eq!(found("health_score > -5"), "finance hr marketing");
    for none in ["ten", "nan", "inf", "\"\"", "1e999", "0x10", "--1"] {
        assert!(refused(&format!("health_score = {none}")).contains("is compared with a number"), "{none}");
    }
}

#[test]
fn times_are_rfc_3339_with_or_without_quotes() {
    assert_eq!(found(r#"create_time >= "2026-02-01T00:00:00Z""#), "hr marketing");
    assert_eq!(found("create_time < 2026-02-01T01:00:00+01:00"), "finance");
    assert_eq!(found("create_time = 2026-02-01T00:00:00Z"), "hr");
    assert_eq!(found("update_time < 2030-01-01T00:00:00Z"), "", "unset is neither before nor after");
    assert!(refused("create_time > yesterday").contains("a time in RFC 3339"));
    assert_eq!(found("create_time < \"9999-12-31T23:59:59Z\""), "finance hr marketing");
    assert_eq!(found("create_time > 9999-12-31T23:59:59.5-12:00"), "");
    for none in ["9999-12-31", "9999-12-31T23:59:59", "10000-01-01T00:00:00Z", "9999-12-32T00:00:00Z"] {
        assert!(refused(&format!("create_time < \"{none}\"")).contains("a time in RFC 3339"), "{none}");
    }
}

#[test]
fn labels_are_asked_by_key() {
    assert_eq!(found("labels:team"), "finance hr");
    assert_eq!(found("labels.team:*"), "finance hr");
    assert_eq!(found("labels.team = ledger"), "finance");
    assert_eq!(found("labels.team:ledger"), "finance");
    assert_eq!(found("labels.team = led*"), "finance");
    assert_eq!(found("labels.team = \"\""), "hr", "a missing label is not an empty one");
    assert_eq!(found("labels.team != ledger"), "hr marketing");
    assert_eq!(found("-labels:team"), "marketing");
    assert_eq!(found("labels.example.com/env = prod"), "finance");
    assert_eq!(found(r#"labels."example.com/env" = "prod""#), "finance");
    assert_eq!(found("labels:\"example.com/env\""), "finance");
    assert_eq!(found("labels:*"), "finance hr");
    assert!(refused("labels = team").contains("labels:key"));
    assert!(refused("labels. = x").contains("a key is missing"));
    assert!(refused("tier.x = y").contains("tier has no keys"));
}

#[test]
fn lists_are_asked_for_an_item() {
    assert_eq!(found("compliance_frameworks:GDPR"), "finance hr");
    assert_eq!(found("compliance_frameworks:S*"), "finance");
    assert_eq!(found("compliance_frameworks:*"), "finance hr");
    assert!(refused("compliance_frameworks = GDPR").contains("compliance_frameworks:\"value\""));
}

#[test]
fn or_binds_tighter_than_and_and_a_space_is_and() {
    assert_eq!(found("tier = gold OR tier = silver AND status = ACTIVE"), "marketing");
    assert_eq!(found("tier = gold OR (tier = silver AND status = ACTIVE)"), "hr marketing");
    assert_eq!(found("status = ACTIVE tier = silver"), "marketing");
    assert_eq!(found("status = ACTIVE tier = silver OR tier = gold"), "marketing");
    assert_eq!(found("status=ACTIVE AND tier=platinum health_score>50"), "finance");
}

#[test]
fn not_and_minus_negate_one_term() {
    assert_eq!(found("NOT status = ACTIVE"), "hr");
    assert_eq!(found("-status = ACTIVE"), "hr");
    assert_eq!(found("NOT (tier = gold OR tier = silver)"), "finance");
    assert_eq!(found("-(tier = gold OR tier = silver)"), "finance");
    assert_eq!(found("NOT tier = gold tier != silver"), "finance");
}

#[test]
fn quotes_take_escapes() {
    assert_eq!(found(r#"display_name = "Größe \"XL\" 5\*""#), "marketing");
    assert_eq!(found(r#"display_name = 'Größe "XL" 5\*'"#), "marketing");
    assert_eq!(
        refused(r#"tier = "a\x""#),
        r#"a backslash is followed by ", ', \, *, n or t (at character 10)"#
    );
    assert_eq!(refused(r#"tier = "gold"#), "the quotes that open here are not closed (at character 8)");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (filter, sentence) in [
        (
            "tier",
            "\"tier\" needs an operator and a value after it, for example tier = \"…\" (at character 1)",
        ),
        ("tier =", "a value is missing after the operator (at character 7)"),
        ("= gold", "a field's name is missing before this operator (at character 1)"),
        ("\"gold\"", "a comparison starts with a field's name, for example tier = \"gold\" (at character 1)"),
        ("(tier = gold", "the parenthesis that opens here is not closed (at character 1)"),
        ("tier = gold)", "this closing parenthesis closes nothing (at character 12)"),
        ("()", "there is nothing between these parentheses (at character 2)"),
        ("tier = gold AND", "a comparison is missing after AND (at character 16)"),
        ("tier = gold OR", "the text ends where a comparison is expected (at character 15)"),
        ("AND tier = gold", "AND stands where a comparison is expected (at character 1)"),
        ("tier = gold and status = ACTIVE", "AND is written in capitals (at character 13)"),
        ("tier ! gold", "\"!\" has no meaning here; put text in double quotes (at character 6)"),
        ("größe = 1 ; x", "\";\" has no meaning here; put text in double quotes (at character 11)"),
        ("NOT NOT tier = gold", "NOT stands where a comparison is expected (at character 5)"),
    ] {
        assert_eq!(refused(filter), sentence);
    }
    assert!(
        refused("nosuch = 1")
            .starts_with("there is no field \"nosuch\"; the fields are tenant_id, display_name,")
    );
}

#[test]
fn length_depth_and_terms_are_bounded() {
    let nested = |depth: usize| format!("{}tier = gold{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(found(&nested(32)), "hr");
    assert!(refused(&nested(33)).contains("more than 32 deep"));
    assert!(refused(&"(".repeat(4000)).contains("more than 32 deep"));
    assert!(Filter::parse(&["tier=a"; 128].join(" "), &SCHEMA).is_ok());
    assert!(refused(&["tier=a"; 129].join(" ")).contains("more than 128 comparisons"));
    assert!(refused(&" ".repeat(4097)).contains("at most 4096"));
    let siblings = ["(tier = gold)"; 100].join(" ");
    assert_eq!(found(&siblings), "hr", "closed parentheses do not count");
}

fn ordered(order: &str) -> String {
    let order = OrderBy::parse(order, &SCHEMA).unwrap();
    let mut rows = rows();
    rows.sort_by(|a, b| order.compare(a, b));
    rows.iter().map(|row| row.id).collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_are_ordered_by_up_to_four_fields_and_at_last_by_id() {
    assert_eq!(ordered(""), "finance hr marketing");
    assert_eq!(ordered("tenant_id desc"), "marketing hr finance");
    assert_eq!(ordered("health_score"), "marketing hr finance");
    assert_eq!(ordered("status, health_score DESC"), "finance marketing hr");
    assert_eq!(ordered(" region  asc ,create_time desc "), "hr finance marketing");
    assert_eq!(ordered("owner"), "finance hr marketing", "ties are broken by id");
    let keys = |order| OrderBy::parse(order, &SCHEMA).unwrap().keys().len();
    assert_eq!(
        (keys("tier"), keys("tenant_id"), keys("tenant_id, tier"), keys("tier, region, owner, parent")),
        (2, 1, 1, 5)
    );
}

#[test]
fn orders_that_cannot_be_are_refused_with_a_sentence() {
    let refused = |order: &str| OrderBy::parse(order, &SCHEMA).unwrap_err().to_string();
    let listed = refused("labels");
    assert!(
        listed.starts_with("there is no order by labels; order by tenant_id, display_name, status,"),
        "{listed}"
    );
    for field in SCHEMA.fields {
        let is_listed = listed.split([' ', ',']).skip(8).any(|name| name == field.name);
        assert_eq!(is_listed, field.orderable, "{} in {listed}", field.name);
    }
    assert_eq!(refused("tier, tier desc"), "tier is named twice (at character 7)");
    assert_eq!(refused("tier up"), "tier is followed by asc or desc, not by \"up\" (at character 1)");
    assert_eq!(refused("tier asc region"), "a comma is missing before \"region\" (at character 1)");
    assert_eq!(refused("tier,,region"), "a field's name is missing (at character 6)");
    assert_eq!(
        refused("tier, region, owner, parent, status"),
        "there are more than 4 fields (at character 30)"
    );
    assert!(refused("nosuch").starts_with("there is no field \"nosuch\""));
}

/// Filters as a grammar makes them, beside what they must answer for a row.
fn some_filter() -> impl Strategy<Value = (String, bool)> {
    // Answers are for the row hr: tier gold, score 10, status SUSPENDED.
    let leaf = prop_oneof![
        (0..20_i32).prop_map(|n| (format!("health_score < {n}"), 10 < n)),
        (0..20_i32).prop_map(|n| (format!("health_score>={n}"), 10 >= n)),
        prop::sample::select(vec!["gold", "silver"]).prop_map(|t| (format!("tier = \"{t}\""), t == "gold")),
        prop::sample::select(vec!["active", "SUSPENDED"])
            .prop_map(|s| (format!("status != {s}"), s == "active")),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) AND ({b})"), x && y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) ({b})"), x && y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) OR ({b})"), x || y)),
            inner.clone().prop_map(|(a, x)| (format!("NOT ({a})"), !x)),
            inner.prop_map(|(a, x)| (format!("-({a})"), !x)),
        ]
    })
}

proptest! {
    #[test]
    fn generated_filters_mean_what_they_say((filter, expected) in some_filter()) {
        prop_assume!(filter.len() <= LENGTH_MAX);
        prop_assert_eq!(Filter::parse(&filter, &SCHEMA).unwrap().matches(&rows()[1]), expected, "{}", filter);
    }

    #[test]
    fn no_text_breaks_the_reader(text in any::<String>(), soup in r#"[a-z_"'*\\().:=<>!-]{0,60}"#) {
        for text in [text, soup] {
            for refusal in [Filter::parse(&text, &SCHEMA).err(), OrderBy::parse(&text, &SCHEMA).err()].into_iter().flatten() {
                prop_assert!(refusal.position >= 1 && refusal.position <= text.chars().count() + 1);
                prop_assert!(!refusal.why.contains(|c: char| c.is_control()));
                prop_assert!(refusal.why.len() < 1_000);
            }
        }
    }
}
