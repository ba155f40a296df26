//! Redis: one server, with or without TLS, or a cluster of three with a replica.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::program::{Error, Folder, Program, free_ports};

/// A tenth of a second on a quiet machine, two for a cluster; the tests share theirs with others.
const PATIENCE: Duration = Duration::from_mins(1);
const LAST_SLOT: u16 = 16_383;
const PRIMARIES: usize = 3;
/// The password of a server's user `default`: with users of tenants' own nobody else is to be let in by it.
const PASSWORD: &str = "administrator";

/// A running server. But for one with TLS, its user `default` has a password, which is in the URL.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    program: Program,
    _folder: Folder,
}

/// Certificates of a server that takes encrypted connections alone.
#[derive(Debug, Clone)]
pub struct Tls<'a> {
    /// Whom it trusts; it asks clients for a certificate.
    pub authority: &'a Path,
    /// Its own certificate.
    pub certificate: &'a Path,
    /// The key of that.
    pub key: &'a Path,
}

impl Redis {
    /// Starts a server that keeps nothing, and waits until it answers.
    pub fn start() -> Result<Self, Error> {
        let [port] = free_ports()?;
        Self::start_at(port)
    }

    /// The same on a port of the caller's choice.
    pub fn start_at(port: u16) -> Result<Self, Error> {
        let arguments = ["--port", &port.to_string(), "--requirepass", PASSWORD].map(str::to_owned);
        Self::with(port, &arguments, || says(port, "PING", "+PONG"))
    }

    /// Starts a server with TLS, and waits until it listens.
    pub fn start_encrypted(tls: &Tls<'_>) -> Result<Self, Error> {
        let [port] = free_ports()?;
        let arguments = [
            ("--port", "0".to_owned()),
            ("--tls-port", port.to_string()),
            ("--tls-ca-cert-file", tls.authority.display().to_string()),
            ("--tls-cert-file", tls.certificate.display().to_string()),
            ("--tls-key-file", tls.key.display().to_string()),
        ];
        let arguments: Vec<String> =
            arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Self::with(port, &arguments, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    fn with(port: u16, arguments: &[String], is_ready: impl FnMut() -> bool) -> Result<Self, Error> {
        let folder = Folder::new("redis")?;
        let fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"];
        let mut all: Vec<String> = fixed.iter().map(ToString::to_string).collect();
        all.push(folder.path().display().to_string());
        all.extend_from_slice(arguments);
        let program = Program::start(Path::new("redis-server"), &all, &folder.path().join("log"))?;
        program.ready(PATIENCE, is_ready)?;
        Ok(Self { port, program, _folder: folder })
    }

    /// The loopback port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it is served.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts three servers that share the slots and a replica of the first, and waits until all agree.
    pub fn start() -> Result<Self, Error> {
        let ports: [u16; 8] = free_ports()?;
        let nodes: Vec<Redis> =
            ports.chunks_exact(2).map(|pair| node(pair[0], pair[1])).collect::<Result<_, _>>()?;
        let cluster = Self { nodes };
        let first = cluster.nodes[0].port;
        for pair in ports.chunks_exact(2).skip(1) {
            ask(first, &format!("CLUSTER MEET 127.0.0.1 {} {}", pair[0], pair[1]))?;
        }
        let share = LAST_SLOT / u16::try_from(PRIMARIES).unwrap_or(1) + 1;
        for (index, node) in (0..).zip(&cluster.nodes[..PRIMARIES]) {
            let (from, to) = (share * index, (share * (index + 1) - 1).min(LAST_SLOT));
            ask(node.port, &format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
        }
        let everybody = format!("cluster_known_nodes:{}", cluster.nodes.len());
        for node in &cluster.nodes {
            wait_for(node, "CLUSTER INFO", &[&everybody])?;
        }
        let id = ask(first, "CLUSTER MYID")?;
        let replica = &cluster.nodes[PRIMARIES];
        ask(replica.port, &format!("CLUSTER REPLICATE {}", id.trim()))?;
        wait_for(replica, "INFO replication", &["role:slave", "master_link_status:up"])?;
        for node in &cluster.nodes {
            wait_for(node, "CLUSTER INFO", &["cluster_state:ok", "cluster_slots_ok:16384"])?;
            wait_for(node, "CLUSTER NODES", &[&format!("slave {}", id.trim())])?;
        }
        Ok(cluster)
    }

    /// Where its nodes are served; the last one is the replica.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

fn wait_for(node: &Redis, question: &str, wanted: &[&str]) -> Result<(), Error> {
    let seen = || ask(node.port, question).is_ok_and(|said| wanted.iter().all(|words| said.contains(words)));
    node.program.ready(PATIENCE, seen)
}

fn node(port: u16, bus: u16) -> Result<Redis, Error> {
    let arguments = [
        ("--port", port.to_string()),
        ("--cluster-enabled", "yes".to_owned()),
        ("--cluster-port", bus.to_string()),
        ("--cluster-node-timeout", "5000".to_owned()),
        // A replica is told of to clients once it has heard from its primary: every 10 s by default.
        ("--repl-ping-replica-period", "1".to_owned()),
        ("--requirepass", PASSWORD.to_owned()),
        ("--masterauth", PASSWORD.to_owned()),
    ];
    let arguments: Vec<String> =
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    Redis::with(port, &arguments, || says(port, "PING", "+PONG"))
}

fn says(port: u16, question: &str, wanted: &str) -> bool {
    ask(port, question).is_ok_and(|said| said.starts_with(wanted))
}

/// Asks one question in Redis's form for people, and gives what was said: of a long answer its text.
fn ask(port: u16, question: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("AUTH {PASSWORD}\r\n{question}\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line != "+OK\r\n" {
        return Err(io::Error::other(format!("AUTH: {}", line.trim())).into());
    }
    line.clear();
    reader.read_line(&mut line)?;
    if line.starts_with('-') {
        return Err(io::Error::other(format!("{question}: {}", line.trim())).into());
    }
    let Some(length) = line.strip_prefix('$').and_then(|length| length.trim().parse().ok()) else {
        return Ok(line);
    };
    let mut text = vec![0; length];
    io::Read::read_exact(&mut reader, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
