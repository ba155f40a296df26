//! The layers and the messages, as a user meets them.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, time::Duration};

use super::{targets::Remote, *};

fn flags(pairs: &[(&'static str, &str)]) -> Flags {
    Flags { file: None, values: pairs.iter().map(|(key, text)| (*key, (*text).to_owned())).collect() }
}

fn env(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let map: BTreeMap<String, String> =
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    move |name| map.get(name).cloned()
}

fn file(text: &str) -> (tempfile::NamedTempFile, PathBuf) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_owned();
    (file, path)
}

fn refusal(flags: &Flags, variables: &[(&str, &str)]) -> String {
    Config::load(flags, env(variables)).map(|loaded| loaded.config).unwrap_err().to_string()
}

#[test]
fn without_any_input_the_defaults_hold() {
    let config = Config::load(&Flags::default(), env(&[])).unwrap().config;
    assert_eq!(config.server.grpc_listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.server.http_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.decode_limit_bytes, 1 << 20);
    assert!(config.server.threads >= 1);
    assert!(!config.server.insecure_no_auth);
    assert_eq!(config.database.pool_size, 8);
    assert_eq!(config.view.poll_interval, Duration::from_millis(200));
    assert_eq!(config.cascade.lease, Duration::from_secs(10));
    assert_eq!(config.cascade.targets.get("postgres"), Some(&Target::Registry));
    assert_eq!(config.dev.data_dir, PathBuf::from(".tenantry"));
    assert!(!config.dev.data_dir_chosen);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let (_keep, path) =
        file("[database]\npool_size = 2\nconnect_timeout = \"7s\"\nstatement_timeout = \"9s\"\n");
    let mut given = flags(&[("database.pool_size", "4")]);
    given.file = Some(path);
    let variables = [("TENANTRY_DATABASE_POOL_SIZE", "3"), ("TENANTRY_DATABASE_CONNECT_TIMEOUT", "8s")];
    let database = Config::load(&given, env(&variables)).unwrap().config.database;
    assert_eq!(database.pool_size, 4);
    assert_eq!(database.connect_timeout, Duration::from_secs(8));
    assert_eq!(database.statement_timeout, Duration::from_secs(9));
    assert_eq!(database.tcp_user_timeout, Duration::from_secs(10));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let loaded = Config::load(&Flags::default(), env(&[("TENANTRY_THREADS", ""), ("TENANTRY_CONFIG", "")]));
    assert!(loaded.is_ok());
}

#[test]
fn participants_come_from_a_table_or_from_pairs() {
    let (_keep, path) =
        file("[cascade.participants]\npostgres = \"postgres\"\ncache = \"http://127.0.0.1:7001\"\n");
    let from_file = Flags { file: Some(path), ..Flags::default() };
    let from_flag = flags(&[("cascade.participants", "postgres=postgres, cache=http://127.0.0.1:7001")]);
    let one = Config::load(&from_file, env(&[])).unwrap().config.cascade.targets;
    let two = Config::load(&from_flag, env(&[])).unwrap().config.cascade.targets;
    assert_eq!(one, two);
    assert_eq!(one.get("cache"), Remote::at("http://127.0.0.1:7001").map(Target::Remote).as_ref());
}

#[test]
fn a_bad_value_is_one_sentence_that_names_where_it_was_given() {
    assert_eq!(
        refusal(&flags(&[("server.grpc_listen", "nowhere")]), &[]),
        "The flag `--grpc-listen` must be an address of the form `127.0.0.1:8080`, but is `nowhere`."
    );
    assert_eq!(
        refusal(&Flags::default(), &[("TENANTRY_DATABASE_POOL_SIZE", "0")]),
        "The environment variable `TENANTRY_DATABASE_POOL_SIZE` must be a whole number from 1 to 1000, but is `0`."
    );
    let (_keep, path) = file("[view]\npoll_interval = \"fast\"\n");
    let message = refusal(&Flags { file: Some(path.clone()), ..Flags::default() }, &[]);
    assert!(message.starts_with(&format!("`view.poll_interval` in the file `{}` must be", path.display())));
    assert!(message.ends_with("but is `fast`."), "{message}");
}

#[test]
fn every_kind_of_wrong_value_is_refused() {
    for (key, text) in [
        ("server.max_connections", "-1"),
        ("server.decode_limit_bytes", "1GiB"),
        ("server.unary_deadline", "10"),
        ("server.insecure_no_auth", "yes"),
        ("server.threads", "1025"),
        ("view.stale_after", "1ms"),
        ("cascade.max_attempts", "99999999999"),
        ("cascade.participants", "cache"),
        ("cascade.participants", "Cache=http://a"),
        ("cascade.participants", "cache=ftp://a"),
        ("cascade.participants", "cache=http://user:pass@a"),
        ("cascade.participants", "a=postgres,a=postgres"),
        ("telemetry.log_format", "xml"),
        ("telemetry.log_filter", "tenantry=loudest"),
        ("telemetry.otlp_endpoint", "collector:4317"),
        ("dev.postgres_port", "65536"),
        ("dev.seed_catalogue", "gold"),
    ] {
        let message = refusal(&flags(&[(key, text)]), &[]);
        assert!(message.contains("The flag `--"), "{key}={text}: {message}");
    }
}

#[test]
fn a_view_cannot_be_stale_sooner_than_it_polls() {
    let message = refusal(&flags(&[("view.poll_interval", "5s"), ("view.stale_after", "1s")]), &[]);
    assert!(message.contains("must be longer than"), "{message}");
}

#[test]
fn a_refused_database_url_is_never_shown() {
    let message = refusal(&flags(&[("database.url", "postgres//ada:s3cr3t@db/registry")]), &[]);
    assert!(message.starts_with("The flag `--database-url` must be a PostgreSQL URL"), "{message}");
    assert!(!message.contains("s3cr3t"), "{message}");
}

#[test]
fn a_missing_or_malformed_file_is_one_sentence() {
    let missing = Flags { file: Some("/nowhere/tenantry.toml".into()), ..Flags::default() };
    assert_eq!(
        refusal(&missing, &[]),
        "The configuration file `/nowhere/tenantry.toml` cannot be read: there is no such file."
    );
    let (_keep, path) = file("[server]\nthreads = \n");
    let message = refusal(&Flags { file: Some(path), ..Flags::default() }, &[]);
    assert!(message.ends_with("is not valid TOML at line 2."), "{message}");
}

#[test]
fn a_misspelt_file_key_is_refused_with_the_nearest_known_one() {
    let (_keep, path) = file("[server]\ngrp_listen = \"127.0.0.1:1\"\n");
    let message = refusal(&Flags { file: Some(path), ..Flags::default() }, &[]);
    assert!(message.ends_with(
        "sets `server.grp_listen`, which is no setting; `server.grpc_listen` is the nearest one."
    ));
    let (_keep, path) = file("[database]\npool_size = \"8\"\n");
    let message = refusal(&Flags { file: Some(path), ..Flags::default() }, &[]);
    assert!(message.contains("must be a number without quotes"), "{message}");
}

#[test]
fn the_effective_configuration_shows_sources_and_masks_secrets() {
    let given = flags(&[("database.url", "postgres://ada:s3cr3t@db.example/registry")]);
    let loaded = Config::load(&given, env(&[("TENANTRY_THREADS", "3")])).unwrap();
    let text = loaded.render();
    assert!(!text.contains("s3cr3t"), "{text}");
    assert!(
        text.contains(
            "url = \"postgres://ada:****@db.example:5432/registry?sslmode=prefer\" # flag --database-url"
        ),
        "{text}"
    );
    assert!(text.contains("threads = 3 # environment TENANTRY_THREADS"), "{text}");
    assert!(text.contains("pool_size = 8 # default"), "{text}");
    assert!(text.contains("# otlp_endpoint is not set"), "{text}");
    assert!(!format!("{:?}", loaded.config).contains("s3cr3t"));
}

#[test]
fn the_effective_configuration_shows_no_secret_behind_a_question_mark() {
    let given = flags(&[
        ("cascade.participants", "cache=http://c:1/x?token=s3cr3t"),
        ("telemetry.otlp_endpoint", "http://collector:4317?password=s3cr3t"),
    ]);
    let text = Config::load(&given, env(&[])).unwrap().render();
    assert!(!text.contains("s3cr3t"), "{text}");
    assert!(text.contains("http://c:1/x?token=****") && text.contains("?password=****"), "{text}");
}

#[test]
fn authorities_are_for_a_database_that_has_to_show_who_it_is() {
    let (_keep, path) = file("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
    let path = path.to_str().unwrap();
    let load = |url: &str, file: &str| {
        let given = flags(&[("database.url", url), ("database.ca_file", file)]);
        Config::load(&given, env(&[])).map(|loaded| loaded.config.database.authorities)
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let read = load(&format!("postgres://db/registry?sslmode={mode}"), path).unwrap();
        assert!(read.unwrap().contains("CERTIFICATE"), "{mode}");
    }
    for url in ["postgres://db/registry", "postgres://db/registry?sslmode=disable"] {
        let message = load(url, path).unwrap_err().to_string();
        assert!(
            message.starts_with("The flag `--database-ca-file` must be left out, or the URL changed"),
            "{message}"
        );
        assert!(message.ends_with("which verifies nobody."), "{message}");
    }
    let message = load("postgres://db/registry?sslmode=verify-full", "/nowhere").unwrap_err().to_string();
    assert!(message.ends_with("but is `/nowhere` (it cannot be found)."), "{message}");
}

#[test]
fn retired_targets_are_a_list_of_names_that_are_no_targets() {
    let (_keep, path) = file("[cascade]\nretired_targets = [\"cache\", \"orders\"]\n");
    let loaded = Config::load(&Flags { file: Some(path), ..Flags::default() }, env(&[])).unwrap();
    assert!(loaded.config.cascade.retired_targets.iter().eq(["cache", "orders"]));
    let (_again, path) = file(&loaded.render());
    let again = Config::load(&Flags { file: Some(path), ..Flags::default() }, env(&[])).unwrap();
    assert_eq!(again.config.cascade, loaded.config.cascade);
    let (_other, path) = file("[cascade]\nretired_targets = [1]\n");
    let message = refusal(&Flags { file: Some(path), ..Flags::default() }, &[]);
    assert!(message.contains("must be a list of strings"), "{message}");
    let message = refusal(&flags(&[("cascade.retired_targets", "cache,postgres")]), &[]);
    assert!(message.contains("must be free of targets that there are, but is `postgres`"), "{message}");
}

#[test]
fn two_listeners_need_two_addresses() {
    let load = |grpc, http| {
        let given = flags(&[("server.grpc_listen", grpc), ("server.http_listen", http)]);
        Config::load(&given, env(&[])).map(drop)
    };
    let message = load("127.0.0.1:7000", "127.0.0.1:7000").unwrap_err().to_string();
    assert_eq!(
        message,
        "`--grpc-listen` and `--http-listen` are both 127.0.0.1:7000; each listener needs an address of its own."
    );
    assert!(load("127.0.0.1:0", "127.0.0.1:0").is_ok(), "each takes a free port");
}

#[test]
fn the_effective_configuration_is_itself_a_configuration_file() {
    let loaded =
        Config::load(&Flags::default(), env(&[("TENANTRY_PARTICIPANTS", "cache=http://c:1")])).unwrap();
    let (_keep, path) = file(&loaded.render());
    let again = Config::load(&Flags { file: Some(path), ..Flags::default() }, env(&[])).unwrap();
    assert_eq!(
        again.config,
        Config { dev: Dev { data_dir_chosen: true, ..loaded.config.dev.clone() }, ..loaded.config }
    );
}

#[test]
fn variables_that_look_like_settings_and_are_none_are_told() {
    let names = [
        "TENANTRY_GRPC_LISTEN",
        "TENANTRY_GRPC_LISTENER",
        "TENANTRY_CONFIG",
        "TENANTRY_SERVER",
        // Kubernetes, for services called `tenantry` and `tenantry-grpc`.
        "TENANTRY_SERVICE_HOST",
        "TENANTRY_PORT_50051_TCP_ADDR",
        "TENANTRY_GRPC_SERVICE_PORT_GRPC",
        "TENANTRY_GRPC_PORT",
        "HOME",
    ];
    let unknown = super::unknown_variables(names.iter().map(|name| (*name).to_owned()));
    assert_eq!(unknown, ["TENANTRY_GRPC_LISTENER"]);
}

#[test]
fn serving_without_an_authenticator_takes_the_flag_and_loopback() {
    let load = |pairs: &[(&'static str, &str)]| Config::load(&flags(pairs), env(&[])).unwrap().config.server;
    assert!(load(&[]).check_exposure(true).is_ok());
    assert!(load(&[]).check_exposure(false).is_err());
    let open = ("server.insecure_no_auth", "true");
    assert!(load(&[open]).check_exposure(false).is_ok());
    assert!(load(&[open, ("server.grpc_listen", "[::1]:50051")]).check_exposure(false).is_ok());
    for key in ["server.grpc_listen", "server.http_listen"] {
        let message = load(&[open, (key, "0.0.0.0:9000")]).check_exposure(false).unwrap_err().to_string();
        assert!(message.contains("but `--") && message.contains("0.0.0.0:9000"), "{message}");
    }
}

/// Names that rules read as a way into an attribute had no effect, and a tenant of the configuration had one.
#[test]
fn what_every_evaluation_sees_has_names_that_rules_can_read_and_names_nobody() {
    for name in ["labels.team", "", "tenantId", "targetingKey"] {
        let mut flags = Flags::default();
        flags.values.insert("flags.context", format!("region=eu,{name}=x"));
        let why = refusal(&flags, &[]);
        assert!(why.contains("names without a dot") && why.contains(&format!("`{name}`")), "{why}");
    }
}
