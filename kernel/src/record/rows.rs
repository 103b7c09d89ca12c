//! The rows of a run folder's three `.jsonl` files. Times are microseconds since the run began.

use serde::{Deserialize, Serialize};

use super::Name;
use crate::status::{Code, Outcome};

/// A row of any of the three files, on its way to the record from another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    Request(RequestRow),
    Attempt(AttemptRow),
    Event(EventRow),
}

/// One intended request, whatever became of it: a line of `requests.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Position in the arrival schedule, from 0.
    pub id: u64,
    /// When the schedule wanted it sent.
    pub intended_us: u64,
    /// When its call began; null if it was dropped.
    pub sent_us: Option<u64>,
    /// When its call ended; null if it was dropped.
    pub done_us: Option<u64>,
    /// `done_us - intended_us`; null if it was dropped.
    pub latency_us: Option<u64>,
    pub status: Outcome,
    /// Who gave the final answer, if a server did.
    pub server: Option<Name>,
    pub attempts: u32,
    /// Attempts sent to another server than the call's previous attempt.
    pub failovers: u32,
    /// The input's size as the workload writes it, such as `256x256`.
    pub size: String,
    /// Attempts that were hedges; left out if there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hedges: u32,
    /// Whether a policy of the client turned an attempt down; left out if not.
    #[serde(default, skip_serializing_if = "is_not")]
    pub rejected: bool,
    /// Where the answer is from, if no server has just given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// An answer that no server has just given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The cache's, as good as a new one.
    Cached,
    /// An old one: degraded.
    Stale,
    /// A fallback's: degraded.
    Fallback,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(value: &bool) -> bool {
    !value
}

/// One attempt of a call: a line of `attempts.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// The request's id.
    pub request: u64,
    /// From 1 within the call.
    pub attempt: u32,
    pub server: Name,
    pub start_us: u64,
    pub end_us: u64,
    pub status: Code,
    /// What made it fail, in a few words; null for OK.
    pub cause: Option<String>,
}

/// One thing that happened: a line of `events.jsonl`. Fields that an event does not use are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    pub at_us: u64,
    /// `nemesis`, `client`, `supervisor` or a server's name.
    pub source: Name,
    pub event: Event,
    /// The server it concerns.
    pub target: Option<Name>,
    pub cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
}

/// What an [`EventRow`] tells of.
///
/// As text it is what `events.jsonl` calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// nemesis: fault `fault` of kind `cause` begins on `target`; an event per target.
    FaultStart,
    /// nemesis: it has been lifted from `target` (for a crash: the replica listens again, or nothing will restart it).
    FaultEnd,
    /// nemesis: fault `fault` could do nothing to `target`, because of `cause`.
    NoEffect,
    /// supervisor: a crashed replica was started again.
    Restart,
    /// server: it listens.
    Listening,
    /// server: it finished the work of `request`, `attempt`.
    Finished,
    /// server: it dropped the work of `request`, `attempt` unstarted, for the reason in `cause`.
    Skipped,
    /// server: its queue was full, it shed load, or the request was not valid; `cause` says which.
    Refused,
    /// server: it failed `request`, `attempt` on purpose, with the status in `cause`.
    Aborted,
    /// client: the balancer chose `target` for `request`, `attempt`.
    Pick,
    /// client: `request`, `attempt` failed on `target` because of `cause`.
    AttemptFailed,
    /// client: it waits `duration_us` before the next attempt of `request`.
    Backoff,
    /// client: the next attempt of `request` goes to another server, `target`.
    Failover,
    /// client: it gives up on `request` because of `cause`.
    GiveUp,
    /// client: `request`, `attempt` is a hedge, to `target`.
    Hedge,
    /// client: a policy turned an attempt of `request` down, before it had a server; `cause` says which.
    Rejected,
    /// client: `request` gets no other attempt, by retry or hedge; `cause` says which policy.
    Throttled,
    /// client: `request` waits, for what is in `cause`.
    Queued,
    /// client: the breaker of `target`, or of the service, opens for `duration_us` because of `cause`.
    BreakerOpened,
    /// client: it lets a few calls pass.
    BreakerHalfOpened,
    /// client: it lets all pass again.
    BreakerClosed,
    /// client: `target` gets no more traffic for `duration_us`, because of `cause`.
    Ejected,
    /// client: `target` gets traffic again.
    Unejected,
    /// client: `target` is back, and gets its traffic little by little for `duration_us`.
    SlowStart,
    /// client: `request` is answered from the cache; `cause` is `fresh` or `stale`.
    CacheHit,
    /// client: `request` gets a degraded answer, of the kind in `cause`.
    Fallback,
    /// client: the answer to `request` is not what the kernel makes of its input, which is a bug of this project.
    WrongResult,
    /// client: it now believes `target` unhealthy.
    Unhealthy,
    /// client: it now believes `target` healthy again.
    Healthy,
    /// client: the connection to `target` is being opened.
    Connecting,
    /// client: the connection to `target` can carry calls.
    Ready,
    /// client: the connection to `target` could not be opened; it is tried again after `duration_us`.
    TransientFailure,
    /// client: the connection to `target` is gone.
    Idle,
}
