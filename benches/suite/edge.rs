//! Our edge against a usual tonic server, or any running servers against each other.

use std::{fs, net::SocketAddr, time::Duration};

use clap::Args;

use crate::{
    client::{self, Case, Load},
    echo::{self, Echo},
    report::{self, Tally},
    target::Target,
};

/// Options of `edge`.
#[derive(Args)]
pub(crate) struct Options {
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
    let requests = vec![fs::read(file).map_err(|cause| format!("{file}: {cause}"))?.into()];
    Ok(Case { name: name.to_owned(), path: path.to_owned(), is_json: false, requests, reply_bytes: None })
}

/// Runs it.
pub(crate) fn run(options: Options) {
    let mut targets: Vec<_> =
        options.attach.into_iter().map(|(name, address, pid)| Target::attach(name, address, pid)).collect();
    let mut cases = options.case;
    if !options.no_echo {
        for kind in [Echo::Tonic, Echo::Edge, Echo::EdgeLogged] {
            targets.push(Target::spawn(kind, options.reply_bytes));
        }
        if cases.is_empty() {
            cases.push(echo::case(20, options.reply_bytes));
        }
    }
    let load =
        Load { connections: options.connections, streams: options.streams, threads: options.client_threads };
    println!(
        "{} connections x {} streams, {} slices of {} ms each, in turn",
        load.connections, load.streams, options.slices, options.slice_ms
    );
    for case in cases {
        let rivals: Vec<_> = targets.iter().map(|target| (target, case.clone())).collect();
        in_turns(&case.name, &rivals, &load, options.slices, Duration::from_millis(options.slice_ms));
    }
}

/// Loads each server for a slice, again and again, and prints how they compare.
pub(crate) fn in_turns(
    name: &str,
    rivals: &[(&Target, Case)],
    load: &Load,
    slices: usize,
    slice: Duration,
) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); rivals.len()];
    // The first round warms up and is not counted.
    for round in 0..=slices {
        for offset in 0..rivals.len() {
            // Whoever goes first changes, so that nobody always follows the same neighbour.
            let index = (round + offset) % rivals.len();
            let (target, case) = &rivals[index];
            let cpu_before = target.cpu();
            let outcome = client::run(target.address, case, load, slice);
            let cpu = target.cpu().saturating_sub(cpu_before);
            if round > 0 {
                tallies[index].add(&outcome, slice, cpu);
            }
        }
    }
    let targets: Vec<_> = rivals.iter().map(|(target, _)| *target).collect();
    report::print(name, &targets, &tallies);
    tallies
}
