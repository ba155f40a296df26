//! Ways to misbehave.

use std::time::Duration;

use tonic::Status;

/// What becomes of calls with the server's key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    None,
    /// An error, and nothing is done.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// No answer ever; nothing is done.
    Hang,
    /// It says that it was done, and nothing is done.
    Lie,
    /// The same of one rpc alone.
    LieAt(&'static str),
    /// Each other call fails.
    Flap,
    /// Each call takes so long.
    Slow(Duration),
    /// The call of this number and all later ones never arrive: the caller was cut off.
    CutBefore(usize),
    /// The call of this number is done, its answer and all later calls are lost.
    CutAfter(usize),
}

/// The fault, and what came since.
#[derive(Debug)]
pub(super) struct Faults {
    fault: Fault,
    calls: usize,
}

/// What is to become of one call.
pub(super) enum Fate {
    Serve(Duration),
    Fail,
    /// Do it, then lose the answer.
    Lose,
    Hang,
    Pretend,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(Fault::None)
    }
}

impl Faults {
    pub(super) const fn new(fault: Fault) -> Self {
        Self { fault, calls: 0 }
    }

    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Of the next call.
    pub(super) fn fate(&mut self, rpc: &str) -> Fate {
        let number = self.calls;
        self.calls += 1;
        match self.fault {
            Fault::Before => Fate::Fail,
            Fault::After => Fate::Lose,
            Fault::Hang => Fate::Hang,
            Fault::Lie => Fate::Pretend,
            Fault::LieAt(only) if only == rpc => Fate::Pretend,
            Fault::Flap if number.is_multiple_of(2) => Fate::Fail,
            Fault::CutBefore(at) if number >= at => Fate::Fail,
            Fault::CutAfter(at) if number == at => Fate::Lose,
            Fault::CutAfter(at) if number > at => Fate::Fail,
            Fault::Slow(time) => Fate::Serve(time),
            _ => Fate::Serve(Duration::ZERO),
        }
    }
}

pub(super) fn failing() -> Status {
    Status::internal("Service internal error: as the test wants it")
}

pub(super) fn lost() -> Status {
    Status::unavailable("as the test wants it")
}
