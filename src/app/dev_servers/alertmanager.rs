//! Alertmanager by itself, without peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{Error, Folder, Program, answers, free_ports};

/// A tenth of a second on a quiet machine; the tests share theirs with others.
const PATIENCE: Duration = Duration::from_mins(1);
/// Debian's name, and everybody else's.
const NAMES: &[&str] = &["prometheus-alertmanager", "alertmanager"];

/// Whom the server lets in, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where it sends what is not silenced; nowhere where not given.
    pub webhook: Option<String>,
    /// Its `--web.config.file`: certificates and accounts.
    pub web_config: Option<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Alertmanager {
    port: u16,
    _program: Program,
    _folder: Folder,
}

impl Alertmanager {
    /// Starts the server and waits until it answers.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let folder = Folder::new("alertmanager")?;
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, routes(options.webhook.as_deref()))?;
        let [port] = free_ports()?;
        let mut arguments = vec![
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", folder.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            // No gossip: it would listen on every interface.
            "--cluster.listen-address=".to_owned(),
        ];
        if let Some(text) = &options.web_config {
            let file = folder.path().join("web.yml");
            fs::write(&file, text)?;
            arguments.push(format!("--web.config.file={}", file.display()));
        }
        let program = Program::start(&program(), &arguments, &folder.path().join("log"))?;
        program.ready(PATIENCE, || answers(port))?;
        Ok(Self { port, _program: program, _folder: folder })
    }

    /// The loopback port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it is served.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The program under whichever name it is installed; the first where it is not, for the error.
fn program() -> PathBuf {
    let places = std::env::split_paths("/usr/local/bin:/usr/bin:/opt/alertmanager");
    let found =
        places.flat_map(|place| NAMES.iter().map(move |name| place.join(name))).find(|path| path.exists());
    found.unwrap_or_else(|| Path::new("prometheus-alertmanager").to_owned())
}

/// One group for each tenant, told at once and again each second.
fn routes(webhook: Option<&str>) -> String {
    let receiver = webhook.map_or_else(String::new, |url| {
        format!("    webhook_configs:\n      - url: '{url}'\n        send_resolved: false\n")
    });
    format!(
        "route:\n  receiver: all\n  group_by: ['...']\n  group_wait: 100ms\n  group_interval: 1s\n  \
         repeat_interval: 1s\nreceivers:\n  - name: all\n{receiver}"
    )
}
