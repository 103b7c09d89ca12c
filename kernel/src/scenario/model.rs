//! The validated scenario: what the rest of the workspace sees. Every value is present, in range and consistent with
//! the others; the TOML it came from is not visible from here on.

use std::time::Duration;

use super::names::{BalancingName, FaultName, Named, WorkloadName};
use crate::{nemesis::Menu, policy::Policies, server::Admission, status::Code};

/// One failure story: servers, load, a network, a client, faults, and what is expected of it all.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Names the run folder: letters, digits, `-` and `_`.
    pub name: String,
    /// What the scenario asks, in a sentence.
    pub question: Option<String>,
    /// Load is offered from 0 to here; the run then drains.
    pub duration: Duration,
    /// The replicas that serve.
    pub servers: Servers,
    /// What a request asks for.
    pub workload: Workload,
    /// When requests are sent.
    pub load: Load,
    /// What lies between client and servers.
    pub network: Network,
    /// How a call is made of attempts.
    pub client: Client,
    /// What the seed draws more faults from; see [`Scenario::explicit`].
    pub nemesis: Option<Menu>,
    /// In file order; `fault-N` names the one at index N.
    pub faults: Vec<Fault>,
    /// In file order.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// What is right and yet comes to nothing, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let detection = self.client.policies.outlier_detection.iter();
        detection.flat_map(|detection| detection.warnings(self.servers.replicas)).collect()
    }

    /// The names of the servers, in the order of their indices.
    pub fn server_names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.servers.replicas).map(server_name)
    }
}

/// What the server at `index` is called, in scenario files and in records.
pub fn server_name(index: usize) -> String {
    format!("server-{index}")
}

/// `[servers]`: identical replicas. Bounds are in [`limits`](super::limits), as for all of the types here.
#[derive(Debug, Clone, PartialEq)]
pub struct Servers {
    /// `server-0` to `server-{replicas - 1}`; at least 1.
    pub replicas: usize,
    /// Kernels running at once in one replica; at least 1.
    pub workers: usize,
    /// Requests waiting for a worker in one replica; one more is answered RESOURCE_EXHAUSTED.
    pub queue: usize,
    /// A supervisor restarts a crashed replica this long after the crash.
    pub restart_after: Option<Duration>,
    /// A request holds its worker at least this long.
    pub service_time_min: Duration,
    /// What a replica refuses beyond what its queue has no room for.
    pub admission: Option<Admission>,
}

/// `[workload]`: the kernel that the servers run.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Sobel edge detection on 8-bit grayscale pictures.
    Sobel(Pictures),
    /// Depth-first search of a generated graph.
    Dfs(GraphSize),
    /// A service that fails and hangs on purpose.
    Backend(Backend),
}

impl Workload {
    /// The names of all there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        WorkloadName::NAMES.iter().map(|(_, name)| *name)
    }

    /// As scenario files write it.
    pub fn name(&self) -> &'static str {
        WorkloadName::from(self).to_name()
    }
}

/// What the `sobel` workload is fed with.
#[derive(Debug, Clone, PartialEq)]
pub enum Pictures {
    /// Generated images, a size drawn per request.
    Synthetic(Vec<Size>),
    /// A glob of picture files of the user's own, one drawn per request.
    Files(String),
}

/// Width and height in pixels, both at least 1; written `256x256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What the `dfs` workload searches, the same graph with every request of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphSize {
    /// At least 2.
    pub nodes: u32,
    /// At least one less than the nodes, as the graph is connected.
    pub edges: u32,
}

/// How the `backend` workload behaves. Each attempt draws for itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backend {
    /// The share of attempts that fail.
    pub failure_rate: f64,
    /// What they are told; not OK.
    pub failure_status: Code,
    /// The share of attempts that are never answered. With the failures it is 1 at most.
    pub hang_rate: f64,
    /// An attempt holds its worker at least this long.
    pub delay: Duration,
}

/// `[load]`: open loop, never waiting for replies.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Requests per second, over 0.
    pub rate: f64,
    /// How the requests are spread in time.
    pub arrivals: Arrivals,
    /// Calls in flight beyond which an arrival is recorded as dropped.
    pub max_in_flight: usize,
}

/// The gaps between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Request `i` is intended at `i / rate`.
    Constant,
    /// Exponential gaps of mean `1 / rate`.
    Poisson,
}

/// What the scenario adds to every client–server link, each way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Added to what the calibration says of the bare link.
    pub latency: Duration,
    /// How far the latency varies.
    pub jitter: Duration,
    /// Bits per second; `None` is unlimited.
    pub bandwidth: Option<u64>,
}

/// `[client]`: the policies of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The whole call, every attempt included.
    pub deadline: Duration,
    /// One attempt; never outlives the call's deadline.
    pub attempt_timeout: Duration,
    /// Whether a call waits for a server to be ready instead of failing while none is.
    pub wait_for_ready: bool,
    /// Which server the next attempt goes to.
    pub load_balancing: Balancing,
    /// What follows a failed attempt.
    pub retry: Retry,
    /// How a server is known to be well without a call of one's own.
    pub health_check: HealthCheck,
    /// What is off unless its table is there.
    pub policies: Policies,
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancing {
    /// The first good server, for as long as it stays so.
    PickFirst,
    /// Each healthy server in its turn.
    RoundRobin,
    /// Any, each as likely as the others.
    Random,
    /// Of `choice_count` drawn ones the one with the fewest attempts under way; gRPC A48, Envoy.
    LeastRequest { choice_count: usize },
    /// Of two drawn ones the one whose latency, a moving average over `decay` that jumps to peaks, times its load is less;
    /// `default_rtt` is the average of one that nothing is known of. Finagle, Linkerd, tower.
    PeakEwma { decay: Duration, default_rtt: Duration },
}

impl Balancing {
    /// As scenario files write it.
    pub fn name(&self) -> &'static str {
        BalancingName::from(self).to_name()
    }
}

/// gRPC A6's retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Counts the first try; 1 means no retry.
    pub max_attempts: u32,
    /// Before the second attempt; unlike in A6 it may be zero.
    pub initial_backoff: Duration,
    /// The longest that a backoff grows to, before jitter.
    pub max_backoff: Duration,
    /// Of each backoff to the one before it, at least 1.
    pub backoff_multiplier: f64,
    /// How the backoffs are spread.
    pub jitter: Jitter,
    /// In file order, without repeats and without OK, at least one.
    pub retryable_status_codes: Vec<Code>,
    /// A retry goes to a server that this call has not failed on, while there is one.
    pub prefer_other_server: bool,
}

/// How a computed backoff `x` is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// `x`
    None,
    /// `x · U(0.8, 1.2)`, gRPC A6
    Proportional,
    /// `U(0, x)`
    Full,
    /// `x/2 + U(0, x/2)`
    Equal,
}

/// `[client.health_check]`: active checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// Between two checks of one server; a result is believed this long.
    pub interval: Duration,
    /// After which a check without an answer has failed.
    pub timeout: Duration,
}

/// `[[fault]]`: something that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// From the start of the run, no later than the scenario's duration.
    pub at: Duration,
    /// Indices of the servers it hits, ascending, without repeats, at least one.
    pub targets: Vec<usize>,
    /// What goes wrong, and for how long.
    pub kind: FaultKind,
}

/// What befalls a target. `None` as a duration means until the run ends.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// SIGKILL. `restart_after` is resolved: the fault's own, else that of `[servers]`.
    Crash { restart_after: Option<Duration> },
    /// SIGSTOP, then SIGCONT.
    Freeze { duration: Option<Duration> },
    /// Added to the link, each way.
    Delay { latency: Duration, jitter: Duration, duration: Option<Duration> },
    /// Bytes are held, and flow again at a TCP retransmission once it is healed.
    Partition { direction: Direction, duration: Option<Duration> },
    /// Each segment is lost, and so delayed by the retransmission timeout, with probability `rate`.
    Loss { rate: f64, duration: Option<Duration> },
    /// The link passes at most `rate` bits per second, each way.
    Bandwidth { rate: u64, duration: Option<Duration> },
    /// Every open connection is reset, once.
    Reset,
    /// The server answers each call with `status`, with probability `rate`; gRPC A33's abort.
    Errors { rate: f64, status: Code, duration: Option<Duration> },
    /// The server's service times are `factor` times as long.
    Slow { factor: f64, duration: Option<Duration> },
}

impl FaultKind {
    /// As scenario files write it.
    pub fn name(&self) -> &'static str {
        FaultName::from(self).to_name()
    }

    /// After how long the fault player lifts it; `None` if it lasts until the run ends or, as a crash and a reset do,
    /// is over once played.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. } => *duration,
            Self::Crash { .. } | Self::Reset => None,
        }
    }

    /// After how long it is lifted or, if it is a crash, the process is started again; `None` if that never happens, and
    /// for a reset.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Crash { restart_after } => *restart_after,
            kind => kind.duration(),
        }
    }

    /// Has it last that long. A reset does not.
    pub fn last(&mut self, long: Duration) {
        match self {
            Self::Crash { restart_after: duration }
            | Self::Freeze { duration }
            | Self::Delay { duration, .. }
            | Self::Partition { duration, .. }
            | Self::Loss { duration, .. }
            | Self::Bandwidth { duration, .. }
            | Self::Errors { duration, .. }
            | Self::Slow { duration, .. } => *duration = Some(long),
            Self::Reset => {}
        }
    }

    /// Whether it befalls the link to its target rather than the target's process.
    pub fn is_of_the_link(&self) -> bool {
        FaultName::from(self).is_of_the_link()
    }
}

/// Seen from the server: which way of its link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nothing passes.
    Both,
    /// What goes to the server is held; its answers still arrive.
    To,
    /// What the server sends is held; requests still reach it.
    From,
}

/// A bound on a metric; a run passes when every one holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// What is bounded.
    pub metric: Metric,
    /// The part of the run it is measured over; `None` is the whole run, or every fault for a metric of faults.
    pub during: Option<Phase>,
    /// In the metric's base unit (see [`Metric`]); at least one of the two is given.
    pub min: Option<f64>,
    /// As `min`, and no less than it.
    pub max: Option<f64>,
}

/// What an expectation may name. Base units: shares are 0 to 1, times are seconds, rates are per second, the rest
/// are counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Share of requests answered OK within the deadline.
    SuccessRate,
    /// Share of the 1 s windows with offered load that hold at least one success.
    Availability,
    /// Completed requests per second of run, whatever their status.
    Throughput,
    /// Successes per second of run.
    Goodput,
    /// From the intended send time, as are the other latencies.
    LatencyP50,
    LatencyP90,
    LatencyP95,
    LatencyP99,
    LatencyP999,
    LatencyMax,
    /// Mean number of attempts, the first included.
    AttemptsPerCall,
    /// Attempts beyond a call's first that followed a failed one.
    Retries,
    /// Attempts sent to another server than the call's previous attempt.
    Failovers,
    /// From a fault's start until the service is as good as before it, and stays so for 3 s.
    RecoveryTime,
    /// From a fault's start until the client first marks its target unhealthy.
    TimeToDetect,
    /// Total time in windows with offered load and no success.
    UnavailableFor,
    /// Arrivals that were not sent because too many calls were in flight.
    Dropped,
    /// Attempts whose work a server finished though the call had ended or moved on.
    Duplicates,
    /// Attempts beyond a call's first that did not wait for the one before them.
    Hedges,
    /// Calls of which a policy of the client's own turned an attempt down.
    Rejected,
    /// Servers taken out of the traffic by outlier detection.
    Ejections,
}

/// A part of a run; phases may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Until the first fault.
    Before,
    /// From the start of the fault at this index until it is lifted and the client has recovered, 3 s at least.
    Fault(usize),
    /// From the end of the last of those.
    After,
}
