//! `tenantry dev`, as a newcomer starts it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::dev_postgres::place;
use crate::support::program;

const LISTENERS: [&str; 5] = [
    "--grpc-listen",
    "--http-listen",
    "--openfeature-evaluation-listen",
    "--openfeature-sync-listen",
    "--openfeature-ofrep-listen",
];

/// Every port a free one.
fn dev(data_dir: &Path) -> Command {
    dev_with(data_dir, "", "")
}

/// One listener elsewhere.
fn dev_with(data_dir: &Path, listener: &str, address: &str) -> Command {
    let mut command = Command::new(program());
    command.args(["dev", "--dev-stub-port", "0", "--data-dir"]).arg(data_dir);
    for flag in LISTENERS {
        command.args([flag, if flag == listener { address } else { "127.0.0.1:0" }]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads what it prints until it has said where it serves gRPC.
fn started(command: &mut Command) -> (Child, String, String) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        said.push_str(&line.unwrap());
        said.push('\n');
        if said.contains("grpcurl -plaintext") {
            break;
        }
    }
    let place = said.lines().find_map(|line| line.trim().strip_prefix("gRPC "));
    let place = place.unwrap_or_else(|| panic!("it did not start: {said}")).trim();
    let grpc = place.split_whitespace().next().unwrap().to_owned();
    (child, grpc, said)
}

fn tenantry(server: &str, arguments: &[&str]) -> Output {
    let server = format!("http://{server}");
    Command::new(program()).args(arguments).args(["--server", &server]).output().unwrap()
}

fn ended(mut child: Child, signal: &str) -> String {
    let told = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {log}");
    log
}

#[test]
fn it_makes_all_it_needs_serves_and_keeps_its_data_until_the_next_start() {
    let folder = place();
    let data_dir = folder.path().join("data");
    let (child, grpc, said) = started(&mut dev(&data_dir));
    assert!(said.lines().count() <= 15, "where everything is, and what to try: {said}");
    let made = tenantry(&grpc, &["tenant", "create", "acme", "--display-name", "Acme", "--tier", "gold"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // As Ctrl-C does, and as systemd does.
    ended(child, "-INT");
    let (child, grpc, _) = started(&mut dev(&data_dir));
    let found = tenantry(&grpc, &["tenant", "get", "acme"]);
    assert!(String::from_utf8_lossy(&found.stdout).contains("ACTIVE"), "{found:?}");
    ended(child, "-TERM");
}

#[test]
fn a_busy_port_is_one_sentence_and_nothing_is_made() {
    let folder = place();
    let data_dir = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in LISTENERS {
        let refused = dev_with(&data_dir, flag, &address).output().unwrap();
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let sentence = format!("`{flag} {address}` cannot be used: somebody is listening there already.");
        assert!(said.contains(&sentence), "{said}");
        assert!(!data_dir.exists());
    }
}

#[test]
fn a_busy_port_of_a_stub_or_of_postgres_is_found_before_anything_is_made() {
    let folder = place();
    let data_dir = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let stub =
        format!("The stub participant `cache` cannot start on 127.0.0.1:{port}: address already in use");
    let postgres = format!("Port {port} on 127.0.0.1 is in use.");
    for (flag, sentence) in [("--dev-stub-port", stub), ("--dev-postgres-port", postgres)] {
        let refused = dev(&data_dir).args([flag, &port]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains(&sentence), "{said}");
        assert!(!data_dir.exists());
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_a_wrong_argument() {
    let folder = place();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for data_dir in [file.clone(), file.join("below"), file.join("far/below")] {
        let refused = dev(&data_dir).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("Cannot create `"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "x");
}

/// It opened its listeners, and died of a signal that came before it waited for one.
#[test]
fn a_stop_that_comes_while_it_starts_is_a_stop() {
    let folder = place();
    let mut child = dev(&folder.path().join("data")).stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("\"Served.\"")));
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let rest = log.collect::<Vec<_>>();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {rest:#?}");
}

#[test]
fn a_mistyped_variable_is_told() {
    let folder = place();
    let (child, ..) = started(dev(&folder.path().join("data")).env("TENANTRY_GRPC_LISTENER", "127.0.0.1:1"));
    let log = ended(child, "-TERM");
    assert!(log.contains("the environment variable TENANTRY_GRPC_LISTENER is no setting"), "{log}");
}
