//! The server's process: started by a thread that lives as long as it does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Account, Error,
    cluster::{self, Cluster},
};

/// Replaying the log after a crash can take this long.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// A fast shutdown writes everything to disk; after this time the server is stopped without.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A server that was started.
#[derive(Debug)]
pub(super) struct Server {
    /// Ends when the process has ended. The parent-death signal is tied to the thread that spawned the process, so that
    /// thread must not end earlier, and a worker of a runtime may.
    keeper: Option<JoinHandle<()>>,
    /// Disconnects when the keeper ends.
    ended: Receiver<()>,
    account: Account,
    pg_ctl: PathBuf,
    data_dir: PathBuf,
}

impl Server {
    /// Starts the server and returns when it takes connections.
    pub(super) fn start(cluster: &Cluster<'_>, settings: &[(String, String)]) -> Result<Self, Error> {
        let log = cluster.new_log()?;
        let mut command = cluster.account.server_command(&cluster.install.program("postgres"));
        command.arg("-D").arg(cluster.path());
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::null());
        command.stdout(cluster::clone(&log, cluster.data_dir)?).stderr(log);
        let (keeper, pid, ended) = spawn(command)?;
        let server = Self {
            keeper: Some(keeper),
            ended,
            account: cluster.account.clone(),
            pg_ctl: cluster.install.program("pg_ctl"),
            data_dir: cluster.data_dir.to_owned(),
        };
        server.await_ready(pid, cluster)?;
        Ok(server)
    }

    /// Whether the process is there.
    pub(super) fn is_running(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished())
    }

    /// Whether it was told to stop.
    pub(super) fn was_stopped(&self) -> bool {
        self.keeper.is_none()
    }

    /// Stops the server and waits for its end; does nothing the second time.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        for mode in ["fast", "immediate"] {
            if keeper.is_finished() {
                break;
            }
            let cluster = self.data_dir.join("postgres");
            // A refusal means that it is gone, or shows in the wait below.
            let _ =
                cluster::stop_command(&self.account, &self.pg_ctl, &cluster, mode, STOP_PATIENCE).status();
            let _ = self.ended.recv_timeout(Duration::from_secs(1));
        }
        if !keeper.is_finished()
            && self.ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout)
        {
            return Err(Error::NotStopped { data_dir: self.data_dir.clone() });
        }
        // The thread only waits for the process, and the process has ended.
        let _ = keeper.join();
        Ok(())
    }

    /// The server writes its state into `postmaster.pid`: no client is needed to see that it is ready.
    fn await_ready(&self, pid: u32, cluster: &Cluster<'_>) -> Result<(), Error> {
        let pid_path = cluster.path().join("postmaster.pid");
        let deadline = Instant::now() + START_PATIENCE;
        while !is_ready(&pid_path, pid) {
            match self.ended.recv_timeout(POLL) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                _ => return Err(why_not_started(cluster)),
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Reached when a start fails half-way; otherwise the server has been stopped and this does nothing.
        let _ = self.stop();
    }
}

/// Spawns the process from its own thread, which then waits for its end.
fn spawn(mut command: Command) -> Result<(JoinHandle<()>, u32, Receiver<()>), Error> {
    let (started, starting) = mpsc::sync_channel(1);
    let (ending, ended): (SyncSender<()>, _) = mpsc::sync_channel(0);
    let keeper = thread::Builder::new().name("postgres-keeper".to_owned()).spawn(move || {
        let _ending = ending;
        let child = command.spawn();
        let _ = started.send(child.as_ref().map(std::process::Child::id).ok());
        if let Ok(mut child) = child {
            let _ = child.wait();
        }
    });
    let keeper = keeper.map_err(|_| cluster::setpriv_missing())?;
    let pid = starting.recv().ok().flatten().ok_or_else(cluster::setpriv_missing)?;
    Ok((keeper, pid, ended))
}

/// Line 1 is the server's process, line 8 its state.
fn is_ready(pid_path: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(pid_path) else { return false };
    text.lines().next().and_then(|line| line.trim().parse().ok()) == Some(pid)
        && text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

/// One reason is worth a word of its own, because the caller can try another port.
fn why_not_started(cluster: &Cluster<'_>) -> Error {
    let log = cluster.log_path();
    let said = fs::read_to_string(&log).unwrap_or_default();
    let port = said
        .split_once("could not bind IPv4 address \"127.0.0.1\": Address already in use")
        .and_then(|(_, after)| after.split_once("port "))
        .map(|(_, after)| after.chars().take_while(char::is_ascii_digit).collect::<String>())
        .and_then(|digits| digits.parse().ok());
    port.map_or(Error::NotStarted { log }, |port| Error::PortBusy { port })
}
