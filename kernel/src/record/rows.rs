//! The rows of a run folder's `.jsonl` files. Times are microseconds since the run began.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Name;
use crate::status::{Code, Outcome};

/// A row of any of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A line of `requests.jsonl`.
    Request(RequestRow),
    /// A line of `attempts.jsonl`.
    Attempt(AttemptRow),
    /// A line of `events.jsonl`.
    Event(EventRow),
    /// A line of `calls.jsonl`.
    Call(CallRow),
}

/// The position of a row in the order of its file: first by the one, then by the other number.
pub type Position = (u64, u32);

/// A row of a file that has an order.
pub trait Ordered {
    /// Returns the position of the row. Rows of one position stay in the order in which they were recorded, which the digest
    /// covers.
    fn position(&self) -> Position;
}

impl Ordered for RequestRow {
    fn position(&self) -> Position {
        (self.id, 0)
    }
}

impl Ordered for AttemptRow {
    fn position(&self) -> Position {
        (self.request, self.attempt)
    }
}

impl Ordered for EventRow {
    fn position(&self) -> Position {
        (self.at_us, 0)
    }
}

impl Ordered for CallRow {
    fn position(&self) -> Position {
        // A run has fewer requests than that, so that the calls of processes on behalf of none come last.
        (self.request.unwrap_or(u64::MAX), 0)
    }
}

/// A row with the part of it that says where it belongs, which can be read from its line without the rest.
pub(crate) trait Keyed: Ordered {
    /// The part of the row.
    type Key: DeserializeOwned + Ordered;
}

/// The part of a [`RequestRow`] that orders it.
#[derive(Debug, Deserialize)]
pub(crate) struct RequestKey {
    id: u64,
}

impl Ordered for RequestKey {
    fn position(&self) -> Position {
        (self.id, 0)
    }
}

impl Keyed for RequestRow {
    type Key = RequestKey;
}

/// The part of an [`AttemptRow`] that orders it.
#[derive(Debug, Deserialize)]
pub(crate) struct AttemptKey {
    request: u64,
    attempt: u32,
}

impl Ordered for AttemptKey {
    fn position(&self) -> Position {
        (self.request, self.attempt)
    }
}

impl Keyed for AttemptRow {
    type Key = AttemptKey;
}

/// The part of an [`EventRow`] that orders it.
#[derive(Debug, Deserialize)]
pub(crate) struct EventKey {
    /// The time at which it happened.
    pub(crate) at_us: u64,
}

impl Ordered for EventKey {
    fn position(&self) -> Position {
        (self.at_us, 0)
    }
}

impl Keyed for EventRow {
    type Key = EventKey;
}

/// The part of a [`CallRow`] that orders it.
#[derive(Debug, Deserialize)]
pub(crate) struct CallKey {
    #[serde(default)]
    request: Option<u64>,
    done_us: u64,
}

impl CallKey {
    /// Returns the time at which the call ended.
    pub(crate) fn done_us(&self) -> u64 {
        self.done_us
    }
}

impl Ordered for CallKey {
    fn position(&self) -> Position {
        (self.request.unwrap_or(u64::MAX), 0)
    }
}

impl Keyed for CallRow {
    type Key = CallKey;
}

/// An intended request, sent or dropped: a line of `requests.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    /// The request's position in the order of sending, from 0; without users that of the arrival schedule.
    pub id: u64,
    /// The time at which it should be sent: by the schedule, or when its user has thought.
    pub intended_us: u64,
    /// The time at which its call began; null if it was dropped.
    pub sent_us: Option<u64>,
    /// The time at which its call ended; null if it was dropped.
    pub done_us: Option<u64>,
    /// The latency, `done_us - intended_us`; null if it was dropped.
    pub latency_us: Option<u64>,
    /// The status that the call ended with, or that it was dropped.
    pub status: Outcome,
    /// The server that gave the final answer; null if none did.
    pub server: Option<Name>,
    /// Number of attempts.
    pub attempts: u32,
    /// Number of attempts that were sent to another server than the call's previous attempt.
    pub failovers: u32,
    /// The input's size as the workload writes it, such as `256x256`.
    pub size: String,
    /// Number of attempts that were hedges; left out if there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hedges: u32,
    /// True if a policy of the client rejected an attempt; left out if not.
    #[serde(default, skip_serializing_if = "is_not")]
    pub rejected: bool,
    /// The source of the answer, if it is not the response of a server; left out if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The kind of the request, by its name in `[[load.request]]`; left out if there are no kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Name>,
    /// The user that made the call, from 0; left out for a request of the open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The messages of a reply that streams; left out for a unary call, and for one without the headers of a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamFigures>,
}

/// The messages of a reply that streams, as the client received them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// Number of messages that arrived whole.
    pub messages: u64,
    /// The time at which the first of them was whole; left out if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_us: Option<u64>,
    /// The longest time between two of them, one after the other; left out of fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_us: Option<u64>,
    /// Number of messages that the reply should have had and that did not arrive, as it failed behind its headers; left out if it
    /// did not, or if it is not known how many it should have had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

/// The source of an answer that is not the response of a server to an attempt of this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A fresh cache entry, as good as a response.
    Cached,
    /// A stale cache entry: the answer is degraded.
    Stale,
    /// A fallback: the answer is degraded.
    Fallback,
    /// The messages of a reply that have come before it failed: the answer is degraded.
    Partial,
    /// A client stack of the load's own, whose attempts have no rows. It is the source of a failure, too.
    OwnStack,
}

impl Answer {
    /// Returns whether the answer is degraded, whatever it counts as.
    pub fn is_degraded(self) -> bool {
        match self {
            Self::Stale | Self::Fallback | Self::Partial => true,
            Self::Cached | Self::OwnStack => false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(value: &bool) -> bool {
    !value
}

/// An attempt of a call: a line of `attempts.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// The request's id.
    pub request: u64,
    /// The attempt's number within the call, from 1.
    pub attempt: u32,
    /// The server that it was sent to.
    pub server: Name,
    /// The time at which it was sent.
    pub start_us: u64,
    /// The time at which it ended.
    pub end_us: u64,
    /// The status that it ended with.
    pub status: Code,
    /// The cause of its failure, in a few words; null for OK.
    pub cause: Option<String>,
    /// The time at which the headers of a reply that streams arrived, which committed the call; left out for a unary call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_us: Option<u64>,
}

/// A call that a process of a service made to another one, an inner call: a line of `calls.jsonl`, which a run has whose scenario has
/// `[[service]]` tables. The calls of a request are in the order in which they ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRow {
    /// The id of the request of the load on whose behalf the call was made; left out if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The number of the call, which events have, too. Together with `request` it is unique within the run.
    pub call: u64,
    /// The number of the call that the caller answered meanwhile; left out if that was the call of the request itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// The number of the attempt that the caller answered meanwhile; left out if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_attempt: Option<u32>,
    /// The process that made the call.
    pub caller: Name,
    /// The service that it called.
    pub service: Name,
    /// The time at which the call began.
    pub sent_us: u64,
    /// The time by which it had to end.
    pub deadline_us: u64,
    /// The time at which it ended.
    pub done_us: u64,
    /// The status that it ended with.
    pub status: Outcome,
    /// The server that gave the final answer; null if none did.
    pub server: Option<Name>,
    /// The source of the answer, if it is not the response of a server; left out if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The attempts, in the order in which they ended.
    pub attempts: Vec<InnerAttempt>,
}

/// An attempt of an inner call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InnerAttempt {
    /// The attempt's number within the call, from 1.
    pub attempt: u32,
    /// The server that it was sent to.
    pub server: Name,
    /// The time at which it was sent.
    pub start_us: u64,
    /// The time at which it ended.
    pub end_us: u64,
    /// The status that it ended with.
    pub status: Code,
    /// The cause of its failure, in a few words; left out for OK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// An event: a line of `events.jsonl`. Fields that its kind does not use are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// The time at which it happened.
    pub at_us: u64,
    /// The source of the event: `nemesis`, `client`, `supervisor` or a server's name. Events of inner calls, as a client has them, are those
    /// of the server that makes the call.
    pub source: Name,
    /// The kind of event.
    pub event: Event,
    /// The server that it is about.
    pub target: Option<Name>,
    /// Its cause, in a few words; see [`Event`].
    pub cause: Option<String>,
    /// The fault's index in the scenario, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<usize>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The number of the inner call, as `calls.jsonl` has it; left out if it is about the call of a request itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// The attempt's number within its call, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The time that it takes; see [`Event`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
}

impl EventRow {
    /// Returns whether the event is of the load, of the calls of its requests, of a process as such or of a fault: of all but inner calls and
    /// the clients that make them.
    pub fn is_of_load(&self) -> bool {
        self.call.is_none() && (!self.event.is_of_client() || self.source == "client")
    }
}

impl Event {
    /// Returns whether a client records events of this kind.
    fn is_of_client(self) -> bool {
        match self {
            Self::FaultStart
            | Self::FaultEnd
            | Self::NoEffect
            | Self::Restart
            | Self::SettingChanged
            | Self::Listening
            | Self::Finished
            | Self::Skipped
            | Self::Refused
            | Self::Aborted
            | Self::Computed
            | Self::Cancelled
            | Self::Reached => false,
            Self::Pick
            | Self::AttemptFailed
            | Self::Backoff
            | Self::Failover
            | Self::GiveUp
            | Self::Hedge
            | Self::Rejected
            | Self::TransparentRetry
            | Self::Throttled
            | Self::Queued
            | Self::BreakerOpened
            | Self::BreakerHalfOpened
            | Self::BreakerClosed
            | Self::Ejected
            | Self::Unejected
            | Self::LimitChanged
            | Self::SlowStart
            | Self::CacheHit
            | Self::Fallback
            | Self::StoreFailed
            | Self::StoreLost
            | Self::StoreRestored
            | Self::WrongResult
            | Self::Unhealthy
            | Self::Healthy
            | Self::Connecting
            | Self::Ready
            | Self::TransientFailure
            | Self::Idle => true,
        }
    }
}

/// The kind of an [`EventRow`]. As text it is the name in `events.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// nemesis: fault `fault` of kind `cause` begins on `target`; an event per target.
    FaultStart,
    /// nemesis: it has been lifted from `target`. A crash is lifted when the replica listens again, or at once if
    /// nothing will restart it.
    FaultEnd,
    /// nemesis: fault `fault` has no effect on `target`, because of `cause`.
    NoEffect,
    /// supervisor: a crashed replica was started again.
    Restart,
    /// operator: a setting has another value from now on; `cause` says which, from what, to what.
    SettingChanged,
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
    /// server: a computation for `request`, `attempt` took `duration_us`; `cause` is what it was, and its units. Only while a calibration
    /// measures.
    Computed,
    /// server: it dropped `request`, `attempt` after `duration_us`, as its caller had left, or as its reply still streamed at the deadline.
    Cancelled,
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
    /// client: a policy rejected an attempt of `request` before a server was picked; `cause` says which policy.
    Rejected,
    /// client: `request`, `attempt` was not seen by `target`, because of `cause`, and is sent again.
    TransparentRetry,
    /// client: `request` gets no other attempt, by retry or hedge; `cause` says which policy.
    Throttled,
    /// client: `request` waits for the policy in `cause`.
    Queued,
    /// client: the breaker of `target`, or of the service, opens for `duration_us` because of `cause`.
    BreakerOpened,
    /// client: the breaker lets a few calls pass.
    BreakerHalfOpened,
    /// client: the breaker lets all calls pass again.
    BreakerClosed,
    /// client: `target` gets no more traffic for `duration_us`, because of `cause`.
    Ejected,
    /// client: `target` gets traffic again.
    Unejected,
    /// client: an adaptive limit has changed by more than a tenth, or an adaptive time to `duration_us`; `cause` says which, from what, to what.
    LimitChanged,
    /// client: `target` is back, and its traffic increases gradually for `duration_us`.
    SlowStart,
    /// client: `request` is answered from the cache; `cause` is `fresh` or `stale`.
    CacheHit,
    /// client: `request` gets a degraded answer, of the kind in `cause`.
    Fallback,
    /// client: the reply to `request` is OK and wrong; `cause` says why. With a workload of this project it is a bug of this project.
    WrongResult,
    /// client: it now rates `target` unhealthy.
    Unhealthy,
    /// client: it now rates `target` healthy again.
    Healthy,
    /// client: the connection to `target` is being opened.
    Connecting,
    /// client: the connection to `target` can carry calls.
    Ready,
    /// client: the connection to `target` could not be opened; it is tried again after `duration_us`.
    TransientFailure,
    /// client: the connection to `target` is gone.
    Idle,
    /// client: the store of the cache did not do what `request` asked of it, because of `cause`, which counts as a miss.
    StoreFailed,
    /// client: the store `target` is away, because of `cause`, and is left alone for `duration_us` at a time.
    StoreLost,
    /// client: the store `target` answers again.
    StoreRestored,
    /// server or load: code of an app reached the state that it names in `cause`, for the first time in its process.
    Reached,
}
