//! The steps of a reduction: what one of them takes away from a scenario.

use std::time::Duration;

use kernel::{
    policy::Policies,
    scenario::{Client, Fault, Network, Phase, STORE, Scenario},
};

/// A change that makes a scenario less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Removes the faults at these places, ascending.
    WithoutFaults(Vec<usize>),
    /// Removes the target at this place from a fault of several.
    WithoutTarget {
        /// The position of the fault in the scenario, from 0.
        fault: usize,
        /// The position of the target in the fault, from 0.
        place: usize,
    },
    /// Removes a key of the fault at this place, so that it applies to all connections or in both directions.
    Plain(usize, PlainKey),
    /// Removes the change of a setting at this place.
    WithoutChange(usize),
    /// Removes a server that no fault hits; those behind it move up.
    WithoutServer(usize),
    /// Lowers a number.
    Lower(Number, u64),
    /// Gives a setting its default, by its path. See [`Scenario::resettable`].
    Reset(String),
    /// Gives several settings their defaults, by their name in [`RESET_ALL`].
    ResetAll(&'static str),
}

/// A key of a fault of links that limits what it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainKey {
    /// `share`.
    Share,
    /// `direction`, but for partitions, where it has a value in any case.
    Direction,
}

impl PlainKey {
    /// Every such key.
    pub const ALL: [Self; 2] = [Self::Share, Self::Direction];
}

/// A group of settings by its name, and the function that gives them their defaults.
pub type Reset = (&'static str, fn(&mut Scenario));

/// The groups of settings that are reset together, before they are reset one by one.
pub const RESET_ALL: &[Reset] = &[
    ("all policies", |scenario| scenario.client.policies = Policies::default()),
    ("the client", |scenario| scenario.client = Client::default()),
    ("the network", |scenario| scenario.network = Network::default()),
];

/// A number that can be lowered, to a rung of a ladder: 1, 2, 5, 10, 20, 50 and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// The rate of the load, in requests per 1,000 s.
    Rate,
    /// The number of users at the start.
    Users,
    /// The duration of the run, in milliseconds, as the others.
    Duration,
    /// The time that a fault lasts; for a crash, the time until the restart.
    Lasts(usize),
    /// The time at which a fault begins. 0 is a rung, too.
    At(usize),
}

/// Returns every change that takes away one thing, or lowers one number by one rung; settings only if the failure is a bug.
pub fn every(scenario: &Scenario, is_a_bug: bool) -> Vec<Step> {
    let faults = 0..scenario.faults.len();
    let mut steps: Vec<Step> = faults.clone().map(|fault| Step::WithoutFaults(vec![fault])).collect();
    for (fault, Fault { targets, .. }) in scenario.faults.iter().enumerate() {
        steps.extend((0..targets.len()).map(|place| Step::WithoutTarget { fault, place }));
    }
    let plain = faults.clone().flat_map(|fault| PlainKey::ALL.map(|key| Step::Plain(fault, key)));
    steps.extend(plain.filter(|step| step.apply(scenario).is_some()));
    steps.extend((0..scenario.changes.len()).map(Step::WithoutChange));
    steps.extend((0..scenario.replicas()).map(Step::WithoutServer));
    let of_faults = faults.flat_map(|fault| [Number::Lasts(fault), Number::At(fault)]);
    for number in [Number::Rate, Number::Users, Number::Duration].into_iter().chain(of_faults) {
        steps.extend(number.rungs_below(scenario).last().map(|value| Step::Lower(number, *value)));
    }
    if is_a_bug {
        steps.extend(Scenario::resettable().into_iter().map(Step::Reset));
    }
    steps
}

impl Step {
    /// Returns `scenario` after the step; `None` if it has nothing to take away or would not be valid.
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
            Self::Plain(fault, key) => {
                let kind = &mut less.faults.get_mut(*fault)?.kind;
                match key {
                    PlainKey::Share => kind.share_mut()?.take().map(drop)?,
                    PlainKey::Direction => kind.direction_mut()?.take().map(drop)?,
                }
            }
            Self::WithoutChange(place) => {
                less.changes.get(*place)?;
                less.changes.remove(*place);
            }
            Self::WithoutServer(server) => without_server(&mut less, *server)?,
            Self::Lower(number, value) => number.set(&mut less, *value),
            Self::Reset(path) => return scenario.reset(path),
            Self::ResetAll(name) => {
                RESET_ALL.iter().find(|(known, _)| known == name)?.1(&mut less);
                if less == *scenario {
                    return None;
                }
            }
        }
        // What contradicts itself is no scenario, and what is written to a file is what is played.
        Scenario::parse("shrunk", &less.to_toml(), &[]).ok()
    }
}

/// Removes the faults; returns `None` if an expectation is about one of them.
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
    if is_hit || !scenario.remove_server(server) {
        return None;
    }
    for target in scenario.faults.iter_mut().flat_map(|fault| &mut fault.targets) {
        *target -= usize::from(*target > server && *target != STORE);
    }
    Some(())
}

impl Number {
    /// Returns the rungs below the value of the number, ascending; none if the scenario does not have it.
    pub fn rungs_below(self, scenario: &Scenario) -> Vec<u64> {
        let Some(value) = self.get(scenario) else { return Vec::new() };
        let (least, zero) = match self {
            Self::Rate => (100, None),
            Self::Users => (1, Some(0)),
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
            Self::Users => scenario.load.users? as u64,
            Self::Duration => millis(scenario.duration),
            Self::Lasts(fault) => millis(scenario.faults.get(fault)?.kind.lasts()?),
            Self::At(fault) => millis(scenario.faults.get(fault)?.at),
        })
    }

    fn set(self, scenario: &mut Scenario, value: u64) {
        let time = Duration::from_millis(value);
        match self {
            Self::Rate => scenario.load.rate = value as f64 / 1e3,
            Self::Users => scenario.load.users = Some(value as usize),
            Self::Duration => scenario.duration = time,
            Self::At(fault) => scenario.faults[fault].at = time,
            Self::Lasts(fault) => scenario.faults[fault].kind.hold_for(time),
        }
    }
}

/// Returns the milliseconds of `time`, rounded up, so that no rung below it is lost.
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
        assert_eq!(rungs(Number::Users), [0; 0], "there are none");
        let with_users = Scenario::parse("steps.toml", TEXT, &["load.users=7".to_owned()]).unwrap();
        assert_eq!(Number::Users.rungs_below(&with_users), [0, 1, 2, 5]);
        assert_eq!(Step::Lower(Number::Users, 2).apply(&with_users).unwrap().load.users, Some(2));
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
    fn a_fault_becomes_plain_and_an_occurrence_of_a_repeated_one_is_removed_by_itself() {
        let more = [
            "fault.1.share=0.5".to_owned(),
            "fault.0={ at = '1s', kind = 'delay', latency = '1ms', direction = 'to', share = 0.1, target = 'server-0', duration = '1s', \
             every = '3s', count = 3 }"
                .to_owned(),
            "expect.0.during=fault-3".to_owned(),
        ];
        let scenario = Scenario::parse("steps.toml", TEXT, &more).unwrap();
        assert_eq!(scenario.faults.len(), 4);
        let plain = Step::Plain(3, PlainKey::Share).apply(&scenario).unwrap();
        assert_eq!((plain.faults[3].kind.share(), plain.faults[0].kind.share()), (None, Some(0.1)));
        assert_eq!(Step::Plain(3, PlainKey::Share).apply(&plain), None, "there is nothing to take away");
        assert_eq!(Step::Plain(3, PlainKey::Direction).apply(&scenario), None, "a reset has no direction");
        let both_ways = Step::Plain(1, PlainKey::Direction).apply(&scenario).unwrap();
        assert_eq!(both_ways.faults[1].kind.clone().direction_mut().copied(), Some(None));
        assert_eq!(every(&scenario, false).iter().filter(|step| matches!(step, Step::Plain(..))).count(), 7);
        let without = Step::WithoutFaults(vec![1]).apply(&scenario).unwrap();
        assert_eq!(without.faults.iter().map(|fault| fault.at.as_secs()).collect::<Vec<_>>(), [1, 7, 4]);
        assert_eq!(without.expectations[0].during, Some(Phase::Fault(2)));
    }

    #[test]
    fn what_would_be_no_scenario_is_no_step() {
        assert_eq!(Step::WithoutFaults(vec![1]).apply(&scenario()), None, "the expectation is about it");
        assert_eq!(Step::WithoutServer(2).apply(&scenario()), None, "a fault hits it");
        assert_eq!(Step::WithoutTarget { fault: 1, place: 0 }.apply(&scenario()), None, "it is the only one");
        assert_eq!(Step::Lower(Number::Duration, 1_000).apply(&scenario()), None, "the faults begin later");
    }
}
