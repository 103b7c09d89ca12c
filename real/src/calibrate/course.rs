//! The runs that a calibration is made of.

use std::{collections::BTreeMap, io, time::Duration};

use kernel::scenario::{Scenario, ScenarioError, Size};

use super::{observed::Observed, samples::Samples};
use crate::{
    live::View,
    rehearsal::{Plan, RehearsalError, play},
};

/// Each kind of run is played once a round. Between rounds shows what is the host's and what is the moment's.
const ROUNDS: u64 = 4;

/// What each round plays.
const KINDS: [Kind; 3] = [
    Kind { name: "computing", seconds: 8, rate: 24, service_time_min_ms: 0, latency_ms: 0 },
    Kind { name: "waiting", seconds: 8, rate: 24, service_time_min_ms: 50, latency_ms: 0 },
    Kind { name: "shaped", seconds: 4, rate: 24, service_time_min_ms: 50, latency_ms: 5 },
];

/// What starting and ending the processes of a run takes, about.
const OVERHEAD_SECONDS: u64 = 1;

/// One way of a link in the `shaped` runs takes this much longer.
pub(super) const SHAPED_US: f64 = 5_000.0;

struct Kind {
    name: &'static str,
    seconds: u64,
    /// Requests a second.
    rate: u64,
    service_time_min_ms: u64,
    latency_ms: u64,
}

/// The runs to be played.
pub(super) struct Course {
    kinds: Vec<(Scenario, &'static Kind)>,
}

/// What all runs told, by kind: pure computing, requests whose worker mostly waits, and these over slower links.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) computing: Merged,
    pub(super) waiting: Merged,
    pub(super) shaped: Merged,
}

/// The observations of one kind of run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Merged {
    pub(super) client_late: Samples,
    pub(super) connect: Samples,
    pub(super) by_size: BTreeMap<String, MergedWay>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct MergedWay {
    pub(super) to_server: Samples,
    pub(super) held: Samples,
    pub(super) to_client: Samples,
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    #[error("cannot make a folder for logs: {0}")]
    Logs(#[from] io::Error),
    #[error("interrupted; nothing was written")]
    Signal,
}

impl Course {
    pub(super) fn new(sizes: &[Size]) -> Result<Self, ScenarioError> {
        let sizes: Vec<_> = sizes.iter().map(|size| format!("'{size}'")).collect();
        let scenario = |kind: &'static Kind| -> Result<_, ScenarioError> {
            let text = format!(
                "name = 'calibration-{}'\nduration = '{}s'\n[servers]\nworkers = 16\nservice_time_min = '{}ms'\n\
                 [workload]\nsizes = [{}]\n[load]\nrate = {}\narrivals = 'poisson'\n[network]\nlatency = '{}ms'\n",
                kind.name,
                kind.seconds,
                kind.service_time_min_ms,
                sizes.join(", "),
                kind.rate,
                kind.latency_ms,
            );
            Ok((Scenario::parse("calibration", &text, &[])?, kind))
        };
        Ok(Self { kinds: KINDS.iter().map(scenario).collect::<Result<_, _>>()? })
    }

    /// How long it takes, about.
    pub(super) fn seconds(&self) -> u64 {
        ROUNDS * self.kinds.iter().map(|(_, kind)| kind.seconds + OVERHEAD_SECONDS).sum::<u64>()
    }

    /// Plays everything. `progress` is told the seconds that have passed, now and then.
    pub(super) fn play(&self, progress: impl Fn(u64)) -> Result<Told, Interrupted> {
        let logs = tempfile::tempdir()?;
        let mut told = Told::default();
        for round in 0..ROUNDS {
            for (scenario, kind) in &self.kinds {
                let plan =
                    Plan { scenario: scenario.clone(), seed: round, logs: logs.path().to_owned(), view: View::Nothing };
                let played = play(&plan)?;
                if played.interrupted {
                    return Err(Interrupted::Signal);
                }
                let observed = Observed::of(&played.records, Duration::from_millis(kind.service_time_min_ms));
                told.of(kind).add(observed);
                progress(kind.seconds + OVERHEAD_SECONDS);
            }
        }
        Ok(told)
    }
}

impl Told {
    fn of(&mut self, kind: &Kind) -> &mut Merged {
        match (kind.service_time_min_ms, kind.latency_ms) {
            (0, _) => &mut self.computing,
            (_, 0) => &mut self.waiting,
            _ => &mut self.shaped,
        }
    }
}

impl Merged {
    pub(super) fn add(&mut self, observed: Observed) {
        self.client_late.add_round(observed.client_late);
        self.connect.add_round(observed.connect);
        for (size, way) in observed.by_size {
            let merged = self.by_size.entry(size).or_default();
            merged.to_server.add_round(way.to_server);
            merged.held.add_round(way.held);
            merged.to_client.add_round(way.to_client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_takes_less_than_two_minutes_and_plays_no_fault() {
        let course = Course::new(&["64x64".parse().unwrap()]).unwrap();
        assert!(course.seconds() < 110, "{} s", course.seconds());
        assert!(course.kinds.iter().all(|(scenario, _)| scenario.faults.is_empty()));
    }
}
