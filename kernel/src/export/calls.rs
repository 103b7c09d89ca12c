//! The calls and attempts under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Answer, RequestRow};

/// The most calls of which it is remembered that they were answered from a stale cache entry.
const STALE_MAX: usize = 10_000;

/// The calls and attempts that have begun and not ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Call>,
    /// Requests and numbers of the attempts.
    attempts: BTreeSet<(u64, u32)>,
    /// The calls that were answered from a stale entry: attempts that renew it follow, and are no calls.
    stale: BTreeSet<u64>,
}

/// The figures of a call that is under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call {
    /// Number of attempts that are sent again as no server has seen them.
    pub(super) transparent_retries: u64,
    /// The time between attempts in which none was active, in microseconds.
    pub(super) idle_us: u64,
    active: u32,
    /// The end of the last attempt while no other one is active.
    idle_since_us: Option<u64>,
}

impl Calls {
    /// Returns the number of calls.
    pub(super) fn count(&self) -> usize {
        self.calls.len()
    }

    /// Notes that a call is under way.
    pub(super) fn begin(&mut self, request: u64) {
        if !self.calls.contains_key(&request) && !self.stale.contains(&request) {
            self.calls.insert(request, Call::default());
        }
    }

    /// Notes that an attempt has been sent. Returns false if it was under way already.
    pub(super) fn attempt_begins(&mut self, request: u64, number: u32, at_us: u64) -> bool {
        let is_new = self.attempts.insert((request, number));
        if is_new && let Some(call) = self.calls.get_mut(&request) {
            call.active += 1;
            call.idle_us += call.idle_since_us.take().map_or(0, |since| at_us.saturating_sub(since));
        }
        is_new
    }

    /// Notes that an attempt has ended. Returns false if it was not under way.
    pub(super) fn attempt_ends(&mut self, request: u64, number: u32, at_us: u64) -> bool {
        let was_active = self.attempts.remove(&(request, number));
        if was_active && let Some(call) = self.calls.get_mut(&request) {
            call.active -= 1;
            call.idle_since_us = (call.active == 0).then_some(at_us);
        }
        was_active
    }

    /// Notes that an attempt is sent again as no server has seen it.
    pub(super) fn sent_again(&mut self, request: u64) {
        if let Some(call) = self.calls.get_mut(&request) {
            call.transparent_retries += 1;
        }
    }

    /// Notes that the call of `row` has ended, and returns what was known of it.
    pub(super) fn end(&mut self, row: &RequestRow) -> Call {
        if row.answer == Some(Answer::Stale) {
            self.stale.insert(row.id);
            if self.stale.len() > STALE_MAX {
                self.stale.pop_first();
            }
        }
        self.calls.remove(&row.id).unwrap_or_default()
    }
}
