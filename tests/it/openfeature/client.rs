//! A program with published providers in it, driven line by line.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::programs::{go_program, node_packages, python, root, rust_program};

/// How long an answer may take: a slow machine, not a slow server.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the programs are.
const FOLDER: &str = "tests/clients/openfeature";

/// A language's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Web,
    Go,
    Rust,
}

impl Language {
    /// The command line; none where the language is not there.
    async fn command(self) -> Option<Vec<PathBuf>> {
        let folder = root().join(FOLDER);
        Some(match self {
            Self::Python => {
                let python = python("openfeature-venv", &format!("{FOLDER}/requirements.txt")).await;
                vec![python, folder.join("provider.py")]
            }
            Self::Node | Self::Web => {
                let js = node_packages("openfeature-node", &format!("{FOLDER}/js")).await;
                let script = js.join(if self == Self::Node { "server.js" } else { "web.js" });
                // Browsers have had it for ever; this Node wants to be asked.
                vec!["node".into(), "--experimental-eventsource".into(), "--no-warnings".into(), script]
            }
            Self::Go => vec![go_program("openfeature-go", &format!("{FOLDER}/go")).await?],
            Self::Rust => vec![rust_program("openfeature-client", &format!("{FOLDER}/rust")).await],
        })
    }
}

/// A running program.
pub(crate) struct Client {
    name: String,
    input: ChildStdin,
    replies: mpsc::Receiver<Value>,
    events: mpsc::Receiver<Value>,
    /// Events that were read and not asked for yet.
    seen: VecDeque<Value>,
    _child: Child,
}

impl Client {
    /// Starts the program of a language; none where the language is not there.
    pub(crate) async fn start(language: Language) -> Option<Self> {
        let line = language.command().await?;
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("TEST_LOG").is_some() { Stdio::inherit() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", Path::new(&line[0]).display()));
        let input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ((reply, replies), (event, events)) = (mpsc::channel(64), mpsc::channel(4_096));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(what) = serde_json::from_str::<Value>(&line) else { continue };
                let to = if what.get("event").is_some() { &event } else { &reply };
                if to.send(what).await.is_err() {
                    return;
                }
            }
        });
        let name = format!("{language:?}");
        Some(Self { name, input, replies, events, seen: VecDeque::new(), _child: child })
    }

    /// Starts a provider; whether it got ready.
    pub(crate) async fn provider(&mut self, options: Value) -> Value {
        let mut command = options;
        command["do"] = json!("start");
        command["host"] = json!("127.0.0.1");
        self.ask(&command).await
    }

    /// Starts a provider that must get ready.
    pub(crate) async fn ready(&mut self, options: Value) {
        let said = self.provider(options.clone()).await;
        assert_eq!(said["started"], true, "{} {options}: {said}", self.name);
    }

    /// Evaluates a flag.
    pub(crate) async fn get(&mut self, domain: &str, case: &Value) -> Value {
        let mut command = case.clone();
        command["do"] = json!("get");
        command["domain"] = json!(domain);
        self.ask(&command).await
    }

    async fn ask(&mut self, command: &Value) -> Value {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let reply = timeout(PATIENCE, self.replies.recv()).await;
        reply.ok().flatten().unwrap_or_else(|| panic!("{} does not answer {command}", self.name))
    }

    /// Waits for an event of a domain that a test accepts.
    pub(crate) async fn event(&mut self, domain: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let is_it = |event: &Value| event["domain"] == domain && accept(event);
        if let Some(at) = self.seen.iter().position(is_it) {
            return self.seen.remove(at).unwrap();
        }
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if is_it(&event) {
                    return event;
                }
                self.seen.push_back(event);
            }
        });
        if let Ok(event) = found.await {
            return event;
        }
        panic!("{} {domain} does not tell of it; it told of {:?}", self.name, self.seen);
    }

    /// Forgets the events so far.
    pub(crate) fn forget_events(&mut self) {
        self.seen.clear();
        while self.events.try_recv().is_ok() {}
    }
}

/// Whether an event says that a flag's configuration changed; providers name them differently.
pub(crate) fn is_change(event: &Value) -> bool {
    let name = event["event"].as_str().unwrap_or_default().to_uppercase();
    name.contains("CONFIGURATION_CHANGED")
        || name.contains("CONFIG_CHANGE")
        || name.contains("CONFIGURATIONCHANGED")
}
