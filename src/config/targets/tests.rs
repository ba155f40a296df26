//! Targets, as somebody writes them down.

use std::io::Write as _;

use super::*;
use crate::config::{Config, Flags, Loaded};

/// What the text of `--targets` leads to.
fn load(text: &str) -> Result<Loaded, String> {
    let flags = Flags { file: None, values: [("cascade.targets", text.to_owned())].into() };
    Config::load(&flags, |_| None).map_err(|error| error.to_string())
}

fn target(text: &str) -> Target {
    let targets = load(&format!("it = {{ {text} }}")).unwrap().config.cascade.targets;
    targets.get("it").unwrap().clone()
}

fn refusal(text: &str) -> String {
    load(&format!("it = {{ {text} }}")).err().unwrap_or_else(|| panic!("{text} was taken"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_target_can_be_a_table_of_the_file_or_a_flag_or_a_variable() {
    let kept =
        file("[cascade.targets.billing]\nkind = \"remote\"\nurl = \"http://billing:1\"\ndeadline = \"3s\"\n");
    let from_file = Flags { file: Some(kept.path().to_owned()), ..Flags::default() };
    let text = "billing = { kind = \"remote\", url = \"http://billing:1\", deadline = \"3s\" }";
    let one = Config::load(&from_file, |_| None).unwrap().config.cascade.targets;
    let two = load(text).unwrap().config.cascade.targets;
    let variable = |name: &str| (name == "TENANTRY_TARGETS").then(|| text.to_owned());
    let three = Config::load(&Flags::default(), variable).unwrap().config.cascade.targets;
    assert_eq!((&one, &one), (&two, &three));
    assert_eq!(one.get("billing").and_then(Target::deadline), Some(Duration::from_secs(3)));
    assert_eq!(one.get("postgres"), Some(&Target::Registry), "the default pair stays beside it");
}

#[test]
fn a_table_takes_the_place_of_a_default_pair_but_not_of_one_that_was_given() {
    let text = "postgres = { kind = \"remote\", url = \"http://there:1\" }".to_owned();
    let mut flags = Flags { file: None, values: [("cascade.targets", text)].into() };
    let loaded = Config::load(&flags, |_| None).unwrap();
    assert!(matches!(loaded.config.cascade.targets.get("postgres"), Some(Target::Remote(_))));
    flags.values.insert("cascade.participants", "postgres=postgres".to_owned());
    let message = Config::load(&flags, |_| None).err().unwrap().to_string();
    assert_eq!(
        message,
        "The flag `--participants` must be free of names that `cascade.targets` has too, but is `postgres`."
    );
}

#[test]
fn every_wrong_target_is_one_sentence_that_names_its_key() {
    for (text, wanted) in [
        (
            "url = \"http://a\"",
            "`cascade.targets.it.kind` in the flag `--targets` must be set, but is missing.",
        ),
        ("kind = \"mainframe\"", "`cascade.targets.it.kind` in the flag `--targets` must be one of "),
        (
            "kind = \"remote\"",
            ".url` in the flag `--targets` must be a URL of the form `http://host:port` or `https://host:port`, but is missing.",
        ),
        ("kind = \"remote\", url = 5", "must be a text in quotes, but is a number."),
        ("kind = \"remote\", url = \"ftp://a\"", "but is something else (not shown)."),
        (
            "kind = \"remote\", url = \"http://a\", deadlin = \"5s\"",
            ".deadlin` in the flag `--targets` is no setting of this kind of target; `deadline` is the nearest one.",
        ),
        (
            "kind = \"remote\", url = \"http://a\", deadline = \"5\"",
            "must be a time from `10ms` to `10m`, but is `5`.",
        ),
        ("kind = \"remote\", url = \"http://a\", ca_file = \"/ca\"", "given for a URL without TLS."),
        (
            "kind = \"remote\", url = \"https://a\", cert_file = \"/c\"",
            ".key_file` in the flag `--targets` must be set beside `cert_file`, but is missing.",
        ),
        (
            "kind = \"remote\", url = \"https://a\", ca_file = \"/nowhere\"",
            "must be a readable file, but is `/nowhere` (it cannot be found).",
        ),
        (
            "kind = \"remote\", url = \"http://a\", server_name = \"b\"",
            "must be left out, but is given for a URL without TLS.",
        ),
    ] {
        let message = refusal(text);
        assert!(message.contains(wanted), "{text}: {message}");
        assert!(message.ends_with('.') && !message.contains(". "), "one sentence: {message}");
    }
    for text in ["it = 5", "it", "It = { kind = \"remote\", url = \"http://a\" }"] {
        assert!(load(text).err().unwrap().starts_with("The flag `--targets` must be "), "{text}");
    }
}

#[test]
fn a_wrong_value_of_any_kind_of_target_is_told_by_its_key() {
    for (text, wanted) in [
        (
            "kind = \"redis\", url = \"http://a\"",
            "must be a URL of the form `redis://host:port` or `rediss://host:port`",
        ),
        ("kind = \"redis\", urls = []", "must be a list of 1 to 64 URLs, but is an empty list."),
        (
            "kind = \"redis\", url = \"redis://a\", urls = [\"redis://b\"]",
            "must be given alone, but is given beside `url`.",
        ),
        (
            "kind = \"redis\", urls = [\"redis://a\", \"redis://b\"]",
            "must be one URL, or `mode = \"cluster\"` set",
        ),
        (
            "kind = \"redis\", url = \"redis://a\", users = \"all\"",
            "must be one of `none`, `acl`, but is `all`.",
        ),
        (
            "kind = \"redis\", url = \"redis://a\", batch = 5",
            "must be a whole number from 10 to 10000, but is `5`.",
        ),
        (
            "kind = \"redis\", url = \"redis://a\", channel = \"a b\"",
            "must be up to 100 printable letters without spaces",
        ),
        (
            "kind = \"redis\", url = \"redis://a\", password = 5",
            ".password` in the flag `--targets` must be a text in quotes, but is a number.",
        ),
        (
            "kind = \"redis\", url = \"redis://a\", password = \"a\", password_file = \"/b\"",
            "must be given once, but is given beside `password_file`.",
        ),
        (
            "kind = \"alertmanager\", url = \"http://a\", username = \"ada\"",
            ".password` in the flag `--targets` must be set beside `username`, but is missing.",
        ),
        (
            "kind = \"alertmanager\", url = \"http://a\", label = \"1\"",
            "must be a label's name: letters, digits and `_`",
        ),
        (
            "kind = \"postgres\", url = \"http://a\"",
            "must be a PostgreSQL URL such as `postgres://user:password@host/name?sslmode=verify-full`, but is something else (not shown).",
        ),
        (
            "kind = \"postgres\", url = \"postgres://ada:s3cr3t@a/b\", password = \"a\"",
            ".password` in the flag `--targets` must be given once, but is given beside one in `url`.",
        ),
        (
            "kind = \"postgres\", url = \"postgres://a/b\", ca_file = \"/ca\"",
            "but is given for one with `sslmode=prefer`, which verifies nobody.",
        ),
        (
            "kind = \"postgres\", url = \"postgres://a/b?sslmode=verify-ca\", ca_file = \"/ca\"",
            "must be a readable file, but is `/ca` (it cannot be found).",
        ),
        (
            "kind = \"postgres\", url = \"postgres://a/b\", install = \"yes\"",
            "must be true or false without quotes",
        ),
    ] {
        let message = refusal(text);
        assert!(message.contains(wanted), "{text}: {message}");
    }
}

#[test]
fn a_secret_can_come_from_a_file_and_is_shown_nowhere() {
    let kept = file("s3cr3t\n");
    let text =
        format!("kind = \"redis\", url = \"redis://a\", password_file = \"{}\"", kept.path().display());
    let Target::Redis(redis) = target(&text) else { panic!("redis") };
    assert_eq!(redis.password.as_ref().map(|password| password.expose().as_str()), Some("s3cr3t"));
    let orders = format!(
        "kind = \"postgres\", url = \"postgres://ada@a/b\", password_file = \"{}\"",
        kept.path().display()
    );
    let Target::Postgres(postgres) = target(&orders) else { panic!("postgres") };
    assert_eq!(postgres.url.config().get_password(), Some(b"s3cr3t".as_slice()));
    for text in [
        text,
        orders,
        "kind = \"redis\", url = \"redis://ada:s3cr3t@a\", password = \"s3cr3t\"".to_owned(),
        "kind = \"redis\", mode = \"cluster\", urls = [\"redis://:s3cr3t@a\", \"redis://b\"]".to_owned(),
        "kind = \"alertmanager\", url = \"http://a\", token = \"s3cr3t\"".to_owned(),
        "kind = \"postgres\", url = \"postgres://ada:s3cr3t@a/b\"".to_owned(),
        "kind = \"remote\", url = \"http://a/b?token=s3cr3t\"".to_owned(),
    ] {
        let loaded = load(&format!("it = {{ {text} }}")).unwrap();
        let shown = format!("{}{:?}", loaded.render(), loaded.config);
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(!text.contains("s3cr3t") || shown.contains("****"), "{shown}");
    }
}

#[test]
fn certificates_are_read_from_their_files_and_looked_at() {
    let certificate = file("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    let key = file("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
    let (certificate, key) = (certificate.path().display(), key.path().display());
    for (files, key, words) in [
        (
            format!("cert_file = \"{certificate}\", key_file = \"{certificate}\""),
            "key_file",
            "is something else.",
        ),
        (
            format!("cert_file = \"{certificate}\", key_file = \"{key}\""),
            "key_file",
            "is one that cannot be read.",
        ),
        (format!("cert_file = \"{key}\", key_file = \"{key}\""), "cert_file", "is something else."),
        (format!("ca_file = \"{certificate}\""), "ca_file", "is one that cannot be read."),
    ] {
        let refusal = refusal(&format!("kind = \"remote\", url = \"https://a\", {files}"));
        assert!(refusal.contains(key) && refusal.ends_with(words), "{files}: {refusal}");
    }
}

#[test]
fn the_effective_configuration_masks_what_is_secret_in_a_target() {
    let text = "it = { kind = \"remote\", url = \"https://ada:s3cr3t@there:1/path\" }";
    let loaded = load(text).unwrap();
    let shown = loaded.render();
    assert!(shown.contains("[cascade.targets.it] # flag --targets"), "{shown}");
    assert!(shown.contains("url = \"https://ada:****@there:1/path\""), "{shown}");
    assert!(!shown.contains("s3cr3t") && !format!("{:?}", loaded.config).contains("s3cr3t"));
    assert!(shown.parse::<toml::Table>().is_ok(), "it is a configuration file: {shown}");
}

const STORE: &str =
    "kind = 's3', url = 'https://store:9000', deny = 'principals', principals = ['user/{tenant_id}']";

#[test]
fn an_object_store_needs_little_and_takes_much() {
    let Target::S3(least) = target(STORE) else { panic!("another kind") };
    assert_eq!((least.layout, least.keys, least.path_style), (s3::Layout::Prefix, None, true));
    assert_eq!(
        (least.region.as_str(), least.policy_bytes_max, least.purge_max),
        ("us-east-1", 20_480, 100_000)
    );
    let aws = STORE.replace("url = 'https://store:9000', ", "");
    let Target::S3(aws) = target(&aws) else { panic!("another kind") };
    assert_eq!((aws.endpoint, aws.path_style), (None, false));
    let more = "layout = 'bucket', bucket = 'b-{uid}', records_bucket = 'records', access_key = 'k', secret_key = 's', \
                policy_bytes_max = 4096, deadline = '2s'";
    let Target::S3(most) = target(&format!("{STORE}, {more}")) else { panic!("another kind") };
    let records = "records".to_owned();
    assert_eq!(most.layout, s3::Layout::Bucket { name: "b-{uid}".to_owned(), records });
    assert_eq!(most.keys.unwrap().secret_key.expose(), "s");
    assert_eq!((most.policy_bytes_max, most.deadline), (4_096, Some(Duration::from_secs(2))));
}

#[test]
fn an_object_store_that_could_hit_two_tenants_at_once_is_refused() {
    let with = |more: &str| format!("{STORE}, {more}");
    for (text, key) in [
        (STORE.replace("user/{tenant_id}", "user/all"), "principals"),
        (STORE.replace("['user/{tenant_id}']", "[]"), "principals"),
        (STORE.replace("['user/{tenant_id}']", "['{uid}', '*']"), "principals"),
        (STORE.replace("deny = 'principals', ", ""), "deny"),
        (with("layout = 'bucket', records_bucket = 'r', bucket = 'all'"), "bucket"),
        (with("layout = 'bucket', records_bucket = 'r', bucket = 'b-{tenant_id}'"), "bucket"),
        (with("layout = 'bucket'"), "records_bucket"),
        (with("access_key = 'k'"), "secret_key"),
        (with("secret_key = 'k'"), "access_key"),
        (with("neighbour_key = 'public/hello'"), "neighbour_key"),
        (with("policy_bytes_max = 10"), "policy_bytes_max"),
        (with("purge_max = 1"), "purge_max"),
        (STORE.replace("https:", "ftp:"), "url"),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(&format!("cascade.targets.it.{key}`")), "{key}: {refusal}");
        assert!(!refusal.trim_end_matches('.').contains(". "), "one sentence: {refusal}");
    }
}

/// Each on the same store as the first, by another of its names.
fn stores(layouts: &[&str]) -> String {
    let urls = ["https://localhost:9000", "https://127.0.0.1:9000", "https://[::1]:9000/"];
    let tables = layouts.iter().zip(urls).enumerate().map(|(number, (layout, url))| {
        format!("s{number} = {{ {}, {layout} }}\n", STORE.replace("https://store:9000", url))
    });
    tables.collect()
}

const SHARED: &str = "layout = 'prefix'";
const OWN: &str = "layout = 'bucket', records_bucket = 'records'";

#[test]
fn two_targets_in_one_place_of_an_object_store_are_refused_with_what_is_the_same() {
    let own = |bucket: &str, records: &str| {
        format!("layout = 'bucket', bucket = '{bucket}', records_bucket = '{records}'")
    };
    for (one, other, words) in [
        (SHARED.to_owned(), SHARED.to_owned(), "both have `layout = \"prefix\"`"),
        (SHARED.to_owned(), own("t-{uid}", "tenants"), "`records_bucket` of one is `tenants`"),
        (OWN.to_owned(), OWN.to_owned(), "`t-{uid}` of one and `t-{uid}` of the other"),
        (OWN.to_owned(), own("{tenant_id}-{uid}", "others"), "`t-{uid}` of one and `{tenant_id}-{uid}`"),
        (OWN.to_owned(), own("b-{uid}", "records"), "`records` of one and `records` of the other"),
        (OWN.to_owned(), own("b-{uid}", "t-0198c0dea1b27c3d8e4f5a6b7c8d9e0f"), "`t-{uid}` of one"),
    ] {
        let refusal = load(&stores(&[&one, &other])).err().unwrap_or_else(|| panic!("{one} {other}"));
        for words in [words, "`cascade.targets.s0`", "`cascade.targets.s1`"] {
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
        // Somewhere else they may be the same.
        let apart = stores(&[&one, &other]).replace("127.0.0.1:9000", "elsewhere:9000");
        assert!(load(&apart).is_ok(), "{apart}");
    }
    let itself = refusal(&format!("{STORE}, {}", own("t-{uid}", "t-0198c0dea1b27c3d8e4f5a6b7c8d9e0f")));
    assert!(itself.contains("cascade.targets.it.records_bucket"), "{itself}");
    let aws = stores(&[OWN, OWN]).replace("url = 'https://localhost:9000', ", "");
    let aws = aws.replace("url = 'https://127.0.0.1:9000'", "region = 'eu-west-1'");
    assert!(load(&aws).err().unwrap().contains("the same object store"), "AWS is one, whatever the region");
}

#[test]
fn an_object_store_knows_which_buckets_are_others_own() {
    let other = "layout = 'bucket', bucket = 'b-{uid}', records_bucket = 'more'";
    let targets = load(&stores(&[SHARED, OWN, other])).unwrap().config.cascade.targets;
    let taken = |name: &str| match &targets[name] {
        Target::S3(settings) => {
            settings.taken.iter().map(|taken| format!("{} {}", taken.target, taken.names)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(taken("s0"), ["s1 t-{uid}", "s1 records", "s2 b-{uid}", "s2 more"]);
    assert_eq!(taken("s1"), ["s2 b-{uid}", "s2 more"]);
}

const VECTORS: &str = "kind = 'qdrant', url = 'http://vectors:6334', vector_size = 768";

#[test]
fn a_vector_database_needs_its_place_and_size() {
    let Target::Qdrant(least) = target(VECTORS) else { panic!("another kind") };
    assert_eq!((least.records.as_str(), least.collection.as_str()), ("tenantry.records", "t.{uid}"));
    assert_eq!((least.vector_size, least.replication_factor, least.api_key), (768, 1, None));
    assert_eq!(least.distance, qdrant::Distance::Cosine);
    let key = file("k");
    let more = format!("{VECTORS}, api_key_file = {:?}, distance = 'dot', deadline = '2s'", key.path());
    let Target::Qdrant(most) = target(&more) else { panic!("another kind") };
    assert_eq!((most.api_key.unwrap().expose().as_str(), most.distance), ("k", qdrant::Distance::Dot));
    let shown = load(&format!("it = {{ {VECTORS}, api_key = 's3cr3t' }}")).unwrap();
    assert!(!shown.render().contains("s3cr3t") && !format!("{:?}", shown.config).contains("s3cr3t"));
}

#[test]
fn a_vector_database_in_which_tenants_could_meet_is_refused() {
    let with = |more: &str| format!("{VECTORS}, {more}");
    for (text, key) in [
        (VECTORS.replace(", vector_size = 768", ""), "vector_size"),
        (VECTORS.replace("768", "0"), "vector_size"),
        // A tenant's namespace could be the same.
        (with("records = 'records'"), "records"),
        (with("collection = 't-{uid}'"), "collection"),
        // All tenants would have one.
        (with("collection = 'all.tenants'"), "collection"),
        (with("collection = 'a/b.{uid}'"), "collection"),
        (with("distance = 'near'"), "distance"),
        (with("replication_factor = 0"), "replication_factor"),
        (with("server_name = 'vectors'"), "server_name"),
        (with("ca_file = '/etc/ca.pem'"), "ca_file"),
        (VECTORS.replace("http:", "redis:"), "url"),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(&format!("cascade.targets.it.{key}`")), "{key}: {refusal}");
        assert!(!refusal.trim_end_matches('.').contains(". "), "one sentence: {refusal}");
    }
}

#[test]
fn a_place_is_told_by_what_decides_it_and_by_no_address() {
    let s3 = "kind = \"s3\", deny = \"principals\", principals = [\"{uid}\"]";
    let qdrant = "kind = \"qdrant\", vector_size = 4";
    for (text, place) in [
        (s3.to_owned(), "layout prefix"),
        (format!("{s3}, url = \"http://a\", region = \"b\""), "layout prefix"),
        (
            format!("{s3}, layout = \"bucket\", records_bucket = \"r\""),
            "layout bucket, bucket t-{uid}, records_bucket r",
        ),
        (
            format!("{s3}, layout = \"bucket\", bucket = \"b.{{uid}}\", records_bucket = \"r\""),
            "layout bucket, bucket b.{uid}, records_bucket r",
        ),
        (format!("{qdrant}, url = \"http://a\""), "collection t.{uid}, records tenantry.records"),
        (
            format!("{qdrant}, url = \"http://b\", collection = \"c.{{uid}}\", records = \"our.own\""),
            "collection c.{uid}, records our.own",
        ),
        ("kind = \"redis\", url = \"redis://a\"".to_owned(), "status_prefix tenantry:tenant:, users none"),
        (
            "kind = \"redis\", url = \"redis://b\", users = \"acl\", status_prefix = \"s:\", user_prefix = \"u-\""
                .to_owned(),
            "status_prefix s:, users acl, user_prefix u-",
        ),
    ] {
        assert_eq!(target(&text).place().as_deref(), Some(place), "{text}");
        // What somebody copies from the error is what it was.
        let moved = target(&format!("{text}, moved_from = '{place}'"));
        assert_eq!((moved.place().as_deref(), moved.moved_from()), (Some(place), Some(place)));
    }
    assert_eq!(target("kind = \"remote\", url = \"http://a\"").place(), None);
    assert!(refusal("kind = \"remote\", url = \"http://a\", moved_from = \"b\"").contains("moved_from"));
}
