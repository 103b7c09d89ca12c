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
const KINDS: [Kind; 6] = [
    Kind { name: "computing", ..Kind::PICTURES },
    Kind { name: "waiting", service_time_min_ms: 50, ..Kind::PICTURES },
    Kind { name: "shaped", seconds: 4, service_time_min_ms: 50, latency_ms: 5, ..Kind::PICTURES },
    Kind { name: "searching-few", work: Work::Other("dfs", "nodes = 2000\nedges = 6000"), ..Kind::OTHER },
    Kind { name: "searching", work: Work::Other("dfs", "nodes = 20000\nedges = 60000"), ..Kind::OTHER },
    Kind { name: "answering", work: Work::Other("backend", PROMPT), ..Kind::OTHER },
];

/// A backend that does not let anyone down: what it does on purpose is the scenario's, in either world.
const PROMPT: &str = "failure_rate = 0.0\nhang_rate = 0.0\ndelay = '0ms'";

/// What starting and ending the processes of a run takes, about.
const OVERHEAD_SECONDS: u64 = 1;

/// One way of a link in the `shaped` runs takes this much longer.
pub(super) const SHAPED_US: f64 = 5_000.0;

struct Kind {
    name: &'static str,
    work: Work,
    seconds: u64,
    /// Requests a second.
    rate: u64,
    service_time_min_ms: u64,
    latency_ms: u64,
}

/// What the servers compute.
enum Work {
    /// On images of the sizes that were asked for.
    Pictures,
    /// Another workload, with these keys: that only tells how long it takes, as messages are measured with images.
    Other(&'static str, &'static str),
}

impl Kind {
    const PICTURES: Self =
        Self { name: "", work: Work::Pictures, seconds: 8, rate: 24, service_time_min_ms: 0, latency_ms: 0 };
    const OTHER: Self = Self { seconds: 2, rate: 40, ..Self::PICTURES };

    fn workload(&self, sizes: &str) -> String {
        match self.work {
            Work::Pictures => format!("sizes = [{sizes}]"),
            Work::Other(kind, keys) => format!("kind = '{kind}'\n{keys}"),
        }
    }
}

/// The runs to be played.
pub(super) struct Course {
    kinds: Vec<(Scenario, &'static Kind)>,
}

/// What all runs told, by kind: pure computing, requests whose worker mostly waits, and these over slower links; and pure
/// computing of other workloads, by their names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) computing: Merged,
    pub(super) waiting: Merged,
    pub(super) shaped: Merged,
    pub(super) others: BTreeMap<&'static str, Merged>,
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
        let sizes = sizes.iter().map(|size| format!("'{size}'")).collect::<Vec<_>>().join(", ");
        let scenario = |kind: &'static Kind| -> Result<_, ScenarioError> {
            let text = format!(
                "name = 'calibration-{}'\nduration = '{}s'\n[servers]\nworkers = 16\nservice_time_min = '{}ms'\n\
                 [workload]\n{}\n[load]\nrate = {}\narrivals = 'poisson'\n[network]\nlatency = '{}ms'\n",
                kind.name,
                kind.seconds,
                kind.service_time_min_ms,
                kind.workload(&sizes),
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
        match (&kind.work, kind.service_time_min_ms, kind.latency_ms) {
            (Work::Other(workload, _), ..) => self.others.entry(workload).or_default(),
            (Work::Pictures, 0, _) => &mut self.computing,
            (Work::Pictures, _, 0) => &mut self.waiting,
            (Work::Pictures, ..) => &mut self.shaped,
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
    use std::collections::BTreeSet;

    use kernel::scenario::Workload;

    use super::*;

    #[test]
    fn a_calibration_takes_some_two_minutes_and_plays_no_fault() {
        let course = Course::new(&["64x64".parse().unwrap()]).unwrap();
        assert!(course.seconds() < 130, "{} s", course.seconds());
        assert!(course.kinds.iter().all(|(scenario, _)| scenario.faults.is_empty()));
    }

    #[test]
    fn every_workload_is_measured() {
        let course = Course::new(&["64x64".parse().unwrap()]).unwrap();
        let measured: BTreeSet<_> = course.kinds.iter().map(|(scenario, _)| scenario.workload.name()).collect();
        assert_eq!(measured, Workload::names().collect());
    }
}
