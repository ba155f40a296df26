use proptest::prelude::*;

use super::*;

fn claim(kind: NameKind, name: &str) -> Claim {
    Claim { kind, name: name.into() }
}

fn chosen(change: impl FnOnce(&mut ChosenNames)) -> ChosenNames {
    let mut names = ChosenNames::default();
    change(&mut names);
    names
}

fn faults(change: impl FnOnce(&mut ChosenNames)) -> Vec<String> {
    let violations = chosen(change).violations(&TenantId::parse("finance").unwrap());
    violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn prefixes_meet_where_one_lies_in_the_other_and_only_there() {
    let meet = |a: &str, b: &str| claim(NameKind::CachePrefix, a).meets(&claim(NameKind::CachePrefix, b));
    assert!(meet("a:", "a:") && meet("a:", "a:b:") && meet("a:b:", "a:"));
    assert!(!meet("a:", "ab:") && !meet("a:", "a-b:") && !meet("a:b:", "a:c:"));
    let schema = |name| claim(NameKind::DatabaseSchema, name);
    assert!(schema("a").meets(&schema("a")) && !schema("a").meets(&schema("a_b")));
    assert!(!schema("a").meets(&claim(NameKind::VectorNamespace, "a")), "each kind is a space of its own");
}

#[test]
fn a_bucket_belongs_to_the_name() {
    let id = TenantId::parse("finance").unwrap();
    let place = |bucket: &str, prefix: &str| {
        let names = chosen(|names| {
            bucket.clone_into(&mut names.bucket);
            prefix.clone_into(&mut names.bucket_prefix);
        });
        names.complete(&id, Uuid::nil()).unwrap().claims()[2].clone()
    };
    assert!(place("one", "a/").meets(&place("one", "a/b/")));
    assert!(!place("one", "a/").meets(&place("two", "a/")));
    // A bucket without a prefix of its own holds the derived one.
    assert_eq!(&*place("one", "").name, "one/t/00000000000000000000000000000000/");
    assert!(place("one", "t/").meets(&place("one", "")));
}

#[test]
fn nothing_chosen_is_derived_or_reaches_what_is() {
    let uid = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        faults(|names| names.database_schema = format!("t_{uid}")),
        ["resource_names.database_schema"]
    );
    assert_eq!(
        faults(|names| names.vector_namespace = format!("t-{uid}")),
        ["resource_names.vector_namespace"]
    );
    for prefix in ["t:".to_owned(), format!("t:{uid}:"), format!("t:{uid}:deeper:")] {
        assert_eq!(faults(|names| names.cache_prefix = prefix), ["resource_names.cache_prefix"]);
    }
    for prefix in
        ["t/".to_owned(), format!("t/{uid}/"), format!("t/{uid}/deeper/"), ".tenantry/x/".to_owned()]
    {
        assert_eq!(faults(|names| names.bucket_prefix = prefix), ["resource_names.bucket_prefix"]);
    }
    assert_eq!(faults(|names| names.cache_prefix = "tenantry:".to_owned()), ["resource_names.cache_prefix"]);
    assert!(faults(|names| names.cache_prefix = "t:acme:".to_owned()).is_empty());
    assert!(faults(|names| names.cache_prefix = format!("t:{uid}x:")).is_empty());
    let own_bucket = |names: &mut ChosenNames| {
        "own".clone_into(&mut names.bucket);
        "t/".clone_into(&mut names.bucket_prefix);
    };
    assert!(faults(own_bucket).is_empty(), "in a bucket of its own nothing else is derived");
}

#[test]
fn no_tenant_has_a_schema_that_is_there_for_all() {
    for schema in ["public", "information_schema", "tenancy", "pg_catalog", "pg_toast", "pg_mine"] {
        let found = faults(|names| schema.clone_into(&mut names.database_schema));
        assert_eq!(found, ["resource_names.database_schema"], "{schema}");
    }
    for schema in ["finance", "publication", "public_1", "tenancy_1", "pgmine"] {
        assert!(faults(|names| schema.clone_into(&mut names.database_schema)).is_empty(), "{schema}");
    }
}

proptest! {
    #[test]
    fn looking_at_the_neighbours_finds_whatever_looking_at_all_would(
        names in proptest::collection::vec("(a|b|-|ab|a-b):((a|b):){0,3}", 1..40),
        kinds in proptest::collection::vec(0_usize..5, 40),
    ) {
        let mut held = OrdMap::new();
        for (name, kind) in names.iter().zip(kinds) {
            let new = claim(NameKind::ALL[kind], name);
            let all = held.keys().any(|other: &Claim| new.meets(other));
            prop_assert_eq!(new.is_taken(&held), all);
            if !all {
                held.insert(new, ());
            }
        }
    }
}
