//! What can be taken away from a scenario at once.

use std::time::Duration;

use kernel::{
    policy::Policies,
    scenario::{Arrivals, Client, Fault, HealthCheck, Load, Network, Phase, Retry, Scenario, Servers},
};

/// A change that makes a scenario less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Without the faults at these places, ascending.
    WithoutFaults(Vec<usize>),
    /// A fault of several targets, without the one at this place.
    WithoutTarget { fault: usize, place: usize },
    /// Without a server that no fault hits; those behind it move up.
    WithoutServer(usize),
    /// A number, lower.
    Lower(Number, u64),
    /// What this names in [`PLAIN`] or [`ALL_PLAIN`], as it is where a file does not say.
    Plain(&'static str),
}

/// A setting by its key, and what makes it what it is by default.
pub type Plain = (&'static str, fn(&mut Scenario));

/// Several of [`PLAIN`] at once.
pub const ALL_PLAIN: &[Plain] = &[
    ("all policies", |scenario| scenario.client.policies = Policies::default()),
    ("the client", |scenario| scenario.client = Client::default()),
    ("the network", |scenario| scenario.network = Network::default()),
];

/// What need not be as it is for this program to have a bug. Where an expectation fails, these are what is judged.
pub const PLAIN: &[Plain] = &[
    ("client.cache", |scenario| scenario.client.policies.cache = None),
    ("client.fallback", |scenario| scenario.client.policies.fallback = None),
    ("client.retry_throttling", |scenario| scenario.client.policies.retry_throttling = None),
    ("client.retry_budget", |scenario| scenario.client.policies.retry_budget = None),
    ("client.hedging", |scenario| scenario.client.policies.hedging = None),
    ("client.circuit_breaker", |scenario| scenario.client.policies.circuit_breaker = None),
    ("client.rate_limit", |scenario| scenario.client.policies.rate_limit = None),
    ("client.bulkhead", |scenario| scenario.client.policies.bulkhead = None),
    ("client.outlier_detection", |scenario| scenario.client.policies.outlier_detection = None),
    ("client.slow_start", |scenario| scenario.client.policies.slow_start = None),
    ("client.retry", |scenario| scenario.client.retry = Retry::default()),
    ("client.load_balancing", |scenario| scenario.client.load_balancing = Client::default().load_balancing),
    ("client.wait_for_ready", |scenario| scenario.client.wait_for_ready = Client::default().wait_for_ready),
    ("client.health_check", |scenario| scenario.client.health_check = HealthCheck::default()),
    ("client.attempt_timeout", |scenario| scenario.client.attempt_timeout = Client::default().attempt_timeout),
    ("client.deadline", |scenario| scenario.client.deadline = Client::default().deadline),
    ("servers.admission", |scenario| scenario.servers.admission = None),
    ("servers.service_time_min", |scenario| scenario.servers.service_time_min = Servers::default().service_time_min),
    ("servers.queue", |scenario| scenario.servers.queue = Servers::default().queue),
    ("servers.workers", |scenario| scenario.servers.workers = Servers::default().workers),
    ("servers.restart_after", |scenario| scenario.servers.restart_after = None),
    ("load.max_in_flight", |scenario| scenario.load.max_in_flight = Load::at(1.0).max_in_flight),
    ("load.arrivals", |scenario| scenario.load.arrivals = Arrivals::Constant),
    ("network.latency", |scenario| scenario.network.latency = Network::default().latency),
    ("network.jitter", |scenario| scenario.network.jitter = Network::default().jitter),
    ("network.bandwidth", |scenario| scenario.network.bandwidth = Network::default().bandwidth),
];

/// A number that can be lowered, to a rung of a ladder: 1, 2, 5, 10, 20, 50 and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Of the load, in requests per 1,000 s.
    Rate,
    /// Of the run, in milliseconds, as the others.
    Duration,
    /// How long a fault lasts; of a crash, until the restart.
    Lasts(usize),
    /// When a fault begins. 0 is a rung, too.
    At(usize),
}

/// Every change that takes away one thing, or lowers one number by one rung; settings only if the failure is a bug.
pub fn every(scenario: &Scenario, is_a_bug: bool) -> Vec<Step> {
    let faults = 0..scenario.faults.len();
    let mut steps: Vec<Step> = faults.clone().map(|fault| Step::WithoutFaults(vec![fault])).collect();
    for (fault, Fault { targets, .. }) in scenario.faults.iter().enumerate() {
        steps.extend((0..targets.len()).map(|place| Step::WithoutTarget { fault, place }));
    }
    steps.extend((0..scenario.servers.replicas).map(Step::WithoutServer));
    let of_faults = faults.flat_map(|fault| [Number::Lasts(fault), Number::At(fault)]);
    for number in [Number::Rate, Number::Duration].into_iter().chain(of_faults) {
        steps.extend(number.rungs_below(scenario).last().map(|value| Step::Lower(number, *value)));
    }
    steps.extend(PLAIN.iter().filter(|_| is_a_bug).map(|(key, _)| Step::Plain(key)));
    steps
}

impl Step {
    /// `scenario` after it; `None` if that is none.
    pub fn apply(&self, scenario: &Scenario) -> Option<Scenario> {
        let mut less = scenario.clone();
        match self {
            Self::WithoutFaults(faults) => without_faults(&mut less, faults)?,
            Self::WithoutTarget { fault, place } => {
                let targets = &mut less.faults.get_mut(*fault)?.targets;
                if targets.len() < 2 || *place >= targets.len() {
                    return None;
                }
                targets.remove(*place);
            }
            Self::WithoutServer(server) => without_server(&mut less, *server)?,
            Self::Lower(number, value) => number.set(&mut less, *value),
            Self::Plain(key) => {
                PLAIN.iter().chain(ALL_PLAIN).find(|(known, _)| known == key)?.1(&mut less);
                if less == *scenario {
                    return None;
                }
            }
        }
        // What contradicts itself is no scenario, and what is written to a file is what is played.
        Scenario::parse("shrunk", &less.to_toml(), &[]).ok()
    }
}

/// `None` if an expectation is about one of them.
fn without_faults(scenario: &mut Scenario, removed: &[usize]) -> Option<()> {
    for expectation in &mut scenario.expectations {
        if let Some(Phase::Fault(index)) = &mut expectation.during {
            if removed.contains(index) {
                return None;
            }
            *index -= removed.iter().filter(|place| **place < *index).count();
        }
    }
    let kept = std::mem::take(&mut scenario.faults).into_iter().enumerate();
    scenario.faults = kept.filter(|(place, _)| !removed.contains(place)).map(|(_, fault)| fault).collect();
    Some(())
}

fn without_server(scenario: &mut Scenario, server: usize) -> Option<()> {
    let is_hit = scenario.faults.iter().any(|fault| fault.targets.contains(&server));
    if is_hit || scenario.servers.replicas < 2 {
        return None;
    }
    scenario.servers.replicas -= 1;
    for target in scenario.faults.iter_mut().flat_map(|fault| &mut fault.targets) {
        *target -= usize::from(*target > server);
    }
    Some(())
}

impl Number {
    /// Those below its value, ascending; none if the scenario does not have it.
    pub fn rungs_below(self, scenario: &Scenario) -> Vec<u64> {
        let Some(value) = self.get(scenario) else { return Vec::new() };
        let (least, zero) = match self {
            Self::Rate => (100, None),
            Self::Duration => (1_000, None),
            Self::Lasts(_) => (10, None),
            Self::At(_) => (100, Some(0)),
        };
        let decades = std::iter::successors(Some(1_u64), |decade| decade.checked_mul(10));
        let rungs = decades.flat_map(|decade| [1, 2, 5].map(|digit| digit * decade)).skip_while(|rung| *rung < least);
        // Of what is no whole number of the unit, its whole part is lower.
        zero.into_iter().chain(rungs).take_while(|rung| *rung < value).collect()
    }

    fn get(self, scenario: &Scenario) -> Option<u64> {
        Some(match self {
            Self::Rate => (scenario.load.rate * 1e3).ceil() as u64,
            Self::Duration => millis(scenario.duration),
            Self::Lasts(fault) => millis(scenario.faults.get(fault)?.kind.lasts()?),
            Self::At(fault) => millis(scenario.faults.get(fault)?.at),
        })
    }

    fn set(self, scenario: &mut Scenario, value: u64) {
        let time = Duration::from_millis(value);
        match self {
            Self::Rate => scenario.load.rate = value as f64 / 1e3,
            Self::Duration => scenario.duration = time,
            Self::At(fault) => scenario.faults[fault].at = time,
            Self::Lasts(fault) => scenario.faults[fault].kind.last(time),
        }
    }
}

/// Rounded up: no rung below it is lost.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "steps"
duration = "30s"
[servers]
replicas = 3
[load]
rate = 12.5
[[fault]]
at = "2s"
kind = "freeze"
target = ["server-0", "server-2"]
duration = "70ms"
[[fault]]
at = "4s"
kind = "reset"
target = "server-2"
[[expect]]
metric = "retries"
during = "fault-1"
max = 0
"#;

    fn scenario() -> Scenario {
        Scenario::parse("steps.toml", TEXT, &[]).unwrap()
    }

    #[test]
    fn numbers_go_down_by_rungs() {
        let rungs = |number: Number| number.rungs_below(&scenario());
        assert_eq!(rungs(Number::Rate), [100, 200, 500, 1_000, 2_000, 5_000, 10_000]);
        assert_eq!(rungs(Number::Duration), [1_000, 2_000, 5_000, 10_000, 20_000]);
        assert_eq!(rungs(Number::Lasts(0)), [10, 20, 50]);
        assert_eq!(rungs(Number::At(0)), [0, 100, 200, 500, 1_000]);
        assert_eq!(rungs(Number::Lasts(1)), [0; 0], "a reset does not last");
    }

    #[test]
    fn what_is_left_keeps_its_meaning() {
        let without = Step::WithoutFaults(vec![0]).apply(&scenario()).unwrap();
        assert_eq!(without.expectations[0].during, Some(Phase::Fault(0)));
        assert_eq!(without.faults.len(), 1);
        let without = Step::WithoutServer(1).apply(&scenario()).unwrap();
        assert_eq!(without.servers.replicas, 2);
        assert_eq!(without.faults.iter().map(|fault| &fault.targets[..]).collect::<Vec<_>>(), [&[0, 1][..], &[1]]);
    }

    #[test]
    fn what_would_be_no_scenario_is_no_step() {
        assert_eq!(Step::WithoutFaults(vec![1]).apply(&scenario()), None, "the expectation is about it");
        assert_eq!(Step::WithoutServer(2).apply(&scenario()), None, "a fault hits it");
        assert_eq!(Step::WithoutTarget { fault: 1, place: 0 }.apply(&scenario()), None, "it is the only one");
        assert_eq!(Step::Lower(Number::Duration, 1_000).apply(&scenario()), None, "the faults begin later");
    }
}
