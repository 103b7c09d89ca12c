//! The kinds of faults and their keys. This is the place where a new kind is declared.

use std::time::Duration;

use crate::{
    settings::{
        kinds_macro::kinds,
        limits,
        named::named,
        table_macro::NOT_DRAWN,
        value::{BitRate, Share},
    },
    status::Code,
};

const SHARE_OF_SEGMENTS: &str = "the `rate` of a loss is the share of segments that are lost: for 5 % write 0.05";
const SHARE_OF_CALLS: &str = "the `rate` of errors is the share of calls that fail or are delayed: for 50 % write 0.5";

kinds! {
    /// A failure of a target. A fault without a `duration` lasts until the run ends.
    FaultKind, FaultName by "kind": "a fault kind" {
        /// SIGKILL.
        Crash = "crash" {
            /// Time from the crash until the replica is started again; by default that of `[servers]`.
            restart_after: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
        }
        /// SIGTERM: the server announces the end of its connections (GOAWAY), finishes the calls under way, and ends.
        Drain = "drain" {
            /// Time that calls under way have to finish before SIGKILL; by default until the restart, and 30 s at most.
            grace: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
            /// Time from SIGTERM until the replica is started again, at least `grace`; by default that of `[servers]`.
            restart_after: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
        }
        /// SIGSTOP, then SIGCONT.
        Freeze = "freeze" {
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The link is slower, each way.
        Delay = "delay" {
            /// Latency in addition to that of the network.
            latency: Duration [required] = Duration::from_millis(200), limits::WAIT, NOT_DRAWN;
            /// How far the latency varies.
            jitter: Duration = Duration::ZERO, limits::WAIT, NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The link holds bytes, which flow again at a TCP retransmission once the fault is lifted.
        Partition = "partition" {
            /// Which way of the link is cut, seen from the server.
            direction: Direction = Direction::Both, (), NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The packets of the connections that are open when it begins vanish, each way, while new connections work: half-open connections
        /// (RFC 9293), as behind a firewall or a load balancer that has forgotten them.
        HalfOpen = "half_open" {
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The link loses segments, which are delayed by the retransmission timeout.
        Loss = "loss" {
            /// Share of the segments that are lost.
            rate: f64 as Share [required] = 0.05, SHARE_OF_SEGMENTS, NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The link is narrower, each way.
        Bandwidth = "bandwidth" {
            /// Bits per second.
            rate: u64 as BitRate [required] = 1_000_000, (), NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// Every open connection is reset, once.
        Reset = "reset"
        /// The server fails or delays calls (gRPC A33's abort and delay).
        Errors = "errors" {
            /// Share of the calls that fail or are delayed.
            rate: f64 as Share [required] = 0.5, SHARE_OF_CALLS, NOT_DRAWN;
            /// Status of those; by default UNAVAILABLE, and with a `delay` none: they are answered late.
            status: Option<Code> = None, (), NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// Time by which those calls are delayed when they arrive, before they fail or wait for a worker.
            delay: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
        }
        /// The server computes more slowly.
        Slow = "slow" {
            /// Factor of its service times.
            factor: f64 [required] = 10.0, limits::SLOW_FACTOR, NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
    }
}

/// The part of a system that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affects {
    /// The target's process.
    Process,
    /// The link between the client and its target.
    Link,
    /// The requests that the target works on.
    Work,
}

impl FaultName {
    /// Returns every kind, in the order of the reference.
    pub fn all() -> impl Iterator<Item = Self> {
        <Self as strum::VariantArray>::VARIANTS.iter().copied()
    }

    /// Returns the kinds that random faults are drawn from, unless a scenario lists them. Kinds that came later are not among them: what
    /// a seed draws stays.
    pub fn drawn() -> impl Iterator<Item = Self> {
        Self::all().filter(|kind| !matches!(kind, Self::Drain | Self::HalfOpen))
    }

    /// Returns what a fault of this kind applies to.
    pub fn affects(self) -> Affects {
        match self {
            Self::Crash | Self::Drain | Self::Freeze => Affects::Process,
            Self::Delay | Self::Partition | Self::HalfOpen | Self::Loss | Self::Bandwidth | Self::Reset => {
                Affects::Link
            }
            Self::Errors | Self::Slow => Affects::Work,
        }
    }
}

impl FaultKind {
    /// Returns what the fault applies to.
    pub fn affects(&self) -> Affects {
        FaultName::from(self).affects()
    }

    /// Returns the time after which the fault player lifts the fault; `None` if it lasts until the run ends or, as a crash,
    /// a drain and a reset, is over once played.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::HalfOpen { duration }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. } => *duration,
            Self::Crash { .. } | Self::Drain { .. } | Self::Reset => None,
        }
    }

    /// Returns the time after which the fault is lifted or, after a crash or a drain, the process is started again; `None` if that
    /// never happens, and for a reset.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Crash { restart_after } | Self::Drain { restart_after, .. } => *restart_after,
            kind => kind.duration(),
        }
    }

    /// Makes the fault last this long. A reset is over at once, whatever it is set to.
    pub fn hold_for(&mut self, time: Duration) {
        match self {
            Self::Crash { restart_after: duration }
            | Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::HalfOpen { duration }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. } => *duration = Some(time),
            Self::Drain { grace, restart_after } => {
                *restart_after = Some(time);
                *grace = grace.map(|grace| grace.min(time));
            }
            Self::Reset => {}
        }
    }
}

/// The cut way of a link, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Nothing passes.
    Both,
    /// Bytes to the server are held; its answers still arrive.
    To,
    /// Bytes from the server are held; requests still reach it.
    From,
}

named!(Direction, "a direction");
