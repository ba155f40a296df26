//! How a tenant fares: a score from four signals.
//!
//! The score starts at 100 and loses 10 points for every 100 ms of p95 latency above 500 ms (in proportion), 20 points
//! for every 1 % of errors (in proportion), 30 points where fewer than 95 % of queries succeed and 20 points where more
//! than 90 % of the storage is in use. It ends at 0, and is rounded once, at the end, half away from zero.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Latency that costs nothing, in milliseconds.
const LATENCY_FREE_MS: f64 = 500.0;
/// Below this share of successful queries, points are lost.
const QUERY_SUCCESS_MIN: f64 = 0.95;
/// Above this share of storage in use, points are lost.
const STORAGE_MAX: f64 = 0.90;

/// What was measured of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Latency in milliseconds that 95 % of its calls stay below; 0 and above.
    pub latency_p95_ms: f64,
    /// Share of calls that failed, 0 to 1.
    pub error_rate: f64,
    /// Share of queries that succeeded, 0 to 1.
    pub query_success_rate: f64,
    /// Share of its storage in use, 0 to 1.
    pub storage_utilization: f64,
}

/// A signal that cannot have been measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct InvalidSignal {
    /// The signal's name in the contract.
    pub field: &'static str,
    /// The end of a sentence that starts with the field.
    pub why: &'static str,
}

impl Signals {
    /// Refuses what is not finite, negative, or a share above 1.
    pub fn check(&self) -> Result<(), InvalidSignal> {
        if !(self.latency_p95_ms.is_finite() && self.latency_p95_ms >= 0.0) {
            return Err(InvalidSignal {
                field: "latency_p95_ms",
                why: "must be a finite number of 0 or more",
            });
        }
        let shares = [
            ("error_rate", self.error_rate),
            ("query_success_rate", self.query_success_rate),
            ("storage_utilization", self.storage_utilization),
        ];
        // A range contains neither NaN nor an infinity.
        match shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            None => Ok(()),
            Some((field, _)) => {
                Err(InvalidSignal { field, why: "must be a share from 0 to 1, not a percentage" })
            }
        }
    }
}

/// Points lost by signal, before the score stops at 0: latency and errors alone can exceed 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// For latency, 0 or more.
    pub latency_p95_ms: f64,
    /// For errors, 0 to 2000.
    pub error_rate: f64,
    /// For failing queries, 0 or 30.
    pub query_success_rate: f64,
    /// For full storage, 0 or 20.
    pub storage_utilization: f64,
}

impl Penalties {
    /// Each signal's name in the contract and its points.
    pub const fn by_signal(&self) -> [(&'static str, f64); 4] {
        [
            ("latency_p95_ms", self.latency_p95_ms),
            ("error_rate", self.error_rate),
            ("query_success_rate", self.query_success_rate),
            ("storage_utilization", self.storage_utilization),
        ]
    }

    fn total(&self) -> f64 {
        self.by_signal().into_iter().map(|(_, points)| points).sum()
    }
}

/// Points lost by signal.
pub fn penalties(signals: &Signals) -> Result<Penalties, InvalidSignal> {
    signals.check()?;
    let when = |lost: bool, points: f64| if lost { points } else { 0.0 };
    Ok(Penalties {
        latency_p95_ms: (signals.latency_p95_ms - LATENCY_FREE_MS).max(0.0) / 10.0,
        error_rate: signals.error_rate * 2_000.0,
        query_success_rate: when(signals.query_success_rate < QUERY_SUCCESS_MIN, 30.0),
        storage_utilization: when(signals.storage_utilization > STORAGE_MAX, 20.0),
    })
}

/// The score of a set of signals.
pub fn score(signals: &Signals) -> Result<Score, InvalidSignal> {
    let points = (100.0 - penalties(signals)?.total()).clamp(0.0, 100.0).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Whole and within 0 to 100.
    Ok(Score(points as u8))
}

/// 0 (worst) to 100 (best).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Score(u8);

impl Score {
    /// Nothing to complain about; also the score before any signal was reported.
    pub const BEST: Self = Self(100);

    /// Takes 0 to 100; `None` above.
    pub const fn new(points: u8) -> Option<Self> {
        if points <= 100 { Some(Self(points)) } else { None }
    }

    /// The points, 0 to 100.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The level the score falls into.
    pub const fn level(self) -> Level {
        match self.0 {
            80.. => Level::Healthy,
            50..=79 => Level::Degraded,
            0..=49 => Level::Critical,
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = u8::deserialize(deserializer)?;
        Self::new(points).ok_or_else(|| serde::de::Error::custom("a health score is 0 to 100"))
    }
}

/// How a tenant fares, in a word. Worst first, so that levels compare as one expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Score below 50.
    Critical,
    /// Score 50 to 79.
    Degraded,
    /// Score 80 and above.
    Healthy,
}

impl Level {
    /// The name in the contract, for example `HEALTHY`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Degraded => "DEGRADED",
            Self::Healthy => "HEALTHY",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn signals(latency: f64, errors: f64, success: f64, storage: f64) -> Signals {
        Signals {
            latency_p95_ms: latency,
            error_rate: errors,
            query_success_rate: success,
            storage_utilization: storage,
        }
    }

    fn points(latency: f64, errors: f64, success: f64, storage: f64) -> u8 {
        score(&signals(latency, errors, success, storage)).unwrap().get()
    }

    #[test]
    fn the_three_tenants_of_the_seed_score_90_10_and_0() {
        assert_eq!(points(350.0, 0.005, 0.98, 0.70), 90);
        assert_eq!(points(700.0, 0.02, 0.93, 0.85), 10);
        assert_eq!(points(1200.0, 0.10, 0.80, 0.95), 0);
    }

    #[test]
    fn thresholds_themselves_cost_nothing() {
        assert_eq!(points(500.0, 0.0, 0.95, 0.90), 100);
        assert_eq!(points(0.0, 0.0, 0.9499, 0.0), 70);
        assert_eq!(points(0.0, 0.0, 1.0, 0.9001), 80);
    }

    #[test]
    fn latency_and_errors_cost_in_proportion_and_rounding_happens_once() {
        assert_eq!(points(550.0, 0.0, 1.0, 0.0), 95);
        assert_eq!(points(504.0, 0.0, 1.0, 0.0), 100, "0.4 points");
        assert_eq!(points(505.0, 0.0, 1.0, 0.0), 100, "99.5 rounds away from zero");
        assert_eq!(points(506.0, 0.0, 1.0, 0.0), 99);
        assert_eq!(points(504.0, 0.000_2, 1.0, 0.0), 99, "0.4 and 0.4 points are 0.8 together");
    }

    #[test]
    fn what_cannot_be_measured_is_refused_by_name() {
        let refused = |s: Signals| score(&s).unwrap_err().field;
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.001] {
            assert_eq!(refused(signals(bad, 0.0, 1.0, 0.0)), "latency_p95_ms");
            assert_eq!(refused(signals(0.0, bad, 1.0, 0.0)), "error_rate");
            assert_eq!(refused(signals(0.0, 0.0, bad, 0.0)), "query_success_rate");
            assert_eq!(refused(signals(0.0, 0.0, 1.0, bad)), "storage_utilization");
        }
        assert_eq!(refused(signals(0.0, 5.0, 1.0, 0.0)), "error_rate");
        assert_eq!(
            score(&signals(0.0, 0.0, 98.0, 0.0)).unwrap_err().to_string(),
            "query_success_rate must be a share from 0 to 1, not a percentage"
        );
    }

    #[test]
    fn levels_begin_at_80_and_50() {
        let level = |points| Score::new(points).unwrap().level();
        assert_eq!([level(100), level(80)], [Level::Healthy; 2]);
        assert_eq!([level(79), level(50)], [Level::Degraded; 2]);
        assert_eq!([level(49), level(0)], [Level::Critical; 2]);
        assert_eq!(Score::new(101), None);
        assert!(serde_json::from_str::<Score>("101").is_err());
    }

    proptest! {
        #[test]
        fn any_measurable_signals_have_a_score_and_worse_signals_never_a_better_one(
            latency in 0.0..1e9_f64, errors in 0.0..=1.0_f64, success in 0.0..=1.0_f64, storage in 0.0..=1.0_f64, more in 0.0..1.0_f64
        ) {
            let base = points(latency, errors, success, storage);
            prop_assert!(base <= 100);
            prop_assert!(points(latency + more * 1e3, errors, success, storage) <= base);
            prop_assert!(points(latency, (errors + more).min(1.0), success, storage) <= base);
            prop_assert!(points(latency, errors, success * more, storage) <= base);
            prop_assert!(points(latency, errors, success, (storage + more).min(1.0)) <= base);
        }
    }
}
