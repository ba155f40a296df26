//! A server's process in a temporary folder.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What an error shows of the end of a server's log.
const LOG_TAIL: usize = 600;

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed, or cannot be run.
    #[error("`{program}` cannot be started: {source}")]
    NotThere {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended, or was not ready in time.
    #[error("`{program}` did not get ready; the end of its log:\n{log}")]
    NotReady {
        /// Which.
        program: String,
        /// What it said last.
        log: String,
    },
    /// Its folder or a port cannot be had.
    #[error("no place for a server: {0}")]
    NoPlace(#[from] io::Error),
}

/// A temporary folder, deleted on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one; its name says what for.
    pub fn new(what: &str) -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!(
            "tenantry-{what}-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        ));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be deleted is in a temporary place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running program. Killed on drop; should this process die without one, the kernel kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    stop: Option<Sender<()>>,
    /// The kernel's promise is tied to the thread that started the program, so that thread waits for it.
    keeper: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts a program; what it says goes into `log`.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self, Error> {
        let name = program.display().to_string();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        let said = File::create(log)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let (started, starting) = mpsc::sync_channel(1);
        let (stop, stopping) = mpsc::channel();
        let keeper =
            thread::Builder::new().name("server-keeper".to_owned()).spawn(move || match command.spawn() {
                Ok(child) => {
                    let _ = started.send(Ok(()));
                    keep(child, &stopping);
                }
                Err(error) => drop(started.send(Err(error))),
            })?;
        if let Ok(Err(source)) = starting.recv() {
            return Err(Error::NotThere { program: name, source });
        }
        Ok(Self { name, log: log.to_owned(), stop: Some(stop), keeper: Some(keeper) })
    }

    /// Waits until the program is ready, at most for `patience`.
    pub fn ready(&self, patience: Duration, mut is_ready: impl FnMut() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while !is_ready() {
            if Instant::now() >= deadline || !self.is_running() {
                return Err(self.not_ready());
            }
            thread::park_timeout(POLL);
        }
        Ok(())
    }

    /// Whether the process is there.
    pub fn is_running(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished())
    }

    /// The error that shows the end of its log.
    pub fn not_ready(&self) -> Error {
        let said = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(LOG_TAIL)..]).into_owned();
        Error::NotReady { program: self.name.clone(), log: tail }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Waits for the process, or for the word to end it.
fn keep(mut child: Child, stopping: &Receiver<()>) {
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        if stopping.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout) {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
    }
}

/// So many ports that are free now, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Whether an HTTP server on a loopback port answers, whatever it says.
pub fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let asked = stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok();
    let mut first = [0; 5];
    asked && stream.read_exact(&mut first).is_ok() && &first == b"HTTP/"
}
