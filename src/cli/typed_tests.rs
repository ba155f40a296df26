use std::collections::BTreeSet;

use clap::Subcommand as _;

use super::super::contract;
use super::*;

/// Methods that no command calls.
const UNTYPED: [&str; 3] = ["BatchCreateTenants", "BatchGetTenants", "EvaluateFlag"];

/// The client commands that call the API, each with its words and its options.
fn commands() -> Vec<(String, Vec<String>)> {
    fn add(command: &clap::Command, words: &str, found: &mut Vec<(String, Vec<String>)>) {
        let options = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect();
        if !command.has_subcommands() {
            found.push((words.to_owned(), options));
        }
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            add(inner, format!("{words} {}", inner.get_name()).trim(), found);
        }
    }
    let mut all = crate::cli::Command::augment_subcommands(clap::Command::new("tenantry"));
    all.build();
    let mut found = Vec::new();
    add(&all, "", &mut found);
    found
}

#[test]
fn every_method_has_the_command_that_calls_it_and_every_command_is_there() {
    let services = contract::pool().services().filter(|it| it.full_name().starts_with("tenantry.v1."));
    let methods: BTreeSet<_> =
        services.flat_map(|it| it.methods().map(|it| it.name().to_owned()).collect::<Vec<_>>()).collect();
    let named: BTreeSet<_> =
        COMMANDS.iter().map(|(method, _)| *method).chain(UNTYPED).map(str::to_owned).collect();
    assert_eq!(named, methods);
    let there: BTreeSet<_> = commands().into_iter().map(|(words, _)| words).collect();
    for (method, command) in COMMANDS {
        assert!(there.contains(command), "{method}: there is no {command}");
        let said = typed(&format!("a tenant is changed by {method}, or {method}."), &[]);
        assert_eq!(said, format!("a tenant is changed by `tenantry {command}`, or `tenantry {command}`."));
    }
}

#[test]
fn every_option_of_every_command_stands_in_place_of_its_field_and_no_other_does() {
    let commands = commands();
    assert!(commands.len() > 50, "{}", commands.len());
    for (words, options) in &commands {
        for option in options {
            let field = option.replace('-', "_");
            assert_eq!(typed(&format!("flag.{field}: no"), options), format!("--{option}: no"), "{words}");
            if field.contains('_') {
                assert_eq!(typed(&format!("{field} says"), options), format!("--{option} says"), "{words}");
                assert_eq!(typed(&format!("{field} says"), &[]), format!("{field} says"));
            }
        }
    }
    let fields: BTreeSet<_> = contract::pool()
        .all_messages()
        .flat_map(|message| message.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>())
        .collect();
    for (field, option) in OPTIONS {
        assert!(fields.contains(field), "no message has {field}");
        assert!(commands.iter().any(|(_, options)| options.iter().any(|it| it == option)), "no {option}");
    }
}

#[test]
fn what_is_somebodys_own_or_of_a_file_stays() {
    let options = ["kill-switch", "expires", "reset-kill-switches", "reason"].map(str::to_owned);
    for sentence in [
        "flags.search.kill_switch: there is no flag \"kill_switch\"",
        "the flag \"ChangeTier\" says `kill_switch`",
        "Ask for a reason, and say when it expires.",
        "MyChangeTier kill_switches [KILL_SWITCH]",
        "content.metadata.expire_time: flagged",
        // It says which command to type.
        "cannot take SuspendTenant: FinishMigration moves it (`tenantry tenant finish-migration ID`)",
    ] {
        assert_eq!(typed(sentence, &options), sentence);
    }
    assert_eq!(typed("reset_kill_switches[0]: must", &options), "--reset-kill-switches[0]: must");
    let variants = typed("flag.variants.on: must; flag.variants[off-1]: must", &["variant".to_owned()]);
    assert_eq!(variants, "--variant on: must; --variant off-1: must");
    assert_eq!(typed("flag.expire_time: must; flag.reason: é", &options), "--expires: must; --reason: é");
}
