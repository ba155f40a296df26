//! SeaweedFS as an object store: one process with everything in it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Login;
use super::program::{Error, Folder, Program, free_ports};

/// It elects a master of one before it serves.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
#[derive(Debug)]
pub struct SeaweedFs {
    port: u16,
    _program: Program,
    _folder: Folder,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub login: Login,
    /// In SeaweedFS's words: `Admin`, `Read:bucket/prefix*`.
    pub actions: Vec<String>,
}

/// Certificates of a server that takes encrypted connections alone.
#[derive(Debug, Clone)]
pub struct Tls<'a> {
    /// Its certificate.
    pub certificate: &'a Path,
    /// The key of that.
    pub key: &'a Path,
}

impl SeaweedFs {
    /// Starts the program `weed` for these people and waits until it serves.
    pub fn start(weed: &Path, people: &[Identity]) -> Result<Self, Error> {
        Self::with(weed, people, &[], super::program::answers)
    }

    /// The same with TLS, waiting until it listens.
    pub fn start_encrypted(weed: &Path, people: &[Identity], tls: &Tls<'_>) -> Result<Self, Error> {
        let arguments = [
            format!("-s3.cert.file={}", tls.certificate.display()),
            format!("-s3.key.file={}", tls.key.display()),
        ];
        Self::with(weed, people, &arguments, |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    fn with(
        weed: &Path,
        people: &[Identity],
        more: &[String],
        is_ready: impl Fn(u16) -> bool,
    ) -> Result<Self, Error> {
        let folder = Folder::new("seaweedfs")?;
        let identities: Vec<_> = people
            .iter()
            .map(|person| {
                let Login { user, secret } = &person.login;
                let keys = json!([{ "accessKey": user, "secretKey": secret }]);
                json!({ "name": user, "credentials": keys, "actions": person.actions })
            })
            .collect();
        let config = folder.path().join("s3.json");
        fs::write(&config, json!({ "identities": identities }).to_string())?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let [master, master_rpc, volume, volume_rpc, filer, filer_rpc, port, rpc] = free_ports()?;
        let arguments = [
            "server".to_owned(),
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            "-filer".to_owned(),
            "-s3".to_owned(),
            format!("-s3.config={}", config.display()),
            "-s3.iam=false".to_owned(),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            "-volume.max=1000".to_owned(),
            "-master.volumeSizeLimitMB=64".to_owned(),
            "-master.telemetry=false".to_owned(),
            format!("-master.port={master}"),
            format!("-master.port.grpc={master_rpc}"),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={volume_rpc}"),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={filer_rpc}"),
            format!("-s3.port={port}"),
            format!("-s3.port.grpc={rpc}"),
        ];
        let arguments = [&arguments[..], more].concat();
        let program = Program::start(weed, &arguments, &folder.path().join("log"))?;
        program.ready(PATIENCE, || is_ready(port))?;
        Ok(Self { port, _program: program, _folder: folder })
    }

    /// The loopback port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it is served, without TLS.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How a policy names a user.
    pub const PRINCIPAL: &str = "arn:aws:iam::000000000000:user/";
}
