//! What the rules of one call may cost together.

use std::cell::Cell;

use super::evaluate::STEPS_MAX;

/// Most steps of all the rules that a client's call evaluates: twenty times the most of one. About 40 ms; 500 rules that
/// look through a list of 100 items take a tenth of it.
const CALL_STEPS_MAX: u64 = 20 * STEPS_MAX as u64;
/// Most steps of a call's rules on a thread that serves, where other calls wait for it: half the most of one. About 1 ms.
const LITTLE_STEPS_MAX: u64 = STEPS_MAX as u64 / 2;

/// How much may be spent on the rules of a client's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// So much that others can wait for it.
    Little,
    /// All that a call may cost.
    Full,
}

/// The steps that are left to a call. Without a bound where it is not a client who says what rules look at.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    is_spent: Cell<bool>,
    given_up: Cell<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(u64::MAX)
    }
}

impl Budget {
    /// That of a client's call.
    pub const fn of_call(effort: Effort) -> Self {
        Self::of(match effort {
            Effort::Little => LITTLE_STEPS_MAX,
            Effort::Full => CALL_STEPS_MAX,
        })
    }

    const fn of(steps: u64) -> Self {
        Self { left: Cell::new(steps), is_spent: Cell::new(false), given_up: Cell::new(0) }
    }

    /// Whether a rule could not be evaluated to its end because others had taken what there was.
    pub const fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// How many rules were not evaluated to their end, since each took more than one may.
    pub const fn given_up(&self) -> u32 {
        self.given_up.get()
    }

    /// What the next rule may take.
    pub(super) fn share(&self) -> u32 {
        u32::try_from(self.left.get()).map_or(STEPS_MAX, |left| left.min(STEPS_MAX))
    }

    /// Takes what a rule took of its share.
    pub(super) fn take(&self, steps: u32) {
        self.left.set(self.left.get().saturating_sub(steps.into()));
    }

    /// Notes that a rule's share was not enough.
    pub(super) fn exceed(&self, share: u32) {
        if share < STEPS_MAX {
            self.left.set(0);
            self.is_spent.set(true);
        } else {
            self.given_up.set(self.given_up.get().saturating_add(1));
        }
    }
}
