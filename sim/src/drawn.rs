//! Fault schedules drawn from a seed, as explicit scenarios.
//!
//! Swarm testing (Groce and others, 2012): each schedule allows itself a random half of the kinds, and a pace of its own,
//! so that some are all crashes and others mix everything. What is drawn is rounded to milliseconds and thousandths, as a
//! file has it: the scenario says all, and needs nothing random to be played again.

use std::time::Duration;

use clap::ValueEnum;
use kernel::{
    entropy::{Entropy, unit},
    scenario::{Direction, Fault, FaultKind, Scenario},
    status::Code,
};
use rand::Rng;

/// Faults of one schedule, at most.
pub const FAULTS_MAX: usize = 32;

/// A kind of fault that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they are the kinds of `FaultKind`")]
pub enum Kind {
    Crash,
    Freeze,
    Delay,
    Partition,
    Loss,
    Bandwidth,
    Reset,
    Errors,
    Slow,
}

/// What schedules are drawn from.
#[derive(Debug, Clone)]
pub struct Menu {
    /// At least one.
    pub kinds: Vec<Kind>,
    /// Faults of one schedule, from 1 to [`FAULTS_MAX`].
    pub faults_max: usize,
}

impl Menu {
    /// `scenario` with the schedule of this number in place of its faults. It depends on the seed, the number, the menu, and
    /// the scenario's duration and replicas only.
    pub fn draw(&self, scenario: &Scenario, seed: u64, number: u64) -> Scenario {
        let mut rng = Entropy::new(seed).stream_of("nemesis.schedule", &[number]);
        let mut kinds: Vec<Kind> = self.kinds.iter().copied().filter(|_| unit(&mut rng) < 0.5).collect();
        if kinds.is_empty() {
            kinds.push(*any(&self.kinds, &mut rng));
        }
        // From half to double as long as usual.
        let pace = 2.0_f64.powf(2.0 * unit(&mut rng) - 1.0);
        let count = 1 + below(self.faults_max, &mut rng);
        let draw = |_| fault(scenario, *any(&kinds, &mut rng), pace, &mut rng);
        let mut faults: Vec<Fault> = (0..count).map(draw).collect();
        faults.sort_by_key(|fault| fault.at);
        Scenario { faults, ..scenario.clone() }
    }
}

/// It begins after the first tenth of the run and before the last fifth.
fn fault(scenario: &Scenario, kind: Kind, pace: f64, rng: &mut impl Rng) -> Fault {
    let run = scenario.duration.as_secs_f64();
    let at = millis(run * (0.1 + 0.7 * unit(rng)));
    let longest = (run / 3.0).max(0.2);
    let duration = millis(spread(0.1, longest, rng) * pace);
    let targets = targets(scenario.servers.replicas, rng);
    Fault { at, targets, kind: of_kind(kind, duration, rng) }
}

/// Jepsen's targets: one, a minority, a majority, all.
fn targets(replicas: usize, rng: &mut impl Rng) -> Vec<usize> {
    let count = *any(&[1, (replicas.saturating_sub(1) / 2).max(1), replicas / 2 + 1, replicas], rng);
    let mut rest: Vec<usize> = (0..replicas).collect();
    let mut targets: Vec<usize> = (0..count).map(|_| rest.swap_remove(below(rest.len(), rng))).collect();
    targets.sort_unstable();
    targets
}

fn of_kind(kind: Kind, lasts: Duration, rng: &mut impl Rng) -> FaultKind {
    let duration = Some(lasts);
    match kind {
        Kind::Crash => FaultKind::Crash { restart_after: duration },
        Kind::Freeze => FaultKind::Freeze { duration },
        Kind::Delay => {
            let latency = millis(spread(0.005, 3.0, rng));
            FaultKind::Delay { latency, jitter: millis(latency.as_secs_f64() * unit(rng)), duration }
        }
        Kind::Partition => {
            let direction = *any(&[Direction::Both, Direction::To, Direction::From], rng);
            FaultKind::Partition { direction, duration }
        }
        Kind::Loss => FaultKind::Loss { rate: thousandths(spread(0.01, 0.8, rng)), duration },
        Kind::Bandwidth => FaultKind::Bandwidth { rate: spread(64.0, 50_000.0, rng) as u64 * 1_000, duration },
        Kind::Reset => FaultKind::Reset,
        Kind::Errors => {
            let status = *any(&[Code::Unavailable, Code::Internal, Code::ResourceExhausted], rng);
            FaultKind::Errors { rate: thousandths(spread(0.02, 1.0, rng)), status, duration }
        }
        Kind::Slow => FaultKind::Slow { factor: thousandths(spread(1.5, 50.0, rng)), duration },
    }
}

/// From `low` to `high`, each magnitude as likely.
fn spread(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    low * (high / low).powf(unit(rng))
}

fn below(bound: usize, rng: &mut impl Rng) -> usize {
    (unit(rng) * bound as f64) as usize
}

/// `of` is not empty.
fn any<'a, T>(of: &'a [T], rng: &mut impl Rng) -> &'a T {
    &of[below(of.len(), rng)]
}

fn millis(seconds: f64) -> Duration {
    Duration::from_millis(((seconds * 1e3).round() as u64).max(1))
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scenario() -> Scenario {
        let text = "name = \"base\"\nduration = \"20s\"\n[servers]\nreplicas = 5\n[load]\nrate = 5\n";
        Scenario::parse("base.toml", text, &[]).unwrap()
    }

    fn drawn() -> Vec<Scenario> {
        let menu = Menu { kinds: Kind::value_variants().to_vec(), faults_max: 6 };
        (0..300).map(|number| menu.draw(&scenario(), 1, number)).collect()
    }

    #[test]
    fn what_is_drawn_is_the_same_again_and_is_an_ordinary_file() {
        assert_eq!(drawn(), drawn());
        for scenario in drawn() {
            assert_eq!(Scenario::parse("drawn.toml", &scenario.to_toml(), &[]).unwrap(), scenario);
        }
    }

    #[test]
    fn every_kind_count_and_number_of_targets_is_drawn() {
        let drawn = drawn();
        let faults = || drawn.iter().flat_map(|scenario| &scenario.faults);
        let kinds: BTreeSet<_> = faults().map(|fault| fault.kind.name()).collect();
        let targets: BTreeSet<_> = faults().map(|fault| fault.targets.len()).collect();
        let counts: BTreeSet<_> = drawn.iter().map(|scenario| scenario.faults.len()).collect();
        assert_eq!(kinds.len(), Kind::value_variants().len());
        assert_eq!(targets, BTreeSet::from([1, 2, 3, 5]), "one, a minority, a majority, all");
        assert_eq!(counts, (1..=6).collect());
        assert!(drawn.iter().any(|scenario| scenario.faults.len() > 3
            && scenario.faults.iter().all(|fault| fault.kind.name() == scenario.faults[0].kind.name())));
    }
}
