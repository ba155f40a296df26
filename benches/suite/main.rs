//! The benchmarks. Everything is compared side by side in one run; docs/PERFORMANCE.md says what came of it and how.
//!
//! ```text
//! make bench                              # all of it
//! make bench ARGS="-- calls"              # one of: edge, calls, flags, rules, create, view, suspend, verify
//! make bench ARGS="-- edge --connections 64 --streams 1 --reply-bytes 4096"
//! make bench ARGS="-- edge --no-echo --attach ours=127.0.0.1:50051=PID --case get=/tenantry.v1.TenantRegistry/GetTenant=get.pb"
//! ```
//!
//! Servers run as processes of their own and take turns, a slice each, so that a busy machine hurts them alike. Their CPU
//! time is read from `/proc/PID/stat`; client and servers share the machine, so calls/s say less than CPU per call.
// A report is printed, and a bench that cannot go on stops where it stands.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod calls;
mod client;
mod create;
mod echo;
mod edge;
mod flags;
mod report;
mod rules;
mod served;
mod suspend;
mod target;
mod verify;
mod view;

use clap::{Parser, Subcommand};

use self::echo::Echo;

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    which: Option<Which>,
    /// What cargo hands to every bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Which {
    /// Our edge against a usual tonic server.
    Edge(edge::Options),
    /// Real calls against echoes of the same size.
    Calls(calls::Options),
    /// Evaluation of flags in process.
    Flags,
    /// Targeting rules by themselves.
    Rules,
    /// Tenants made per second, beside pgbench writing the same rows.
    Create(create::Options),
    /// Loading the view.
    View(view::Options),
    /// A suspension beside its slowest target; a thousand beside what the targets take.
    Suspend,
    /// Reads with the background verifier and without.
    Verify(verify::Options),
    /// One of the echo servers, until standard input closes.
    #[command(hide = true)]
    ServeEcho {
        kind: Echo,
        #[arg(long)]
        reply_bytes: usize,
    },
}

fn main() {
    match Command::parse().which {
        Some(Which::ServeEcho { kind, reply_bytes }) => echo::serve(kind, reply_bytes),
        Some(which) => run(which),
        None => {
            for name in ["edge", "calls", "flags", "rules", "create", "view", "suspend", "verify"] {
                println!("\n=== {name}");
                run(Command::parse_from(["suite", name]).which.expect("a subcommand was named"));
            }
        }
    }
}

fn run(which: Which) {
    match which {
        Which::Edge(options) => edge::run(options),
        Which::Calls(options) => calls::run(&options),
        Which::Flags => flags::run(),
        Which::Rules => rules::run(),
        Which::Create(options) => create::run(&options),
        Which::View(options) => view::run(&options),
        Which::Suspend => suspend::run(),
        Which::Verify(options) => verify::run(&options),
        Which::ServeEcho { kind, reply_bytes } => echo::serve(kind, reply_bytes),
    }
}
