//! One round of edits of a bucket's policy, and what becomes of the policy in it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::Failure;
use super::desk::{Edit, Outcome};
use super::fault::Fault;
use super::lock::Held;
use super::policy::Policy;
use super::probe::Neighbour;
use super::roster::Said;

/// Edits that are made together.
pub(super) struct Round<'a> {
    pub(super) held: &'a Held,
    pub(super) bucket: &'a str,
    pub(super) edits: &'a [Edit],
    /// What else the policy has to say, where it may have lost it.
    pub(super) said: &'a [Said],
    /// By edit: the claims that the tenant has yet to make.
    pub(super) unclaimed: Vec<Vec<String>>,
    /// Principals of these edits that the records deny from before.
    pub(super) recorded: Vec<&'a [String]>,
    /// Whether one of them was missing in the policy.
    pub(super) is_robbed: bool,
    /// What the neighbour got before the first denial of this round; `None` before anybody is denied. Looked at once: later,
    /// what stands may be ours, or not be forgotten yet by the store.
    pub(super) neighbour: Option<Result<Neighbour, Failure>>,
    /// One for each edit.
    pub(super) outcomes: Vec<Outcome>,
    /// Whether the policy was seen to say all that it has to.
    pub(super) is_whole: bool,
    /// Whether a write got no answer, and may still arrive.
    pub(super) is_open: AtomicBool,
}

impl Round<'_> {
    /// The edits that nothing speaks against.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.edits.len()).filter(|&index| self.outcomes[index].is_ok()).collect()
    }

    pub(super) fn not_written(&self, fault: &Fault, what: &str) -> Failure {
        if fault.is_open() {
            self.is_open.store(true, Ordering::Relaxed);
        }
        fault.failing(what)
    }

    /// The policy with every one of these edits that fits; the others are refused. Edits that take away come first: they
    /// make room.
    pub(super) fn merge(&mut self, before: &Policy, open: &[usize], bytes_max: usize) -> Policy {
        let mut wanted = before.clone();
        let (fewer, more): (Vec<&Said>, Vec<&Said>) =
            self.said.iter().partition(|said| said.denial.is_none());
        for said in fewer.into_iter().chain(more) {
            let mut next = wanted.clone();
            next.set(&said.principals, said.denial);
            if next.size() > bytes_max && next.size() > wanted.size() {
                tracing::error!(bucket = self.bucket, "a denial that is on record has no room in the policy");
            } else {
                wanted = next;
            }
        }
        let (more, fewer): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&index| self.edits[index].denial.is_some());
        for index in fewer.into_iter().chain(more) {
            let edit = &self.edits[index];
            let mut next = wanted.clone();
            next.set(&edit.place.principals, edit.denial);
            let size = next.size();
            if size > bytes_max && size > wanted.size() {
                self.outcomes[index] = Err(no_room(self.bucket, size, bytes_max));
            } else {
                wanted = next;
            }
        }
        wanted
    }
}

fn no_room(bucket: &str, size: usize, max: usize) -> Failure {
    Failure::permanent(format!(
        "the policy of bucket {bucket} would have {size} bytes and may have {max}: make new tenants in other \
         buckets, or revoke the keys of purged ones; before `layout` is changed, tenants that there are have to be moved"
    ))
}
