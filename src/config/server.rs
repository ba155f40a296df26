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
    /// Which pages of other origins may call from a browser.
    pub cors_origins: CorsOrigins,
    /// Open connections of a listener over all peers, 1 to 1,000,000.
    pub max_connections: usize,
    /// Open connections of a listener from one address, 1 to 1,000,000.
    pub max_connections_per_ip: usize,
    /// Open streams over all listeners; one connection may have all of them.
    pub max_streams: usize,
    /// Largest request message in bytes, after decompression too; 1 KiB to 64 MiB.
    pub decode_limit_bytes: usize,
    /// Longest time a unary call may take, whatever the client asks for; 10 ms to 10 min.
    pub unary_deadline: Duration,
    /// Time open calls get to end after SIGTERM; 0 s to 10 min.
    pub drain_timeout: Duration,
    /// Serving threads, each with its own runtime, 1 to 1,024.
    pub threads: usize,
}

/// Which pages of other origins may call from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All.
    Any,
    /// Some, or none.
    Listed {
        /// Those that this machine serves, on any port.
        loopback: bool,
        /// As browsers write them: `https://app.example.com:8443`.
        origins: Vec<String>,
    },
}

impl CorsOrigins {
    const KEY: &str = "server.cors_origins";

    fn read(values: &Values) -> Result<Self, Error> {
        let text = values.optional_text(Self::KEY).unwrap_or_default();
        let mut loopback = false;
        let mut origins = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item {
                "*" => return Ok(Self::Any),
                "loopback" => loopback = true,
                origin if is_origin(origin) => origins.push(origin.to_owned()),
                other => {
                    let expected =
                        "origins such as `https://app.example.com`, without a path, or `loopback`, or `*`";
                    return Err(values.invalid(Self::KEY, expected, other));
                }
            }
        }
        Ok(Self::Listed { loopback, origins })
    }

    /// None but those that were given.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Listed { loopback: false, origins } if origins.is_empty())
    }
}

/// Scheme, host, perhaps a port, and nothing else: browsers compare letter by letter, and write hosts in lower case.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
        !host.is_empty() && host.chars().all(is_plain)
    })
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "server.grpc_listen",
        "grpc-listen",
        Some("127.0.0.1:50051"),
        Kind::Address,
        "Address of the first listener; every listener speaks gRPC, gRPC-Web and Connect.",
    ),
    setting(
        "server.http_listen",
        "http-listen",
        Some("127.0.0.1:8080"),
        Kind::Address,
        "Address of the second listener, with probes, metrics and the page beside the calls.",
    ),
    setting(
        "server.insecure_no_auth",
        "insecure-no-auth",
        Some("false"),
        Kind::Switch,
        "Serve without an authenticator; every listener must be on loopback.",
    ),
    setting(
        "server.cors_origins",
        "cors-origins",
        None,
        Kind::Text,
        "Origins whose pages may call from a browser, comma-separated: `https://app.example.com`, `loopback` for \
         this machine's on any port (what `dev` allows by itself), `*` for all.",
    ),
    setting(
        "server.max_connections",
        "max-connections",
        Some("10000"),
        Kind::Count,
        "Open connections of a listener over all peers.",
    ),
    setting(
        "server.max_connections_per_ip",
        "max-connections-per-ip",
        Some("1000"),
        Kind::Count,
        "Open connections of a listener from one address.",
    ),
    setting(
        "server.max_streams",
        "max-streams",
        Some("5000"),
        Kind::Count,
        "Open streams over all listeners, such as one for each OpenFeature provider; one connection may have all of them.",
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
        let grpc_listen = values.address("server.grpc_listen")?;
        let http_listen = values.address("server.http_listen")?;
        if grpc_listen == http_listen && grpc_listen.port() != 0 {
            return Err(Error::Conflict(format!(
                "`--grpc-listen` and `--http-listen` are both {grpc_listen}; each listener needs an address of its own."
            )));
        }
        Ok(Self {
            grpc_listen,
            http_listen,
            insecure_no_auth: values.switch("server.insecure_no_auth")?,
            cors_origins: CorsOrigins::read(values)?,
            max_connections: values.count("server.max_connections", 1..=1_000_000)?,
            max_connections_per_ip: values.count("server.max_connections_per_ip", 1..=1_000_000)?,
            max_streams: values.count("server.max_streams", 1..=1_000_000)?,
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
                "This version has no authenticator yet, so anyone who reaches the port could change every tenant; \
                 give `--insecure-no-auth`, and leave every listener on loopback."
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
