//! The cluster on disk: made whole or not at all, and freed from what a crash left.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Account, Error, Install, NAME};

/// A leftover server that was told to stop, or the rest of one that was killed, gets this long.
const LEFTOVER_PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);

/// A data directory with the account and the binaries that serve it.
pub(super) struct Cluster<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) account: &'a Account,
    pub(super) install: &'a Install,
}

/// The major version that made the cluster in `data_dir`, `None` where there is no cluster yet.
pub(super) fn version(data_dir: &Path) -> Result<Option<u32>, Error> {
    let path = data_dir.join("postgres");
    match fs::read_to_string(path.join("PG_VERSION")) {
        Ok(text) => match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(Error::NotACluster { path }),
        },
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("read", &path)(error)),
        Err(_) if path.exists() => Err(Error::NotACluster { path }),
        Err(_) => Ok(None),
    }
}

impl Cluster<'_> {
    /// The folder that PostgreSQL calls its data directory.
    pub(super) fn path(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    /// What the programs print.
    pub(super) fn log_path(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// A new, empty log; the one before is kept beside it.
    pub(super) fn new_log(&self) -> Result<File, Error> {
        let path = self.log_path();
        if path.exists() {
            fs::rename(&path, path.with_extension("log.old")).map_err(Error::io("rename", &path))?;
        }
        private_file(&path)
    }

    /// Makes the cluster, its superuser and its database in a folder of its own, then moves it into place: a crash on the
    /// way leaves nothing that looks like a cluster.
    pub(super) fn initialise(&self, ephemeral: bool) -> Result<(), Error> {
        let staging = self.data_dir.join("postgres.new");
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))?;
        }
        fs::create_dir(&staging).map_err(Error::io("create", &staging))?;
        self.account.give(&staging)?;
        let password = self.make_password()?;
        let handed_over = staging.join("password");
        write_all(&private_file(&handed_over)?, &handed_over, &password)?;
        self.account.give(&handed_over)?;

        let log = self.new_log()?;
        let made = staging.join("cluster");
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(&made).arg("--pwfile").arg(&handed_over).args([
            "--username",
            NAME,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--data-checksums",
        ]);
        if ephemeral {
            initdb.arg("--no-sync");
        }
        self.run("initdb", initdb.stdin(Stdio::null()), &log)?;
        self.make_database(&made, ephemeral, &log)?;
        let path = self.path();
        fs::rename(&made, &path).map_err(Error::io("create", &path))?;
        fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))
    }

    /// Creates the database in single-user mode, which needs no port and no password.
    fn make_database(&self, made: &Path, ephemeral: bool, log: &File) -> Result<(), Error> {
        let mut single = self.command("postgres");
        single.arg("--single").arg("-D").arg(made);
        if ephemeral {
            single.args(["-c", "fsync=off"]);
        }
        single.arg("postgres").stdin(Stdio::piped());
        single.stdout(clone(log, made)?).stderr(clone(log, made)?);
        let mut child = single.spawn().map_err(|_| setpriv_missing())?;
        if let Some(mut input) = child.stdin.take() {
            // A server that has ended already says why by its exit code and in the log.
            let _ = writeln!(input, "CREATE DATABASE {NAME};");
        }
        let ended = child.wait().map_err(Error::io("wait for the server in", made))?;
        // Single-user mode exits with 0 even when a statement fails; a database is a folder beside the three built in.
        let databases = fs::read_dir(made.join("base")).map_err(Error::io("read", made))?.count();
        if ended.success() && databases > 3 { Ok(()) } else { Err(self.failed("postgres")) }
    }

    /// The password, from the file beside the cluster.
    pub(super) fn password(&self) -> Result<String, Error> {
        let path = self.password_path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.is_empty() { Err(Error::PasswordMissing { path }) } else { Ok(text) }
    }

    fn password_path(&self) -> PathBuf {
        self.data_dir.join("password")
    }

    /// Two random UUIDs, 244 bits from the system's source, on disk before the cluster is.
    fn make_password(&self) -> Result<String, Error> {
        let path = self.password_path();
        let password = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let file = private_file(&path)?;
        write_all(&file, &path, &password)?;
        file.sync_all().map_err(Error::io("write", &path))?;
        Ok(password)
    }

    /// Stops a server that outlived the process that started it, and waits for the last of its processes.
    pub(super) fn stop_leftover(&self) -> Result<(), Error> {
        let pid_path = self.path().join("postmaster.pid");
        let deadline = Instant::now() + LEFTOVER_PATIENCE;
        let mut told = false;
        loop {
            let pids = processes_in(&self.path());
            if pids.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return Err(Error::NotStopped { data_dir: self.data_dir.to_owned() });
            }
            let postmaster = postmaster_pid(&pid_path);
            if !told && postmaster.is_some_and(|pid| pids.contains(&pid)) {
                // It may end by itself in this moment: what counts is that it is gone in the next round.
                let _ = self.pg_ctl_stop("fast", LEFTOVER_PATIENCE);
                told = true;
            }
            thread::park_timeout(POLL);
        }
        // Nothing runs here, so the number in the file belongs to nobody or, reused, to a stranger. PostgreSQL would
        // refuse to start because of the stranger.
        match fs::remove_file(&pid_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &pid_path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Tells the running server to stop and waits; false where it did not within `patience`.
    pub(super) fn pg_ctl_stop(&self, mode: &str, patience: Duration) -> bool {
        stop_command(self.account, &self.install.program("pg_ctl"), &self.path(), mode, patience)
            .status()
            .is_ok_and(|status| status.success())
    }

    pub(super) fn failed(&self, program: &'static str) -> Error {
        Error::ProgramFailed { program, log: self.log_path() }
    }

    fn command(&self, program: &str) -> Command {
        self.account.command(&self.install.program(program))
    }

    fn run(&self, program: &'static str, command: &mut Command, log: &File) -> Result<(), Error> {
        command.stdout(clone(log, self.data_dir)?).stderr(clone(log, self.data_dir)?);
        let status = command.status().map_err(|_| setpriv_missing())?;
        if status.success() { Ok(()) } else { Err(self.failed(program)) }
    }
}

/// The command that stops the server of a cluster.
pub(super) fn stop_command(
    account: &Account,
    pg_ctl: &Path,
    cluster: &Path,
    mode: &str,
    patience: Duration,
) -> Command {
    let mut command = account.command(pg_ctl);
    command.args(["stop", "--silent", "--wait", "--mode", mode, "--timeout"]);
    command.arg(patience.as_secs().to_string()).arg("--pgdata").arg(cluster);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The only reason for which a command of ours cannot even begin.
pub(super) fn setpriv_missing() -> Error {
    Error::ProgramMissing { program: "setpriv".to_owned(), package: "util-linux" }
}

/// A second handle of the log for another stream.
pub(super) fn clone(log: &File, path: &Path) -> Result<File, Error> {
    log.try_clone().map_err(Error::io("write to", path))
}

/// The first line of `postmaster.pid`.
pub(super) fn postmaster_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.lines().next()?.trim().parse().ok()
}

/// The processes that work in `folder`. Every process of a server does, and unlike the number in `postmaster.pid` the
/// kernel's word for it is never stale.
fn processes_in(folder: &Path) -> Vec<u32> {
    let Ok(folder) = folder.canonicalize() else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder))
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"))
        })
        .collect()
}

/// A new file that only its owner reads.
fn private_file(path: &Path) -> Result<File, Error> {
    let _ = fs::remove_file(path);
    File::options().create_new(true).write(true).mode(0o600).open(path).map_err(Error::io("write", path))
}

fn write_all(mut file: &File, path: &Path, text: &str) -> Result<(), Error> {
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))
}
