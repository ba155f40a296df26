//! The listeners and the limits at the server's edge.

use std::{net::SocketAddr, num::NonZeroUsize, thread::available_parallelism, time::Duration};

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// Where the server listens and what it takes on at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of the gRPC listener; port 0 takes a free one.
    pub grpc_listen: SocketAddr,
    /// Address of the HTTP listener (probes, metrics); port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// Serve without an authenticator; only possible while every listener is on loopback.
    pub insecure_no_auth: bool,
    /// Open connections over all peers, 1 to 1,000,000.
    pub max_connections: usize,
    /// Open connections from one address, 1 to 1,000,000.
    pub max_connections_per_ip: usize,
    /// Largest request message in bytes, after decompression too; 1 KiB to 64 MiB.
    pub decode_limit_bytes: usize,
    /// Longest time a unary call may take, whatever the client asks for; 10 ms to 10 min.
    pub unary_deadline: Duration,
    /// Time open calls get to end after SIGTERM; 0 s to 10 min.
    pub drain_timeout: Duration,
    /// Serving threads, each with its own runtime, 1 to 1,024.
    pub threads: usize,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "server.grpc_listen",
        "grpc-listen",
        Some("127.0.0.1:50051"),
        Kind::Address,
        "Address of the gRPC listener.",
    ),
    setting(
        "server.http_listen",
        "http-listen",
        Some("127.0.0.1:8080"),
        Kind::Address,
        "Address of the HTTP listener: probes and metrics.",
    ),
    setting(
        "server.insecure_no_auth",
        "insecure-no-auth",
        Some("false"),
        Kind::Switch,
        "Serve without an authenticator; every listener must be on loopback.",
    ),
    setting(
        "server.max_connections",
        "max-connections",
        Some("10000"),
        Kind::Count,
        "Open connections over all peers.",
    ),
    setting(
        "server.max_connections_per_ip",
        "max-connections-per-ip",
        Some("1000"),
        Kind::Count,
        "Open connections from one address.",
    ),
    setting(
        "server.decode_limit_bytes",
        "decode-limit-bytes",
        Some("1MiB"),
        Kind::Bytes,
        "Largest request message, counted after decompression.",
    ),
    setting(
        "server.unary_deadline",
        "unary-deadline",
        Some("10s"),
        Kind::Duration,
        "Longest time a unary call may take.",
    ),
    setting(
        "server.drain_timeout",
        "drain-timeout",
        Some("20s"),
        Kind::Duration,
        "Time open calls get to end after SIGTERM.",
    ),
    setting("server.threads", "threads", Some("0"), Kind::Count, "Serving threads; 0 means one per core."),
];

impl Server {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let threads = match values.count("server.threads", 0..=1024)? {
            0 => available_parallelism().map_or(1, NonZeroUsize::get),
            given => given,
        };
        Ok(Self {
            grpc_listen: values.address("server.grpc_listen")?,
            http_listen: values.address("server.http_listen")?,
            insecure_no_auth: values.switch("server.insecure_no_auth")?,
            max_connections: values.count("server.max_connections", 1..=1_000_000)?,
            max_connections_per_ip: values.count("server.max_connections_per_ip", 1..=1_000_000)?,
            decode_limit_bytes: values.bytes("server.decode_limit_bytes", 1024..=64 << 20)?,
            unary_deadline: values
                .duration("server.unary_deadline", Duration::from_millis(10)..=Duration::from_mins(10))?,
            drain_timeout: values
                .duration("server.drain_timeout", Duration::ZERO..=Duration::from_mins(10))?,
            threads,
        })
    }

    /// Refuses to serve the world without an authenticator: it takes [`Server::insecure_no_auth`] *and* loopback
    /// listeners to go without one.
    pub fn check_exposure(&self, has_authenticator: bool) -> Result<(), Error> {
        if has_authenticator {
            return Ok(());
        }
        if !self.insecure_no_auth {
            return Err(Error::Conflict(
                "No authenticator is configured, so anyone who reaches the port could change every tenant; \
                 configure one, or give `--insecure-no-auth` while every listener is on loopback."
                    .to_owned(),
            ));
        }
        for (flag, address) in [("grpc-listen", self.grpc_listen), ("http-listen", self.http_listen)] {
            if !address.ip().is_loopback() {
                return Err(Error::Conflict(format!(
                    "`--insecure-no-auth` needs every listener on loopback, but `--{flag}` is {address}."
                )));
            }
        }
        Ok(())
    }
}
