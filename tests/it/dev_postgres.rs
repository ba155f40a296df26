//! The private PostgreSQL: kept between runs, gone with its process, whoever runs it.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tenantry::app::dev_postgres::{Error, Options, PrivatePostgres};

/// Tells the child process below which directory to use.
const CHILD_DATA_DIR: &str = "IT_DEV_POSTGRES_CHILD_DATA_DIR";
const NOBODY: u32 = 65_534;

#[test]
fn a_private_postgres_keeps_its_data_between_runs() {
    let dir = place();
    let first = PrivatePostgres::start(&kept(&dir)).unwrap();
    query(&first.url(), "CREATE TABLE note AS SELECT 'kept' AS text");
    first.stop().unwrap();

    let second = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&second.url(), "TABLE note"), "kept");
    assert_eq!(query(&second.url(), "SHOW fsync"), "on");
}

#[test]
fn a_stopped_server_shut_down_cleanly_and_leaves_no_process() {
    let dir = place();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    let url = server.url();
    server.stop().unwrap();
    assert!(!answers(&url));
    assert!(!dir.path().join("data/postgres/postmaster.pid").exists());
    let log = fs::read_to_string(dir.path().join("data/postgres.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
}

#[test]
fn a_dropped_server_is_stopped_too() {
    let dir = place();
    let url = PrivatePostgres::start(&kept(&dir)).unwrap().url();
    assert!(!answers(&url));
}

#[test]
fn nobody_gets_in_without_the_password() {
    let dir = place();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    let (scheme, rest) =
        server.url().split_once("tenantry:").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let guess = format!("{scheme}tenantry:guess@{}", rest.split_once('@').unwrap().1);
    assert!(!answers(&guess));
    let password = dir.path().join("data/password");
    assert_eq!(fs::metadata(password).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(dir.path().join("data/postgres")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn an_ephemeral_server_leaves_nothing_behind() {
    let server = PrivatePostgres::start(&Options::ephemeral()).unwrap();
    assert_eq!(query(&server.url(), "SHOW fsync"), "off");
    let dir = server.data_dir().to_owned();
    drop(server);
    assert!(!dir.exists());
}

#[test]
fn settings_of_the_caller_win() {
    let mut options = Options::ephemeral();
    options.settings.push(("max_connections".to_owned(), "17".to_owned()));
    let server = PrivatePostgres::start(&options).unwrap();
    assert_eq!(query(&server.url(), "SHOW max_connections"), "17");
}

#[test]
fn a_second_start_on_one_directory_is_refused_in_one_sentence() {
    let dir = place();
    let first = PrivatePostgres::start(&kept(&dir)).unwrap();
    let error = PrivatePostgres::start(&kept(&dir)).unwrap_err();
    assert_eq!(error, Error::InUse { data_dir: dir.path().join("data") });
    assert_eq!(query(&first.url(), "SELECT 'undisturbed'"), "undisturbed");
}

#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let dir = place();
    let options = kept(&dir);
    std::fs::create_dir_all(&options.data_dir).unwrap();
    std::fs::write(options.data_dir.join("thesis.tex"), "x").unwrap();
    let refused = PrivatePostgres::start(&options).unwrap_err();
    assert_eq!(refused, Error::Foreign { data_dir: options.data_dir.clone() });
    let left: Vec<_> =
        std::fs::read_dir(&options.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["thesis.tex"]);
}

#[test]
fn a_busy_port_is_named() {
    let dir = place();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = PrivatePostgres::start(&Options { port: Some(port), ..kept(&dir) }).unwrap_err();
    assert_eq!(error, Error::PortBusy { port });
}

#[test]
fn a_killed_parent_takes_its_server_along() {
    let dir = place();
    let (mut parent, url) = start_parent(&dir.path().join("data"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(soon(|| !answers(&url)));
    assert!(soon(|| !dir.path().join("data/postgres/postmaster.pid").exists()));
}

#[test]
fn a_start_right_after_a_killed_parent_finds_its_data() {
    let dir = place();
    let (mut parent, url) = start_parent(&dir.path().join("data"));
    query(&url, "CREATE TABLE note AS SELECT 'survived' AS text");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&server.url(), "TABLE note"), "survived");
}

#[test]
fn a_killed_server_recovers_at_the_next_start() {
    let dir = place();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    query(&server.url(), "CREATE TABLE note AS SELECT 'recovered' AS text");
    let pid = fs::read_to_string(dir.path().join("data/postgres/postmaster.pid")).unwrap();
    let killed = Command::new("kill").args(["-9", pid.lines().next().unwrap()]).status().unwrap();
    assert!(killed.success());
    assert!(soon(|| !server.is_running()));
    server.stop().unwrap();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&server.url(), "TABLE note"), "recovered");
}

#[test]
fn a_killed_server_is_started_again_where_it_was_and_a_stopped_one_is_not() {
    let dir = place();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    query(&server.url(), "CREATE TABLE note AS SELECT 'revived' AS text");
    assert!(!server.revive().unwrap(), "it runs");
    let pid = fs::read_to_string(dir.path().join("data/postgres/postmaster.pid")).unwrap();
    let killed = Command::new("kill").args(["-9", pid.lines().next().unwrap()]).status().unwrap();
    assert!(killed.success());
    assert!(soon(|| !server.is_running()));
    assert!(server.revive().unwrap());
    assert_eq!(query(&server.url(), "TABLE note"), "revived");
    server.stop().unwrap();
    assert!(!server.revive().unwrap(), "it was stopped");
}

#[test]
fn a_pid_file_whose_number_went_to_a_stranger_neither_stops_the_start_nor_hurts_the_stranger() {
    let dir = place();
    PrivatePostgres::start(&kept(&dir)).unwrap().stop().unwrap();
    let cluster = dir.path().join("data/postgres");
    let owner = fs::metadata(&cluster).unwrap();
    let mut stranger = as_account(owner.uid(), Path::new("sleep"));
    let mut stranger = stranger.arg("60").spawn().unwrap();
    let pid_file = cluster.join("postmaster.pid");
    fs::write(
        &pid_file,
        format!("{}\n{}\n1\n5432\n\n127.0.0.1\n\nready\n", stranger.id(), cluster.display()),
    )
    .unwrap();
    chown(&pid_file, Some(owner.uid()), Some(owner.gid())).unwrap();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&server.url(), "SELECT 'here'"), "here");
    assert_eq!(stranger.try_wait().unwrap(), None);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_cluster_that_was_never_finished_is_made_anew() {
    let dir = place();
    fs::create_dir_all(dir.path().join("data/postgres.new/cluster")).unwrap();
    fs::write(dir.path().join("data/postgres.new/cluster/PG_VERSION"), "15\n").unwrap();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&server.url(), "SELECT 'whole'"), "whole");
}

#[test]
fn a_cluster_of_a_version_that_is_not_installed_is_refused_in_one_sentence() {
    let dir = place();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("postgres")).unwrap();
    fs::write(data.join("postgres/PG_VERSION"), "3\n").unwrap();
    let message = PrivatePostgres::start(&kept(&dir)).unwrap_err().to_string();
    let begin = format!("The data directory `{}` was made by PostgreSQL 3; installed: ", data.display());
    assert!(message.starts_with(&begin), "{message}");
}

#[test]
fn a_folder_without_binaries_is_named() {
    let dir = place();
    let options = Options { bin_dir: Some(dir.path().to_owned()), ..kept(&dir) };
    let error = PrivatePostgres::start(&options).unwrap_err();
    assert_eq!(error, Error::NoBinaries { bin_dir: dir.path().to_owned() });
}

#[test]
fn a_lost_password_is_said_and_not_replaced() {
    let dir = place();
    PrivatePostgres::start(&kept(&dir)).unwrap().stop().unwrap();
    let path = dir.path().join("data/password");
    fs::remove_file(&path).unwrap();
    assert_eq!(PrivatePostgres::start(&kept(&dir)).unwrap_err(), Error::PasswordMissing { path });
}

#[test]
fn under_root_a_directory_that_the_servers_account_cannot_reach_is_refused() {
    if !is_root() {
        return;
    }
    let dir = place();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = PrivatePostgres::start(&kept(&dir)).unwrap_err();
    let Error::Unreachable { barrier, .. } = error else { panic!("{error}") };
    assert_eq!(barrier, dir.path().canonicalize().unwrap());
}

/// The two runs under another account need root to get there; as an ordinary user every other test is that run.
#[test]
fn an_ordinary_user_runs_the_server_as_themselves_and_root_can_take_over() {
    if !is_root() {
        return;
    }
    let dir = place();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let data = dir.path().join("data");
    // The user may not be allowed to enter the folder of this test binary.
    let program = dir.path().join("it");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let mut parent = as_account(NOBODY, &program);
    let (mut parent, url) = start_parent_with(&mut parent, &data);
    query(&url, "CREATE TABLE note AS SELECT 'handed over' AS text");
    assert_eq!(fs::metadata(data.join("postgres")).unwrap().uid(), NOBODY);
    parent.kill().unwrap();
    parent.wait().unwrap();
    let server = PrivatePostgres::start(&kept(&dir)).unwrap();
    assert_eq!(query(&server.url(), "TABLE note"), "handed over");
}

#[test]
#[ignore = "other tests run it in a process of its own, to kill it"]
fn child_process_that_starts_a_server_and_waits_to_be_killed() {
    let Some(data_dir) = env::var_os(CHILD_DATA_DIR) else { return };
    let server = PrivatePostgres::start(&Options::kept_in(PathBuf::from(&data_dir))).unwrap();
    let part = Path::new(&data_dir).join("url.part");
    fs::write(&part, server.url()).unwrap();
    fs::rename(part, Path::new(&data_dir).join("url")).unwrap();
    thread::sleep(Duration::from_mins(5));
}

/// A fresh folder that the server's account can pass through.
pub(crate) fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn kept(dir: &TempDir) -> Options {
    Options::kept_in(dir.path().join("data"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_account(uid: u32, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups");
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

fn start_parent(data_dir: &Path) -> (Child, String) {
    start_parent_with(&mut Command::new(env::current_exe().unwrap()), data_dir)
}

fn start_parent_with(command: &mut Command, data_dir: &Path) -> (Child, String) {
    let parent = command
        .args(["--ignored", "--exact"])
        .arg("dev_postgres::child_process_that_starts_a_server_and_waits_to_be_killed")
        .env(CHILD_DATA_DIR, data_dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let url = data_dir.join("url");
    assert!(soon(|| url.exists()), "the child did not start its server");
    (parent, fs::read_to_string(url).unwrap())
}

fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_mins(1);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn answers(url: &str) -> bool {
    try_query(url, "SELECT 'yes'").is_ok()
}

/// Runs a statement; the first column of its first row, as text, or nothing.
fn query(url: &str, sql: &str) -> String {
    try_query(url, sql).unwrap()
}

fn try_query(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        let rows = client.simple_query(sql).await?;
        drop(client);
        let _ = connection.await;
        let first = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(first.unwrap_or_default())
    })
}
