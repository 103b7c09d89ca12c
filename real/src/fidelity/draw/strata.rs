//! The ranges that a block of twelve scenarios covers, and the part of them that one scenario has.
//!
//! | what | in a block of twelve |
//! | --- | --- |
//! | rate | one in each quarter of a magnitude from 1 to 1,000 requests/s |
//! | workload | each once in every three rates that follow one another, so four times |
//! | input | of each workload, small, medium and large ones in equal parts, unless the processors must be busy |
//! | processors | a search at over 178/s keeps 60 % to 90 % of them busy; one at 31 to 178/s, and edge detection at over 178/s, 30 % to 60 %, or as much as its largest input takes |
//! | arrivals | six constant, six Poisson |
//! | replicas | two or three of each number from one to five |
//! | workers held | six for a time that the file gives, six as long as the function computes |
//! | duration | one in each twelfth of 20 s to 30 s |
//! | faults | of each workload's four: none, one, one, and two or three; every kind at least once |
//! | balancers | each two or three times |
//! | policies | each in two to four, see [`Policy`] |

use kernel::{dice::two_digits, scenario::FaultName};

use super::dice_of;

/// The number of scenarios that cover every range.
pub(super) const BLOCK: u64 = 12;

/// The numbers of replicas in a block.
const REPLICAS: [usize; BLOCK as usize] = [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5];

/// Balancers, each with its further keys.
const BALANCERS: [(&str, &str); 5] = [
    ("round_robin", ""),
    ("least_request", "choice_count = 2"),
    ("random", ""),
    ("peak_ewma", "decay = \"5s\""),
    ("pick_first", ""),
];

/// The computation of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Edge detection.
    Sobel,
    /// A depth-first search.
    Dfs,
    /// A backend that may fail.
    Backend,
}

const WORK: [Work; 3] = [Work::Sobel, Work::Dfs, Work::Backend];

/// A policy that some scenarios of a block have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The profile `grpc`.
    Grpc,
    /// One attempt a call.
    NoRetries,
    /// `[client.hedging]`
    Hedging,
    /// `[client.retry_budget]`
    RetryBudget,
    /// `[client.retry_throttling]`
    RetryThrottling,
    /// `[client.circuit_breaker]`
    CircuitBreaker,
    /// `[client.rate_limit]`
    RateLimit,
    /// `[client.bulkhead]`
    Bulkhead,
    /// `[client.cache]`
    Cache,
    /// `[client.fallback]`
    Fallback,
    /// `[client.outlier_detection]`
    OutlierDetection,
    /// `[client.slow_start]`
    SlowStart,
    /// `[client.keepalive]`
    Keepalive,
    /// `[servers.admission]`
    Admission,
    /// `servers.max_connection_age`
    ConnectionAge,
    /// `[network]`
    Network,
}

/// The policies, their names in the draw, and how many scenarios of a block have each.
pub(super) const POLICIES: [(Policy, &str, usize); 16] = [
    (Policy::Grpc, "grpc", 3),
    (Policy::NoRetries, "no_retries", 4),
    (Policy::Hedging, "hedging", 2),
    (Policy::RetryBudget, "retry_budget", 3),
    (Policy::RetryThrottling, "retry_throttling", 2),
    (Policy::CircuitBreaker, "circuit_breaker", 3),
    (Policy::RateLimit, "rate_limit", 2),
    (Policy::Bulkhead, "bulkhead", 2),
    (Policy::Cache, "cache", 2),
    (Policy::Fallback, "fallback", 2),
    (Policy::OutlierDetection, "outlier_detection", 3),
    (Policy::SlowStart, "slow_start", 3),
    (Policy::Keepalive, "keepalive", 2),
    (Policy::Admission, "admission", 2),
    (Policy::ConnectionAge, "connection_age", 2),
    (Policy::Network, "network", 2),
];

/// The part of its block that a scenario has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strata {
    /// The number of the scenario, from 0.
    pub(super) index: u64,
    /// Requests per second.
    pub(super) rate: f64,
    /// The computation of servers.
    pub(super) work: Work,
    /// The place of its input among those of its workload in the block, from 0, the smallest, to 1.
    pub(super) size: f64,
    /// The share of the processors to keep busy; `None` where the input decides.
    pub(super) busy: Option<f64>,
    /// Arrivals are independent of each other.
    pub(super) is_poisson: bool,
    /// Number of replicas.
    pub(super) replicas: usize,
    /// Workers are held for a time of the file.
    pub(super) is_held: bool,
    /// Duration in seconds.
    pub(super) seconds: u64,
    /// Kinds of its faults.
    pub(super) faults: Vec<FaultName>,
    /// The place of its balancer in the list of balancers, which is repeated as often as necessary.
    balancer: usize,
    /// Policies that it has.
    pub(super) policies: Vec<Policy>,
}

impl Strata {
    /// Returns the part of scenario `index`.
    pub(super) fn draw(seed: u64, index: u64) -> Self {
        let block = Block { seed, number: index / BLOCK };
        let position = (index % BLOCK) as usize;
        let mut dice = dice_of(seed, "strata", &[index]);
        let within = dice.between(0.0, 1.0);
        let rate = 10.0_f64.powf((block.place("rate", position) as f64 + within) / 4.0);
        let Slot { work, group } = block.slot(position);
        let busy = match (work, group) {
            (Work::Dfs, 3) => Some(dice.between(0.6, 0.9)),
            (Work::Dfs, 2) | (Work::Sobel, 3) => Some(dice.between(0.3, 0.6)),
            _ => None,
        };
        // Inputs that are not chosen for the processors divide the range among themselves.
        let chosen = if work == Work::Backend {
            4
        } else if work == Work::Sobel {
            3
        } else {
            2
        };
        let order = block.order_of_work("size", work, chosen);
        let place = order.get(group).copied().unwrap_or_default();
        let size = (place as f64 + dice.between(0.0, 1.0)) / chosen as f64;
        let policies = POLICIES
            .into_iter()
            .filter(|(_, name, count)| block.place(&format!("policy.{name}"), position) < *count)
            .map(|(policy, ..)| policy);
        Self {
            index,
            rate: two_digits(rate),
            work,
            size,
            busy,
            is_poisson: block.place("arrivals", position) % 2 == 1,
            replicas: REPLICAS[block.place("replicas", position)],
            is_held: block.place("held", position) % 2 == 1,
            seconds: 20 + ((block.place("duration", position) as f64 + dice.between(0.0, 1.0)) / 1.2) as u64,
            faults: block.faults(position),
            balancer: block.place("balancer", position),
            policies: policies.collect(),
        }
    }

    /// Returns the balancer, with its further keys as TOML.
    pub(super) fn balancing(&self) -> (&'static str, &'static str) {
        BALANCERS[self.balancer % BALANCERS.len()]
    }

    /// Returns the number of servers among which the calls are divided while all serve.
    pub(super) fn servers_used(&self) -> usize {
        if self.balancing().0 == "pick_first" { 1 } else { self.replicas }
    }

    /// Returns true if the scenario has this policy.
    pub(super) fn has(&self, policy: Policy) -> bool {
        self.policies.contains(&policy)
    }
}

/// A block of a draw.
struct Block {
    seed: u64,
    number: u64,
}

/// The part of the rates in which a scenario is, and its workload.
struct Slot {
    work: Work,
    /// The place of three quarters of a magnitude, from 0 to 3; a workload has one scenario in each.
    group: usize,
}

impl Block {
    /// Returns the place of the scenario at `position` in a permutation of the block.
    fn place(&self, purpose: &str, position: usize) -> usize {
        dice_of(self.seed, purpose, &[self.number]).order(BLOCK as usize)[position]
    }

    /// Returns an order of the first `count` scenarios of a workload.
    fn order_of_work(&self, purpose: &str, work: Work, count: usize) -> Vec<usize> {
        dice_of(self.seed, purpose, &[self.number, work as u64]).order(count)
    }

    fn slot(&self, position: usize) -> Slot {
        let place = self.place("rate", position);
        let group = place / WORK.len();
        let order = dice_of(self.seed, "workload", &[self.number, group as u64]).order(WORK.len());
        Slot { work: WORK[order[place % WORK.len()]], group }
    }

    fn fault_count(&self, position: usize) -> usize {
        let Slot { work, group } = self.slot(position);
        match self.order_of_work("fault_count", work, 4)[group] {
            0 => 0,
            3 if dice_of(self.seed, "third_fault", &[self.number, work as u64]).odds(0.5) => 3,
            3 => 2,
            _ => 1,
        }
    }

    /// Returns the kinds of the faults of a scenario. All kinds are dealt to the block before any is dealt again.
    fn faults(&self, position: usize) -> Vec<FaultName> {
        let kinds: Vec<FaultName> = FaultName::all().filter(|kind| !kind.needs_tls()).collect();
        let mut dice = dice_of(self.seed, "fault_kinds", &[self.number]);
        let first = dice.order(kinds.len());
        let again = dice.order(kinds.len());
        let dealt = (0..position).map(|before| self.fault_count(before)).sum();
        let places = first.into_iter().chain(again).skip(dealt).take(self.fault_count(position));
        places.map(|place| kinds[place]).collect()
    }
}
