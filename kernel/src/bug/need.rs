//! The circumstances in which a rare bug shows, followed through the events of the run.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use clap::ValueEnum;

use crate::record::{Event, EventRow};

/// Something that a rare bug needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Need {
    /// A breaker is half-open.
    HalfOpenBreaker,
    /// The breakers of two servers are open.
    TwoOpenBreakers,
    /// A server is ejected.
    Ejected,
    /// Two servers are ejected.
    TwoEjected,
    /// A server is rated unhealthy.
    Unhealthy,
    /// Two servers are rated unhealthy.
    TwoUnhealthy,
    /// The client waits until it connects to a server again.
    Disconnected,
    /// A server has come back in the last 300 ms.
    JustRestarted,
    /// A freeze has ended in the last 300 ms.
    JustThawed,
    /// A server is frozen.
    Frozen,
    /// A link is cut.
    Cut,
    /// A link loses segments.
    Lossy,
    /// A link is slow.
    Delayed,
    /// A server fails calls.
    Failing,
    /// A server is down.
    Down,
    /// Two calls wait for their next attempt.
    TwoBackoffs,
    /// A hedge was sent in the last 100 ms.
    Hedged,
    /// A stale answer was given in the last 500 ms.
    Stale,
    /// A server refused work in the last 300 ms.
    Refused,
    /// A call reached its deadline in the last 300 ms.
    DeadlineHit,
    /// A retry was throttled in the last 500 ms.
    Throttled,
}

const MS: u64 = 1_000;

/// The events that the run of this thread has recorded, as far as needs depend on them.
#[derive(Default)]
struct Observed {
    now_us: u64,
    /// The states that servers are in, by the name of the state and of the server.
    states: BTreeSet<(&'static str, String)>,
    /// When something happened last.
    last_us: BTreeMap<&'static str, u64>,
    /// The ends of the backoffs.
    backoffs_us: Vec<u64>,
}

thread_local! {
    // A simulation has a thread of its own, so that what it has observed ends with it.
    static OBSERVED: RefCell<Observed> = RefCell::default();
}

/// Takes notice of an event of the run of this thread.
pub(crate) fn observe(row: &EventRow) {
    OBSERVED.with_borrow_mut(|observed| observed.observe(row));
}

impl Need {
    /// Returns whether it holds now, in the run of this thread.
    pub(super) fn holds(self) -> bool {
        OBSERVED.with_borrow(|observed| observed.has(self))
    }
}

impl Observed {
    fn observe(&mut self, row: &EventRow) {
        self.now_us = row.at_us;
        let target = row.target.as_deref().unwrap_or_default();
        let cause = row.cause.as_deref().unwrap_or_default();
        match row.event {
            Event::FaultStart => self.begin(of_fault(cause), target),
            Event::FaultEnd => {
                self.end(of_fault(cause), target);
                self.happened(of_fault(cause));
            }
            Event::Listening => self.happened("listening"),
            Event::BreakerOpened => {
                self.end("half-open", target);
                self.begin("open", target);
            }
            Event::BreakerHalfOpened => {
                self.end("open", target);
                self.begin("half-open", target);
            }
            Event::BreakerClosed => self.end("half-open", target),
            Event::Ejected => self.begin("ejected", target),
            Event::Unejected => self.end("ejected", target),
            Event::Unhealthy => self.begin("unhealthy", target),
            Event::Healthy => self.end("unhealthy", target),
            Event::TransientFailure => self.begin("disconnected", target),
            Event::Ready => self.end("disconnected", target),
            Event::Backoff => {
                self.backoffs_us.retain(|end_us| *end_us > row.at_us);
                self.backoffs_us.push(row.at_us + row.duration_us.unwrap_or_default());
            }
            Event::Hedge => self.happened("hedge"),
            Event::CacheHit | Event::Fallback if cause == "stale" => self.happened("stale"),
            Event::Refused => self.happened("refused"),
            Event::AttemptFailed if cause == "call deadline" => self.happened("deadline"),
            Event::Throttled => self.happened("throttled"),
            _ => {}
        }
    }

    fn begin(&mut self, state: &'static str, server: &str) {
        self.states.insert((state, server.to_owned()));
    }

    fn end(&mut self, state: &'static str, server: &str) {
        self.states.remove(&(state, server.to_owned()));
    }

    fn happened(&mut self, what: &'static str) {
        self.last_us.insert(what, self.now_us);
    }

    fn has(&self, need: Need) -> bool {
        let servers = |state| self.states.iter().filter(|(other, _)| *other == state).count();
        let within = |what, ms: u64| self.last_us.get(what).is_some_and(|last_us| self.now_us - last_us <= ms * MS);
        match need {
            Need::HalfOpenBreaker => servers("half-open") > 0,
            Need::TwoOpenBreakers => servers("open") > 1,
            Need::Ejected => servers("ejected") > 0,
            Need::TwoEjected => servers("ejected") > 1,
            Need::Unhealthy => servers("unhealthy") > 0,
            Need::TwoUnhealthy => servers("unhealthy") > 1,
            Need::Disconnected => servers("disconnected") > 0,
            // The replicas of the start, too, listen at 0.
            Need::JustRestarted => self.now_us > 1_000 * MS && within("listening", 300),
            Need::JustThawed => within("freeze", 300),
            Need::Frozen => servers("freeze") > 0,
            Need::Cut => servers("partition") > 0,
            Need::Lossy => servers("loss") > 0,
            Need::Delayed => servers("delay") > 0,
            Need::Failing => servers("errors") > 0,
            Need::Down => servers("crash") > 0,
            Need::TwoBackoffs => self.backoffs_us.iter().filter(|end_us| **end_us > self.now_us).count() > 1,
            Need::Hedged => within("hedge", 100),
            Need::Stale => within("stale", 500),
            Need::Refused => within("refused", 300),
            Need::DeadlineHit => within("deadline", 300),
            Need::Throttled => within("throttled", 500),
        }
    }
}

/// Returns the name that states of this kind of fault have here.
fn of_fault(kind: &str) -> &'static str {
    const KINDS: [&str; 7] = ["freeze", "partition", "loss", "delay", "errors", "crash", "slow"];
    KINDS.into_iter().find(|known| *known == kind).unwrap_or("fault")
}
