//! The private PostgreSQL of `tenantry dev` and of the tests: made from installed binaries, kept between runs, gone with
//! the process that started it.
//!
//! Everything lives in one data directory: `postgres/` is the cluster, `password` (mode 0600) opens it, `postgres.log` is
//! what the server said since its last start, `lock` is held by the one process that uses the directory. The server
//! listens on loopback alone and takes nobody without the password.
//!
//! PostgreSQL refuses to run as root, so under root it runs as `postgres` (or `nobody`), or as whoever owns a cluster
//! that is already there. All calls block; an async caller goes through `spawn_blocking`.

mod account;
mod cluster;
mod error;
mod install;
mod place;
mod server;

use std::{
    fs::{self, File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use self::{account::Account, cluster::Cluster, install::Install, server::Server};
pub use self::{error::Error, place::data_dir};

/// Name of the database and of its superuser.
const NAME: &str = "tenantry";
/// A free port can be taken by somebody else before the server binds it; so many ports are tried.
const PORT_TRIES: u32 = 5;
/// How often the directory's lock is tried for.
const LOCK_TRIES: u32 = 20;
/// The pause after each attempt: half a second in all, which nobody who is refused minds.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is kept. Made when missing; relative to the working directory.
    pub data_dir: PathBuf,
    /// The folder with `initdb`, `postgres` and `pg_ctl`; `None` searches the usual places and takes the newest.
    pub bin_dir: Option<PathBuf>,
    /// Loopback port; `None` takes a free one.
    pub port: Option<u16>,
    /// Server settings laid over ours, as in `postgresql.conf`; the last one of a name wins.
    pub settings: Vec<(String, String)>,
    /// For tests: nothing is flushed to disk and the data directory is deleted at the end.
    pub ephemeral: bool,
}

impl Options {
    /// A database that is kept in `data_dir` and survives crashes.
    pub fn kept_in(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), bin_dir: None, port: None, settings: Vec::new(), ephemeral: false }
    }

    /// A database for one test: fast, without durability, in a temporary directory that is deleted on drop.
    pub fn ephemeral() -> Self {
        let mut options = Self::kept_in(place::ephemeral_dir());
        options.ephemeral = true;
        options
    }

    /// The settings of the server in the order in which they apply.
    fn all_settings(&self, port: u16) -> Vec<(String, String)> {
        let port = port.to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", port.as_str()),
            // TCP with a password everywhere: root and the server's account share no directory only they can enter.
            ("unix_socket_directories", ""),
            ("password_encryption", "scram-sha-256"),
            ("max_connections", "100"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("cluster_name", "tenantry-dev"),
        ];
        if self.ephemeral {
            settings.extend([
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
                ("shared_buffers", "16MB"),
                ("max_wal_size", "256MB"),
            ]);
        }
        let ours = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        ours.chain(self.settings.iter().cloned()).collect()
    }
}

/// A running server. [`PrivatePostgres::stop`] shuts it down and says how that went; a drop shuts it down too, and should
/// the process die without either, the kernel tells the server to shut down.
#[derive(Debug)]
pub struct PrivatePostgres {
    data_dir: PathBuf,
    port: u16,
    password: String,
    options: Options,
    server: Mutex<Server>,
    /// Released last, when nothing of ours touches the directory any more.
    lock: Mutex<Option<File>>,
}

impl PrivatePostgres {
    /// Makes the cluster where there is none, clears what a crashed predecessor left, starts the server and waits until it
    /// takes connections. The first start takes about a second, a later one a tenth of that.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let started = Self::start_in_place(options);
        if started.is_err() && options.ephemeral {
            // The error is worth more than a complaint about the rest of a directory that nobody needs.
            let _ = fs::remove_dir_all(&options.data_dir);
        }
        started
    }

    fn start_in_place(options: &Options) -> Result<Self, Error> {
        let data_dir =
            std::path::absolute(&options.data_dir).map_err(Error::io("find", &options.data_dir))?;
        if options.ephemeral {
            place::sweep_abandoned();
        }
        let lock = make_and_lock(&data_dir)?;
        let account = Account::choose(&data_dir.join("postgres"))?;
        if let Some(barrier) = account.barrier(&data_dir) {
            return Err(Error::Unreachable { data_dir, barrier, account: account.name() });
        }
        let wanted = cluster::version(&data_dir)?;
        let install = Install::find(options.bin_dir.as_deref(), wanted, &data_dir)?;
        let cluster = Cluster { data_dir: &data_dir, account: &account, install: &install };
        if wanted.is_none() {
            cluster.initialise(options.ephemeral)?;
        }
        let password = cluster.password()?;
        cluster.stop_leftover()?;
        let (server, port) = start_server(options, &cluster)?;
        let (options, server) = (options.clone(), Mutex::new(server));
        Ok(Self { data_dir, port, password, options, server, lock: Mutex::new(Some(lock)) })
    }

    /// The URL of the database, password included: as secret as the password.
    pub fn url(&self) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/{NAME}", self.password, self.port)
    }

    /// The loopback port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The absolute data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What the server said since its start.
    pub fn log_path(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// Whether the server's process is there.
    pub fn is_running(&self) -> bool {
        self.server().is_running()
    }

    /// Starts the server again, on the same port, where it ended without having been stopped. Answers whether it had to.
    pub fn revive(&self) -> Result<bool, Error> {
        let mut server = self.server();
        if server.is_running() || server.was_stopped() {
            return Ok(false);
        }
        let account = Account::choose(&self.data_dir.join("postgres"))?;
        let wanted = cluster::version(&self.data_dir)?;
        let install = Install::find(self.options.bin_dir.as_deref(), wanted, &self.data_dir)?;
        let cluster = Cluster { data_dir: &self.data_dir, account: &account, install: &install };
        cluster.stop_leftover()?;
        *server = Server::start(&cluster, &self.options.all_settings(self.port))?;
        Ok(true)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        // There is nothing in it that a panic could leave half done.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all sessions, writes everything to disk, stops the server and waits for its end.
    pub fn stop(&self) -> Result<(), Error> {
        self.server().stop()?;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // A drop has nobody to tell; whoever wants to know calls `stop`.
        let _ = self.server().stop();
        if self.options.ephemeral {
            let _ = fs::remove_dir_all(&self.data_dir);
        }
    }
}

/// Makes the directory and becomes its only user.
fn make_and_lock(data_dir: &Path) -> Result<File, Error> {
    account::make_dir(data_dir)?;
    let path = data_dir.join("lock");
    let is_empty = fs::read_dir(data_dir).map_err(Error::io("read", data_dir))?.next().is_none();
    let ours = ["lock", "postgres", "postgres.new"];
    if !is_empty && !ours.iter().any(|name| data_dir.join(name).exists()) {
        return Err(Error::Foreign { data_dir: data_dir.to_owned() });
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io("write to", data_dir))?;
    // A process that another thread of a former user has just forked holds the lock along with it, until it runs its own
    // program a moment later.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::park_timeout(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
    }
    Err(Error::InUse { data_dir: data_dir.to_owned() })
}

/// Says whether a loopback port can be had.
pub fn check_port(port: u16) -> Result<(), Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|_| Error::PortBusy { port })
}

/// Starts the server on the port that was asked for, or on a free one.
fn start_server(options: &Options, cluster: &Cluster<'_>) -> Result<(Server, u16), Error> {
    if let Some(port) = options.port {
        check_port(port)?;
        return Ok((Server::start(cluster, &options.all_settings(port))?, port));
    }
    let mut tries = 1;
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|_| Error::NoLoopback)?
            .port();
        match Server::start(cluster, &options.all_settings(port)) {
            Err(Error::PortBusy { .. }) if tries < PORT_TRIES => tries += 1,
            other => return Ok((other?, port)),
        }
    }
}
