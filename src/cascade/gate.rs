//! The way into one target system: how many attempts run there at once, and whether any should.
//!
//! Second-class attempts (retries, batches and bulk operations, the verifier) share half of the places: tenants whose attempts
//! hang, or a thousand tenants suspended at once, never keep out one that is asked for by itself.
//!
//! The circuit belongs to the target, not to a tenant. It opens when attempts of several tenants have failed in a row,
//! so one broken tenant opens nothing. While it is open no attempt counts: operations wait, and go on by themselves when
//! the target is back. After a pause a few attempts probe it; the first answer closes it. What failed in a row may all
//! the same be tenants that hang at a target that serves others: so one first attempt a pause of the first length is
//! let through whatever the circuit says, and whoever would be served waits no longer than that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use uuid::Uuid;

/// Attempts that probe an open circuit at once: one may belong to a tenant that is broken by itself.
const PROBES_MAX: u32 = 4;
/// Tenants whose attempts must have failed before the circuit opens.
const TENANTS_MIN: usize = 3;
/// The longest pause, in pauses of the configured length.
const COOLDOWNS_MAX: u32 = 30;
/// By how much second-class attempts probe later than those that were never tried.
const PROBE_LATER: Duration = Duration::from_millis(20);

/// What a target takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts at once.
    pub concurrent_max: usize,
    /// Failures in a row, of several tenants, that open the circuit.
    pub failures_max: u32,
    /// The first pause before an open circuit is probed; it doubles with every probe that fails.
    pub cooldown: Duration,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A first attempt that somebody waits for.
    First,
    /// Retries, batches and bulk operations, the verifier.
    Second,
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// All may pass.
    Closed,
    /// None may pass.
    Open,
    /// A few may pass, to find out.
    Probing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// One round: how many probes of it have begun, and how many of those have not ended.
    Probing {
        begun: u32,
        under_way: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Pass(Right),
    /// Ask again then, or at news.
    WaitUntil(Instant),
    WaitForNews,
}

/// By what right an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// The circuit is closed.
    Free,
    /// One of a round.
    Probe,
    /// The first attempt that is let through whatever others found.
    Stray,
}

/// The rule alone; time is an argument.
#[derive(Debug)]
struct Circuit {
    limits: Limits,
    phase: Phase,
    failures: u32,
    /// Whose attempts failed since the last answer; no more than decide.
    tenants: Vec<Uuid>,
    cooldown: Duration,
    /// When the next stray may pass; `None` for now.
    next_stray: Option<Instant>,
}

impl Circuit {
    const fn new(limits: Limits) -> Self {
        let cooldown = limits.cooldown;
        Self { limits, phase: Phase::Closed, failures: 0, tenants: Vec::new(), cooldown, next_stray: None }
    }

    fn admit(&mut self, class: Class, now: Instant) -> Admission {
        match self.phase {
            Phase::Closed => Admission::Pass(Right::Free),
            Phase::Open { until } => {
                let until = if class == Class::First { until } else { until + PROBE_LATER };
                if now < until {
                    return self.stray(class, now, Some(until));
                }
                self.phase = Phase::Probing { begun: 1, under_way: 1 };
                Admission::Pass(Right::Probe)
            }
            // A probe that failed makes no room for another of its round: with many tenants waiting the round would
            // never end, and a target that is down would be asked without a pause.
            Phase::Probing { begun, under_way } if begun < PROBES_MAX => {
                self.phase = Phase::Probing { begun: begun + 1, under_way: under_way + 1 };
                Admission::Pass(Right::Probe)
            }
            Phase::Probing { .. } => self.stray(class, now, None),
        }
    }

    /// Of an attempt that the circuit holds up, at the latest `until`: whether it passes all the same.
    fn stray(&mut self, class: Class, now: Instant, until: Option<Instant>) -> Admission {
        let next = self.next_stray.filter(|next| now < *next);
        match (class, next, until) {
            (Class::First, None, _) => {
                self.next_stray = Some(now + self.limits.cooldown);
                Admission::Pass(Right::Stray)
            }
            (Class::First, Some(next), until) => {
                Admission::WaitUntil(until.map_or(next, |until| until.min(next)))
            }
            (Class::Second, _, Some(until)) => Admission::WaitUntil(until),
            (Class::Second, _, None) => Admission::WaitForNews,
        }
    }

    /// The target answered, whatever it said. Answers whether others may pass now that could not before.
    fn answered(&mut self) -> bool {
        let opened = self.phase != Phase::Closed;
        self.failures = 0;
        self.tenants.clear();
        self.next_stray = None;
        self.cooldown = self.limits.cooldown;
        self.phase = Phase::Closed;
        opened
    }

    /// It did not answer, or could not do its work.
    fn failed(&mut self, tenant: Uuid, right: Right, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.tenants.len() < TENANTS_MIN && !self.tenants.contains(&tenant) {
            self.tenants.push(tenant);
        }
        let down = self.failures >= self.limits.failures_max && self.tenants.len() >= TENANTS_MIN;
        match self.phase {
            Phase::Closed if down => {
                self.phase = Phase::Open { until: now + self.cooldown };
            }
            Phase::Probing { begun, under_way } if right == Right::Probe && under_way > 1 => {
                self.phase = Phase::Probing { begun, under_way: under_way - 1 };
            }
            Phase::Probing { .. } if right == Right::Probe => {
                self.cooldown = (self.cooldown * 2).min(self.limits.cooldown * COOLDOWNS_MAX);
                self.phase = Phase::Open { until: now + self.cooldown };
            }
            // Attempts from before it opened, and strays.
            _ => {}
        }
    }

    /// A probe that ended without a result.
    fn give_back(&mut self, now: Instant) {
        match self.phase {
            Phase::Probing { begun, under_way } if under_way > 1 => {
                self.phase = Phase::Probing { begun: begun - 1, under_way: under_way - 1 };
            }
            Phase::Probing { .. } => self.phase = Phase::Open { until: now },
            _ => {}
        }
    }

    const fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::Probing { .. } => CircuitState::Probing,
        }
    }
}

/// The way into a target.
pub(super) struct Gate {
    concurrent_max: usize,
    places: Semaphore,
    second_places: Semaphore,
    circuit: Mutex<Circuit>,
    news: Notify,
}

/// The permission for one attempt.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    right: Right,
    ended: bool,
    _place: SemaphorePermit<'a>,
    _second: Option<SemaphorePermit<'a>>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            concurrent_max: limits.concurrent_max,
            places: Semaphore::new(limits.concurrent_max),
            second_places: Semaphore::new((limits.concurrent_max / 2).max(1)),
            circuit: Mutex::new(Circuit::new(limits)),
            news: Notify::new(),
        }
    }

    /// Waits for a place and for the circuit, however long that takes. `None` when the engine is going down.
    pub(super) async fn enter(&self, class: Class) -> Option<Pass<'_>> {
        loop {
            // Asked before the circuit is looked at, so that no news in between is missed.
            let news = self.news.notified();
            let admission = self.circuit().admit(class, Instant::now());
            match admission {
                Admission::WaitUntil(until) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = news => {}
                },
                Admission::WaitForNews => news.await,
                Admission::Pass(right @ (Right::Probe | Right::Stray)) => {
                    return self.pass(class, right).await;
                }
                Admission::Pass(Right::Free) => {
                    let pass = self.pass(class, Right::Free).await?;
                    // It may have opened while this attempt waited for its place.
                    if self.state() == CircuitState::Closed {
                        return Some(pass);
                    }
                }
            }
        }
    }

    /// A place for a look that nobody depends on: not while the circuit is open. `None` where there is none.
    pub(super) async fn enter_if_closed(&self) -> Option<Pass<'_>> {
        if self.state() != CircuitState::Closed {
            return None;
        }
        self.pass(Class::Second, Right::Free).await
    }

    async fn pass(&self, class: Class, right: Right) -> Option<Pass<'_>> {
        // Held while this waits: given up with it, the probe's place goes to another.
        let mut probing = Probing { gate: self, probe: right == Right::Probe };
        let second = match class {
            Class::First => None,
            Class::Second => Some(self.second_places.acquire().await.ok()?),
        };
        let place = self.places.acquire().await.ok()?;
        probing.probe = false;
        Some(Pass { gate: self, right, ended: false, _place: place, _second: second })
    }

    pub(super) fn state(&self) -> CircuitState {
        self.circuit().state()
    }

    /// Attempts under way.
    pub(super) fn in_flight(&self) -> usize {
        self.concurrent_max.saturating_sub(self.places.available_permits())
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe that waits for its place.
struct Probing<'a> {
    gate: &'a Gate,
    probe: bool,
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.gate.circuit().give_back(Instant::now());
            self.gate.news.notify_waiters();
        }
    }
}

impl Pass<'_> {
    /// Whether it was made although the target was known not to answer: then its failure is no news.
    pub(super) fn is_trial(&self) -> bool {
        self.right != Right::Free
    }

    /// Tells how the attempt went: whether the target answered at all.
    pub(super) fn ended(mut self, tenant: Uuid, answered: bool) {
        self.ended = true;
        let mut circuit = self.gate.circuit();
        let news = if answered {
            circuit.answered()
        } else {
            circuit.failed(tenant, self.right, Instant::now());
            self.right == Right::Probe
        };
        drop(circuit);
        if news {
            self.gate.news.notify_waiters();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.right == Right::Probe && !self.ended {
            self.gate.circuit().give_back(Instant::now());
            self.gate.news.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { concurrent_max: 4, failures_max: 5, cooldown: Duration::from_secs(1) };
    const FREE: Admission = Admission::Pass(Right::Free);
    const PROBE: Admission = Admission::Pass(Right::Probe);
    const STRAY: Admission = Admission::Pass(Right::Stray);

    fn tenant(number: u32) -> Uuid {
        Uuid::from_u128(u128::from(number))
    }

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::new(LIMITS);
        for number in 0..5 {
            assert_eq!(circuit.admit(Class::First, now), FREE);
            circuit.failed(tenant(number), Right::Free, now);
        }
        assert_eq!(circuit.state(), CircuitState::Open);
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_of_several_tenants() {
        opened(Instant::now());
    }

    #[test]
    fn one_broken_tenant_opens_nothing_and_one_answer_starts_the_count_again() {
        let now = Instant::now();
        let mut circuit = Circuit::new(LIMITS);
        for _ in 0..1_000 {
            circuit.failed(tenant(1), Right::Free, now);
        }
        circuit.failed(tenant(2), Right::Free, now);
        assert_eq!(circuit.state(), CircuitState::Closed);
        circuit.answered();
        circuit.failed(tenant(3), Right::Free, now);
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn after_the_pause_a_few_probe_it_and_the_first_answer_closes_it() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        assert_eq!(circuit.admit(Class::Second, now), Admission::WaitUntil(later + PROBE_LATER));
        assert_eq!(circuit.admit(Class::Second, later), Admission::WaitUntil(later + PROBE_LATER));
        for _ in 0..PROBES_MAX {
            assert_eq!(circuit.admit(Class::First, later), PROBE);
        }
        assert_eq!(circuit.admit(Class::Second, later), Admission::WaitForNews);
        circuit.failed(tenant(9), Right::Probe, later);
        assert_eq!(circuit.admit(Class::Second, later), Admission::WaitForNews, "the round is the same");
        assert!(circuit.answered());
        assert_eq!(circuit.admit(Class::First, later), FREE);
    }

    #[test]
    fn a_round_of_probes_ends_however_many_wait_to_be_the_next() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        for _ in 0..PROBES_MAX {
            assert_eq!(circuit.admit(Class::First, later), PROBE);
        }
        for number in 0..PROBES_MAX {
            assert_eq!(circuit.admit(Class::Second, later), Admission::WaitForNews);
            circuit.failed(tenant(number), Right::Probe, later);
        }
        let next = later + LIMITS.cooldown * 2 + PROBE_LATER;
        assert_eq!(circuit.admit(Class::Second, later), Admission::WaitUntil(next));
    }

    #[test]
    fn one_first_attempt_a_cooldown_passes_whatever_others_found() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.admit(Class::First, now), STRAY);
        let next = now + LIMITS.cooldown;
        assert_eq!(circuit.admit(Class::First, now), Admission::WaitUntil(next));
        for number in 0..PROBES_MAX {
            assert_eq!(circuit.admit(Class::First, next), PROBE, "{number}");
        }
        assert_eq!(circuit.admit(Class::First, next), STRAY, "also beside a round");
        circuit.failed(tenant(7), Right::Stray, next);
        for number in 0..PROBES_MAX {
            circuit.failed(tenant(number), Right::Probe, next);
        }
        let Phase::Open { until } = circuit.phase else { panic!("a stray is none of the round") };
        assert_eq!(until, next + LIMITS.cooldown * 2);
        // The pauses between rounds grow, those between strays do not.
        assert_eq!(circuit.admit(Class::First, next), Admission::WaitUntil(next + LIMITS.cooldown));
        assert_eq!(circuit.admit(Class::First, next + LIMITS.cooldown), STRAY);
        assert!(circuit.answered(), "and its answer closes the circuit");
        assert_eq!(circuit.admit(Class::Second, next), FREE);
    }

    #[test]
    fn pauses_double_while_probes_fail_and_start_small_again_after_an_answer() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        for pause in [2, 4, 8, 16, 30, 30] {
            let Phase::Open { until } = circuit.phase else { panic!("it is open") };
            now = until;
            assert_eq!(circuit.admit(Class::First, now), PROBE);
            circuit.failed(tenant(1), Right::Probe, now);
            assert_eq!(circuit.phase, Phase::Open { until: now + Duration::from_secs(pause) });
        }
        circuit.answered();
        assert_eq!(circuit.cooldown, LIMITS.cooldown);
    }

    #[tokio::test]
    async fn second_class_attempts_leave_half_of_the_places_to_first_class_ones() {
        let gate = Gate::new(LIMITS);
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(gate.enter(Class::Second).await.unwrap());
        }
        let third = tokio::time::timeout(Duration::from_millis(20), gate.enter(Class::Second)).await;
        assert!(third.is_err(), "half of four places are taken");
        held.push(gate.enter(Class::First).await.unwrap());
        assert_eq!(gate.in_flight(), 3);
    }

    #[tokio::test]
    async fn a_probe_that_is_given_up_leaves_its_place_to_another() {
        let gate = Gate::new(Limits { cooldown: Duration::from_millis(1), ..LIMITS });
        for number in 0..5 {
            gate.enter(Class::First).await.unwrap().ended(tenant(number), false);
        }
        for _ in 0..20 {
            drop(gate.enter(Class::First).await.unwrap());
        }
        gate.enter(Class::First).await.unwrap().ended(tenant(1), true);
        assert_eq!(gate.state(), CircuitState::Closed);
    }
}
