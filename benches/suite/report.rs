//! Slices put together: rates with their spread, latency, CPU per call, and how the servers compare round by round.

use std::time::Duration;

use crate::{client::Outcome, target::Target};

/// One server's slices on one case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    calls: usize,
    failed: usize,
    cpu: Duration,
    rates: Vec<f64>,
    latencies_us: Vec<u32>,
}

// Counts of a bench fit a float's 52 bits.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: &Outcome, slice: Duration, cpu: Duration) {
        self.calls += outcome.latencies_us.len();
        self.failed += outcome.failed;
        self.cpu += cpu;
        self.rates.push(float(outcome.latencies_us.len()) / slice.as_secs_f64());
        self.latencies_us.extend(&outcome.latencies_us);
    }

    /// The middle one of the rounds' ratios of calls per second.
    pub(crate) fn to(&self, other: &Self) -> f64 {
        spread(self.rates.iter().zip(&other.rates).map(|(ours, theirs)| ours / theirs))[1]
    }

    fn cpu_us_per_call(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / float(self.calls.max(1))
    }
}

/// Smallest, middle and largest.
fn spread(values: impl IntoIterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}

/// `permille` of 1,000; the list is sorted.
fn percentile(sorted: &[u32], permille: usize) -> u32 {
    sorted.get(sorted.len() * permille / 1_000).copied().unwrap_or(0)
}

pub(crate) fn print(name: &str, targets: &[&Target], tallies: &[Tally]) {
    println!("\n{name}");
    println!(
        "{:<14} {:>9} {:>19} {:>8} {:>8} {:>9} {:>7}   vs {}",
        "server", "calls/s", "(min-max)", "p50 us", "p99 us", "CPU us", "failed", targets[0].name
    );
    for (target, tally) in targets.iter().zip(tallies) {
        let [least, middle, most] = spread(tally.rates.iter().copied());
        let mut latencies = tally.latencies_us.clone();
        latencies.sort_unstable();
        let ratios = tally.rates.iter().zip(&tallies[0].rates).map(|(ours, first)| ours / first);
        let [worst, usual, best] = spread(ratios);
        println!(
            "{:<14} {middle:>9.0} {:>19} {:>8} {:>8} {:>9.1} {:>7}   {usual:.2}x ({worst:.2}-{best:.2})",
            target.name,
            format!("({least:.0}-{most:.0})"),
            percentile(&latencies, 500),
            percentile(&latencies, 990),
            tally.cpu_us_per_call(),
            tally.failed,
        );
    }
}
