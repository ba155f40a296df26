//! `tenantry target …`

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{Column, show, show_rows, text};
use super::{Context, Failure};

/// Commands about the systems that follow tenants' states.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List them: whether each is tried, and how many operations wait for it.
    List,
    /// Take one out of use for every tenant: operations that need it wait.
    Pause {
        /// Which.
        target: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: String,
    },
    /// Have a paused one used again.
    Resume {
        /// Which.
        target: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: Option<String>,
    },
}

const COLUMNS: [Column; 8] = [
    ("TARGET", "target"),
    ("PAUSED", "paused"),
    ("CIRCUIT", "circuit"),
    ("IN FLIGHT", "inFlight"),
    ("WAITING", "waitingOperations"),
    ("FAILING", "failingOperations"),
    ("LAST ERROR AT", "lastErrorTime"),
    ("LAST ERROR", "lastError"),
];

/// The same with the age of its last error before that: a target that is well again keeps it.
fn dated(target: &Value, now: Timestamp) -> Value {
    let mut target = target.clone();
    let time = target["lastErrorTime"].as_str().and_then(|time| time.parse().ok());
    if let Some(time) = time {
        target["lastError"] = format!("{} ago: {}", age(time, now), text(&target["lastError"])).into();
    }
    target
}

/// How long ago something was, in the largest unit of which there are two or more.
fn age(time: Timestamp, now: Timestamp) -> String {
    // Our clock may be behind the server's.
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::List => {
            let response = context.client.call("Lifecycle/ListTargets", json!({ "pageSize": 1_000 })).await?;
            let now = Timestamp::now();
            show_rows(output, &response, "targets", &COLUMNS, |target| dated(target, now))
        }
        Command::Pause { target, reason } => {
            let request = json!({ "target": target, "reason": reason });
            show(output, &context.change("Lifecycle/PauseTarget", request).await?)
        }
        Command::Resume { target, reason } => {
            let request = json!({ "target": target, "reason": reason.unwrap_or_default() });
            show(output, &context.change("Lifecycle/ResumeTarget", request).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_age_before_it_and_one_of_a_clock_that_is_ahead_is_new() {
        let now: Timestamp = "2026-12-01T03:00:00Z".parse().unwrap();
        for (time, told) in [
            ("2026-12-01T02:59:57Z", "3 s ago: it refuses"),
            ("2026-12-01T02:55:00Z", "5 min ago: it refuses"),
            ("2026-11-30T23:00:00Z", "4 h ago: it refuses"),
            ("2026-11-01T03:00:00Z", "30 days ago: it refuses"),
            ("2026-12-01T03:05:00Z", "0 s ago: it refuses"),
        ] {
            let target = json!({ "lastError": "it refuses", "lastErrorTime": time });
            assert_eq!(dated(&target, now)["lastError"], told);
        }
        let well = json!({ "lastError": "", "lastErrorTime": null });
        assert_eq!(dated(&well, now), well);
    }
}
