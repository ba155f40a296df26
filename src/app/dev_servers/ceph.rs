//! Ceph's object gateway on a cluster of one that lives in memory: a monitor, a manager without modules, one store.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use uuid::Uuid;

use super::Login;
use super::program::{Error, Folder, Program, answers, free_ports};

/// Two seconds on a quiet machine; the tests share theirs with others.
const PATIENCE: Duration = Duration::from_mins(2);
/// The store meets a monitor that is not in quorum yet, ends, and is started again.
const STORE_STARTS_MAX: u32 = 5;
/// What it takes to be small and quick: one copy of everything, in memory, nothing authenticated, reports every second.
const SETTINGS: &[(&str, &str)] = &[
    ("mon_initial_members", "a"),
    ("auth_cluster_required", "none"),
    ("auth_service_required", "none"),
    ("auth_client_required", "none"),
    ("public_addr", "127.0.0.1"),
    ("cluster_addr", "127.0.0.1"),
    ("ms_bind_msgr2", "false"),
    ("ms_bind_ipv6", "false"),
    ("osd_pool_default_size", "1"),
    ("osd_pool_default_min_size", "1"),
    ("mon_allow_pool_size_one", "true"),
    ("osd_crush_chooseleaf_type", "0"),
    ("osd_objectstore", "memstore"),
    ("memstore_device_bytes", "1073741824"),
    ("osd_pool_default_pg_num", "1"),
    ("osd_pool_default_pgp_num", "1"),
    ("osd_pool_default_pg_autoscale_mode", "off"),
    ("mon_max_pg_per_osd", "1000"),
    ("mon_data_avail_crit", "0"),
    ("mgr_initial_modules", ""),
    ("mgr_tick_period", "1"),
    ("mgr_stats_period", "1"),
    ("mon_pg_create_interval", "1"),
    ("paxos_propose_interval", "0.1"),
    ("osd_mon_report_interval", "1"),
];

/// A running gateway with its cluster.
#[derive(Debug)]
pub struct Ceph {
    port: u16,
    // Dropped in this order.
    _programs: Vec<Program>,
    folder: Folder,
}

impl Ceph {
    /// Starts the cluster and the gateway, and makes these users.
    pub fn start(users: &[Login]) -> Result<Self, Error> {
        let folder = Folder::new("ceph")?;
        let [monitor, port] = free_ports()?;
        let cluster = Cluster { at: folder.path(), monitor, fsid: Uuid::new_v4() };
        cluster.configure()?;
        let mut programs = cluster.start()?;
        let gateway = cluster.daemon(
            "radosgw",
            &["-n", "client.rgw", "--rgw-frontends", &format!("beast endpoint=127.0.0.1:{port}")],
        )?;
        gateway.ready(PATIENCE, || answers(port))?;
        programs.insert(0, gateway);
        let ceph = Self { port, _programs: programs, folder };
        for user in users {
            ceph.make_user(user)?;
        }
        Ok(ceph)
    }

    /// Where it is served.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How a policy names a user.
    pub const PRINCIPAL: &str = "arn:aws:iam:::user/";

    fn make_user(&self, login: &Login) -> Result<(), Error> {
        let Login { user, secret } = login;
        let keys = ["--access-key", user, "--secret", secret];
        let arguments = [&["user", "create", "--uid", user, "--display-name", user][..], &keys].concat();
        run(self.folder.path(), "radosgw-admin", &arguments).map(drop)
    }
}

struct Cluster<'a> {
    at: &'a Path,
    monitor: u16,
    fsid: Uuid,
}

impl Cluster<'_> {
    fn configure(&self) -> Result<(), Error> {
        for folder in ["mon", "mgr", "osd", "run", "modules"] {
            fs::create_dir(self.at.join(folder))?;
        }
        let at = self.at.display();
        let mut text = format!(
            "[global]\nfsid = {}\nmon_host = [v1:127.0.0.1:{}]\nrun_dir = {at}/run\n\
             admin_socket = {at}/run/$name.$pid.sock\npid_file = {at}/run/$name.pid\nlog_file = {at}/$name.log\n\
             mon_data = {at}/mon\nmgr_data = {at}/mgr\nosd_data = {at}/osd\nmgr_module_path = {at}/modules\n",
            self.fsid, self.monitor
        );
        for (name, value) in SETTINGS {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = {value}");
        }
        fs::write(self.at.join("ceph.conf"), text)?;
        Ok(())
    }

    fn start(&self) -> Result<Vec<Program>, Error> {
        let address = format!("[v1:127.0.0.1:{}]", self.monitor);
        let fsid = self.fsid.to_string();
        run(self.at, "monmaptool", &["--create", "--fsid", &fsid, "--addv", "a", &address, "map"])?;
        run(self.at, "ceph-mon", &["-i", "a", "--mkfs", "--monmap", "map"])?;
        let monitor = self.daemon("ceph-mon", &["-i", "a"])?;
        let store = Uuid::new_v4().to_string();
        let id = run(self.at, "ceph", &["--connect-timeout", "60", "osd", "new", &store])?;
        let manager = self.daemon("ceph-mgr", &["-i", "a"])?;
        let id = id.trim();
        run(self.at, "ceph-osd", &["-i", id, "--mkfs", "--osd-uuid", &store])?;
        Ok(vec![self.start_store(id)?, manager, monitor])
    }

    fn start_store(&self, id: &str) -> Result<Program, Error> {
        let mut starts = 0;
        loop {
            starts += 1;
            let program = self.daemon("ceph-osd", &["-i", id])?;
            let up = || run(self.at, "ceph", &["osd", "stat"]).is_ok_and(|said| said.contains("1 up"));
            match program.ready(PATIENCE, up) {
                Err(_) if starts < STORE_STARTS_MAX && !program.is_running() => {}
                other => return other.map(|()| program),
            }
        }
    }

    fn daemon(&self, program: &str, arguments: &[&str]) -> Result<Program, Error> {
        let config = self.at.join("ceph.conf").display().to_string();
        let arguments: Vec<String> =
            ["-f", "-c", &config].iter().chain(arguments).map(ToString::to_string).collect();
        Program::start(Path::new(program), &arguments, &self.at.join(format!("{program}.out")))
    }
}

/// Runs a program of the cluster's to its end and gives what it said.
fn run(at: &Path, program: &str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(program);
    if program != "monmaptool" {
        command.arg("-c").arg(at.join("ceph.conf"));
    }
    let output = command.args(arguments).current_dir(at).stdin(Stdio::null()).output();
    let output = output.map_err(|source| Error::NotThere { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::NotReady { program: program.to_owned(), log })
}
