//! Which faults lead to many situations, which is learned from the runs that were played.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kernel::scenario::{Fault, FaultKind};

/// How much of the mean of earlier runs is left in it with each further run.
const KEPT: f64 = 0.95;

/// The most that one run counts, compared with the mean: the first runs of a search are in many situations for the first time.
const MOST: f64 = 5.0;

/// Number of runs with the mean that each profile begins with, so that one run says little.
const PRIOR: f64 = 2.0;

/// What faults have in common that have about the same effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Profile {
    kind: &'static str,
    targets: usize,
    length: Level,
    strength: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Low,
    Middle,
    High,
}

impl Level {
    /// Returns the level of a value: low below the first bound, and high from the second.
    fn new<T: PartialOrd>(value: T, [middle, high]: [T; 2]) -> Self {
        if value < middle {
            Self::Low
        } else if value < high {
            Self::Middle
        } else {
            Self::High
        }
    }
}

impl Profile {
    pub(super) fn new(fault: &Fault) -> Self {
        // The bounds divide what is drawn into three parts, each as likely.
        let strength = match &fault.kind {
            FaultKind::Delay { latency, .. } => Level::new(*latency, [40, 350].map(Duration::from_millis)),
            FaultKind::Loss { rate, .. } => rate.map_or(Level::High, |rate| Level::new(rate, [0.04, 0.18])),
            FaultKind::Errors { rate, .. } => Level::new(*rate, [0.07, 0.27]),
            FaultKind::Slow { factor, .. } => Level::new(*factor, [5.0, 16.0]),
            _ => Level::Middle,
        };
        let length = Level::new(fault.kind.lasts().unwrap_or_default(), [250, 500].map(Duration::from_millis));
        Self { kind: fault.kind.name(), targets: fault.targets.len(), length, strength }
    }
}

/// How many situations runs were in whose faults have each profile, compared with the mean of recent runs.
#[derive(Debug, Default)]
pub(super) struct Yields {
    /// The mean number of situations; none before the first run.
    mean: Option<f64>,
    of_profiles: BTreeMap<Profile, Yield>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Yield {
    runs: f64,
    /// The sum over the runs of the number of their situations by the mean.
    sum: f64,
}

impl Yields {
    /// Learns that a run was in this number of situations, and had faults of these profiles, as far as they are what it was in them for.
    pub(super) fn learn(&mut self, profiles: &[Profile], situations: usize) {
        let situations = situations as f64;
        let mean = self.mean.map_or(situations, |mean| KEPT * mean + (1.0 - KEPT) * situations);
        self.mean = Some(mean);
        if mean == 0.0 {
            return;
        }
        for profile in profiles.iter().collect::<BTreeSet<_>>() {
            let known = self.of_profiles.entry(*profile).or_default();
            known.runs += 1.0;
            known.sum += (situations / mean).min(MOST);
        }
    }

    /// Returns how much a fault of this profile promises: 1 if nothing is known, and otherwise the square of its share of the mean.
    pub(super) fn promise(&self, profile: &Profile) -> f64 {
        let Yield { runs, sum } = self.of_profiles.get(profile).copied().unwrap_or_default();
        let share = (sum + PRIOR) / (runs + PRIOR);
        share * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        Fault { at: Duration::from_secs(1), targets: vec![0, 2], kind, caller: None }
    }

    #[test]
    fn the_profile_of_a_fault_is_its_kind_its_number_of_servers_its_length_and_its_strength() {
        let errors = |rate, ms| {
            let duration = Some(Duration::from_millis(ms));
            Profile::new(&fault(FaultKind::Errors { rate, status: None, duration, delay: None }))
        };
        let profile = |length, strength| Profile { kind: "errors", targets: 2, length, strength };
        assert_eq!(errors(0.05, 249), profile(Level::Low, Level::Low));
        assert_eq!(errors(0.07, 250), profile(Level::Middle, Level::Middle));
        assert_eq!(errors(1.0, 500), profile(Level::High, Level::High));
        let freeze = Profile::new(&fault(FaultKind::Freeze { duration: Some(Duration::from_secs(1)) }));
        assert_eq!(freeze, Profile { kind: "freeze", targets: 2, length: Level::High, strength: Level::Middle });
    }

    #[test]
    fn a_profile_whose_runs_were_in_more_situations_than_others_promises_more() {
        let profile = |kind| Profile { kind, targets: 1, length: Level::Low, strength: Level::Middle };
        let [crash, freeze, loss] = ["crash", "freeze", "loss"].map(profile);
        let mut yields = Yields::default();
        assert_eq!(yields.promise(&crash), 1.0);
        yields.learn(&[], 0);
        yields.learn(&[crash, crash], 0);
        assert_eq!(yields.promise(&crash), 1.0, "no run was in a situation");
        let mut yields = Yields::default();
        for _ in 0..50 {
            yields.learn(&[crash], 300);
            yields.learn(&[freeze, freeze], 100);
        }
        assert!(yields.promise(&crash) > 1.5, "{yields:?}");
        assert!(yields.promise(&freeze) < 0.7, "{yields:?}");
        assert_eq!(yields.promise(&loss), 1.0);
        assert_eq!(yields.of_profiles[&freeze].runs, 50.0, "a run counts once");
    }
}
