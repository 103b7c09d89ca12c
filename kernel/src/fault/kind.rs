//! The kinds of faults and their keys. This is the place where a new kind is declared.

use std::time::Duration;

use crate::{
    link::{BurstLoss, LinkEffect, Selection, Shape, Way},
    planted::planted,
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
const SHARE_OF_SEGMENTS_IN_BURSTS: &str = "it is a share of the segments: for 50 % write 0.5";
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
        /// The link is slower, each way or in one direction.
        Delay = "delay" {
            /// Latency in addition to that of the network.
            latency: Duration [required] = Duration::from_millis(200), limits::WAIT, NOT_DRAWN;
            /// How far the latency varies.
            jitter: Duration = Duration::ZERO, limits::WAIT, NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// The one way that it applies to, seen from the server; by default both.
            direction: Option<Direction> = None, (), NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
        }
        /// The link holds bytes, which flow again at a TCP retransmission once the fault is lifted.
        Partition = "partition" {
            /// Which way of the link is cut, seen from the server.
            direction: Direction = Direction::Both, (), NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
        }
        /// The packets of the connections that are open when it begins vanish, each way, while new connections work: half-open connections
        /// (RFC 9293), as behind a firewall or a load balancer that has forgotten them.
        HalfOpen = "half_open" {
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
        }
        /// The link loses segments, which are delayed by the retransmission timeout.
        Loss = "loss" {
            /// Share of the segments that are lost, each on its own. Required, unless there are bursts.
            rate: Option<f64> as Option<Share> = None, SHARE_OF_SEGMENTS, NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// The one way that it applies to, seen from the server; by default both.
            direction: Option<Direction> = None, (), NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
            /// Probability that a burst begins after a segment outside of one. The losses are in bursts then (Gilbert-Elliott), and there
            /// is no `rate`.
            enter_burst: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
            /// Probability that the burst ends after a segment in one: a burst has `1 / exit_burst` segments on average.
            exit_burst: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
            /// Share of the segments in a burst that are lost; by default all.
            loss_in_burst: Option<f64> as Option<Share> = None, SHARE_OF_SEGMENTS_IN_BURSTS, NOT_DRAWN;
            /// Share of the segments outside of bursts that are lost; by default none.
            loss_outside: Option<f64> as Option<Share> = None, SHARE_OF_SEGMENTS_IN_BURSTS, NOT_DRAWN;
        }
        /// The link is narrower, each way or in one direction.
        Bandwidth = "bandwidth" {
            /// Bits per second.
            rate: u64 as BitRate [required] = 1_000_000, (), NOT_DRAWN;
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// The one way that it applies to, seen from the server; by default both.
            direction: Option<Direction> = None, (), NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
        }
        /// Every open connection is reset, once; with a `duration`, also every connection that is made before the fault is lifted, as soon as
        /// its handshake is over.
        Reset = "reset" {
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
            /// Share of the connections that it applies to, those included that are made while it lasts; by default all.
            share: Option<f64> = None, limits::SHARE_SOME, NOT_DRAWN;
        }
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
        /// The server presents a certificate that has expired, so that handshakes fail. Connections that are open stay.
        CertificateExpired = "certificate_expired" {
            /// Time until the fault is lifted.
            duration: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        }
        /// The server presents a certificate of an authority that the client does not know, so that handshakes fail. Connections that are
        /// open stay.
        CertificateUntrusted = "certificate_untrusted" {
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
    /// The handshakes of TLS with the target.
    Handshakes,
}

impl FaultName {
    /// Returns every kind, in the order of the reference.
    pub fn all() -> impl Iterator<Item = Self> {
        <Self as strum::VariantArray>::VARIANTS.iter().copied()
    }

    /// Returns the kinds that random faults are drawn from, unless a scenario lists them. Kinds that came later are not among them: what
    /// a seed draws stays.
    pub fn drawn() -> impl Iterator<Item = Self> {
        Self::all().filter(|kind| !matches!(kind, Self::Drain | Self::HalfOpen) && !kind.needs_tls())
    }

    /// Returns what a fault of this kind applies to.
    pub fn affects(self) -> Affects {
        match self {
            Self::Crash | Self::Drain | Self::Freeze => Affects::Process,
            Self::Delay | Self::Partition | Self::HalfOpen | Self::Loss | Self::Bandwidth | Self::Reset => {
                Affects::Link
            }
            Self::Errors | Self::Slow => Affects::Work,
            Self::CertificateExpired | Self::CertificateUntrusted => Affects::Handshakes,
        }
    }

    /// Returns whether a fault of this kind needs encrypted connections.
    pub fn needs_tls(self) -> bool {
        self.affects() == Affects::Handshakes
    }
}

impl FaultKind {
    /// Returns what the fault applies to.
    pub fn affects(&self) -> Affects {
        FaultName::from(self).affects()
    }

    /// Returns the time after which the fault player lifts the fault; `None` if it lasts until the run ends or, as a crash,
    /// a drain and a reset without a duration, is over once played.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::HalfOpen { duration, .. }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Reset { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. }
            | Self::CertificateExpired { duration }
            | Self::CertificateUntrusted { duration } => *duration,
            Self::Crash { .. } | Self::Drain { .. } => None,
        }
    }

    /// Returns the time after which the fault is lifted or, after a crash or a drain, the process is started again; `None` if that
    /// never happens, and for a reset that is over at once.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Crash { restart_after } | Self::Drain { restart_after, .. } => *restart_after,
            kind => kind.duration(),
        }
    }

    /// Makes the fault last this long. A reset without a duration stays one that is over at once.
    pub fn hold_for(&mut self, time: Duration) {
        match self {
            Self::Crash { restart_after: duration }
            | Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::HalfOpen { duration, .. }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. }
            | Self::CertificateExpired { duration }
            | Self::CertificateUntrusted { duration } => *duration = Some(time),
            Self::Drain { grace, restart_after } => {
                *restart_after = Some(time);
                *grace = grace.map(|grace| grace.min(time));
            }
            Self::Reset { duration, .. } => *duration = duration.map(|_| time),
        }
    }

    /// Returns the name of the key that [`Self::lasts`] is the value of.
    pub fn lasts_key(&self) -> &'static str {
        match self {
            Self::Crash { .. } | Self::Drain { .. } => "restart_after",
            _ => "duration",
        }
    }

    /// Returns whether it is over as soon as it has been played.
    pub fn is_over_at_once(&self) -> bool {
        matches!(self, Self::Reset { duration: None, .. })
    }

    /// Returns the share of the connections that it applies to, if it is a fault of links; `None` for all.
    pub fn share(&self) -> Option<f64> {
        self.clone().share_mut().and_then(|share| *share)
    }

    /// Returns the key `share`, if it is a fault of links.
    pub fn share_mut(&mut self) -> Option<&mut Option<f64>> {
        match self {
            Self::Delay { share, .. }
            | Self::Partition { share, .. }
            | Self::HalfOpen { share, .. }
            | Self::Loss { share, .. }
            | Self::Bandwidth { share, .. }
            | Self::Reset { share, .. } => Some(share),
            Self::Crash { .. }
            | Self::Drain { .. }
            | Self::Freeze { .. }
            | Self::Errors { .. }
            | Self::Slow { .. }
            | Self::CertificateExpired { .. }
            | Self::CertificateUntrusted { .. } => None,
        }
    }

    /// Returns the key `direction` of a kind that applies to both directions without it.
    pub fn direction_mut(&mut self) -> Option<&mut Option<Direction>> {
        match self {
            Self::Delay { direction, .. } | Self::Loss { direction, .. } | Self::Bandwidth { direction, .. } => {
                Some(direction)
            }
            _ => None,
        }
    }
}

/// The direction of a fault of links, seen from the server that is its target.
///
/// These are the words of Chaos Mesh, whose `direction` is seen from the pods that `target` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    Both,
    /// Bytes to the server: requests.
    To,
    /// Bytes from the server: answers.
    From,
}

named!(Direction, "a direction", [
    "upstream" => "to", "downstream" => "from", "ingress" => "to", "egress" => "from"
]);

impl Direction {
    /// Returns the way of a link that it is; `None` for both.
    pub fn way(self) -> Option<Way> {
        match self {
            Self::Both => None,
            Self::To => Some(Way::To),
            Self::From => Some(Way::From),
        }
    }
}

impl FaultKind {
    /// Returns what a fault of links does to the connections that it applies to. Other kinds do nothing to them, and so does a reset
    /// that is over at once.
    pub fn link_effect(&self) -> LinkEffect {
        let none = Shape::default();
        let shape = match *self {
            Self::Delay { latency, jitter, .. } => Shape { latency, jitter, ..none },
            Self::Partition { direction, .. } => {
                let cut_to = matches!(direction, Direction::Both | Direction::To);
                let cut_to = planted!(Bug::LeakyCut, false, else cut_to);
                let cut_from = matches!(direction, Direction::Both | Direction::From);
                Shape { cut_to, cut_from, ..none }
            }
            Self::HalfOpen { .. } => Shape { cut_to: true, cut_from: true, ..none },
            Self::Loss { rate, .. } => Shape { loss: rate.unwrap_or_default(), ..none },
            Self::Bandwidth { rate, .. } => Shape { bandwidth: Some(rate), ..none },
            Self::Reset { duration, .. } => Shape { resets: duration.is_some(), ..none },
            Self::Crash { .. }
            | Self::Drain { .. }
            | Self::Freeze { .. }
            | Self::Errors { .. }
            | Self::Slow { .. }
            | Self::CertificateExpired { .. }
            | Self::CertificateUntrusted { .. } => none,
        };
        let open_at_start = matches!(self, Self::HalfOpen { .. });
        let connections = Selection { open_at_start, share: self.share().unwrap_or(1.0) };
        let direction = self.clone().direction_mut().and_then(|direction| *direction);
        LinkEffect { shape, burst: self.burst(), connections, way: direction.and_then(Direction::way) }
    }

    /// Returns the losses in bursts of a loss that has them.
    pub(crate) fn burst(&self) -> Option<BurstLoss> {
        let Self::Loss { enter_burst: Some(enter), exit_burst: Some(exit), loss_in_burst, loss_outside, .. } = *self
        else {
            return None;
        };
        let loss_in_burst = loss_in_burst.unwrap_or(1.0);
        Some(BurstLoss { enter, exit, loss_in_burst, loss_outside: loss_outside.unwrap_or(0.0) })
    }
}
