//! Load, compared: two or more servers take turns, a slice each, so that a busy machine hurts them alike.
//!
//! ```text
//! cargo bench --bench load                                     # our edge against a usual tonic server
//! cargo bench --bench load -- --connections 64 --streams 1 --reply-bytes 4096
//! cargo bench --bench load -- --no-echo --attach ours=127.0.0.1:50051=PID --attach theirs=127.0.0.1:8013=PID \
//!     --case get=/tenantry.v1.TenantRegistry/GetTenant=get.pb
//! ```
//!
//! A case is a method's path and a file with the request's protobuf bytes. The servers' CPU time is read from
//! `/proc/PID/stat`; client and servers share the machine, so calls/s say less than CPU per call does.
// A report is printed, and a bench that cannot go on stops where it stands.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod client;
mod echo;
mod report;
mod target;

use std::{fs, net::SocketAddr, time::Duration};

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};

use self::{client::Load, echo::Echo, report::Tally, target::Target};

/// One method to load.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// For the report.
    pub(crate) name: String,
    /// `/package.Service/Method`.
    pub(crate) path: String,
    /// The request, encoded.
    pub(crate) request: Bytes,
    /// Size of the reply, if it must be that; anything else counts as a failure.
    pub(crate) reply_bytes: Option<usize>,
}

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    serve: Option<Serve>,
    #[command(flatten)]
    compare: Compare,
    /// What cargo hands to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One of the servers, as a process of its own.
#[derive(Subcommand)]
enum Serve {
    /// Serves the echo until standard input closes.
    Echo {
        /// Which one.
        kind: Echo,
        /// Size of the reply in bytes.
        #[arg(long)]
        reply_bytes: usize,
    },
}

#[derive(Args)]
struct Compare {
    /// Connections to each server.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls open at once on a connection.
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Client threads.
    #[arg(long, default_value_t = 1)]
    client_threads: usize,
    /// Slices per server and case.
    #[arg(long, default_value_t = 8)]
    slices: usize,
    /// Length of a slice.
    #[arg(long, default_value_t = 1_000)]
    slice_ms: u64,
    /// Size of the echoes' replies.
    #[arg(long, default_value_t = 120)]
    reply_bytes: usize,
    /// Leave the echo servers out.
    #[arg(long)]
    no_echo: bool,
    /// A running server: NAME=ADDRESS=PID.
    #[arg(long, value_parser = attached)]
    attach: Vec<(String, SocketAddr, u32)>,
    /// A method: NAME=PATH=FILE.
    #[arg(long, value_parser = case)]
    case: Vec<Case>,
}

fn three(text: &str) -> Result<[&str; 3], String> {
    let mut parts = text.splitn(3, '=');
    match [parts.next(), parts.next(), parts.next()] {
        [Some(a), Some(b), Some(c)] => Ok([a, b, c]),
        _ => Err("three parts with = between them".to_owned()),
    }
}

fn attached(text: &str) -> Result<(String, SocketAddr, u32), String> {
    let [name, address, pid] = three(text)?;
    let address = address.parse().map_err(|_| format!("{address} is no address"))?;
    Ok((name.to_owned(), address, pid.parse().map_err(|_| format!("{pid} is no process id"))?))
}

fn case(text: &str) -> Result<Case, String> {
    let [name, path, file] = three(text)?;
    let request = fs::read(file).map_err(|cause| format!("{file}: {cause}"))?.into();
    Ok(Case { name: name.to_owned(), path: path.to_owned(), request, reply_bytes: None })
}

fn main() {
    let command = Command::parse();
    match command.serve {
        Some(Serve::Echo { kind, reply_bytes }) => echo::serve(kind, reply_bytes),
        None => compare(command.compare),
    }
}

fn compare(options: Compare) {
    let mut targets: Vec<_> =
        options.attach.into_iter().map(|(name, address, pid)| Target::attach(name, address, pid)).collect();
    let mut cases = options.case;
    if !options.no_echo {
        for kind in [Echo::Tonic, Echo::Edge, Echo::EdgeLogged] {
            targets.push(Target::spawn(kind, options.reply_bytes));
        }
        if cases.is_empty() {
            cases.push(echo::case(options.reply_bytes));
        }
    }
    let load =
        Load { connections: options.connections, streams: options.streams, threads: options.client_threads };
    println!(
        "{} connections x {} streams, {} slices of {} ms each, in turn",
        load.connections, load.streams, options.slices, options.slice_ms
    );
    for case in &cases {
        let slice = Duration::from_millis(options.slice_ms);
        let mut tallies = vec![Tally::default(); targets.len()];
        // The first round warms up and is not counted.
        for round in 0..=options.slices {
            for offset in 0..targets.len() {
                // Whoever goes first changes, so that nobody always follows the same neighbour.
                let index = (round + offset) % targets.len();
                let cpu_before = targets[index].cpu();
                let outcome = client::run(targets[index].address, case, &load, slice);
                let cpu = targets[index].cpu().saturating_sub(cpu_before);
                if round > 0 {
                    tallies[index].add(&outcome, slice, cpu);
                }
            }
        }
        report::print(case, &targets, &tallies);
    }
}
