//! The runs that a calibration measures.

use std::{path::Path, time::Duration};

use kernel::{
    record::Records,
    run_folder::{Earlier, RunFolder, RunInfo, read_records},
    scenario::{Scenario, ScenarioError, Size, Workload, WorkloadName},
};

use super::{
    machine::{FITTED, HELD_OUT, Purpose, processor_us},
    measurement::{CalibrationError, Measurement, Measures},
    observed::{Observed, computing},
};
use crate::{
    live::View,
    rehearsal::{Plan, RehearsalError, play},
};

/// Number of rounds; each round plays every kind of run once. What differs between rounds is a property of the moment
/// and not of the host.
const ROUNDS: u64 = 4;

/// The runs of one round; workloads that have none here are measured with their default settings.
const KINDS: [RunKind; 6] = [
    RunKind { name: "computing", ..RunKind::PICTURES },
    RunKind { name: "waiting", service_time_min_ms: 50, ..RunKind::PICTURES },
    RunKind { name: "shaped", seconds: 4, service_time_min_ms: 50, latency_ms: 5, ..RunKind::PICTURES },
    RunKind { name: "searching-few", work: Work::Other("dfs", "nodes = 2000\nedges = 6000"), ..RunKind::OTHER },
    RunKind { name: "searching", work: Work::Other("dfs", "nodes = 20000\nedges = 60000"), ..RunKind::OTHER },
    RunKind { name: "answering", work: Work::Other("backend", PROMPT), ..RunKind::OTHER },
];

/// Settings of a backend without failures and delays: those come from the scenario in either world, not from the host.
const PROMPT: &str = "failure_rate = 0.0\nhang_rate = 0.0\ndelay = '0ms'";

/// Approximate time that the processes of a run take to start and to end.
const OVERHEAD_SECONDS: u64 = 1;

/// Latency that the links of `shaped` runs add to one direction, in microseconds.
pub(super) const SHAPED_US: f64 = 5_000.0;

/// One of the runs of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunKind {
    name: &'static str,
    work: Work,
    seconds: u64,
    /// Requests per second.
    rate: u64,
    service_time_min_ms: u64,
    latency_ms: u64,
}

/// The workload of a run.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Images of the sizes on the command line.
    Pictures,
    /// Another workload and its settings. Only its service time is used, as message delays are measured with images.
    Other(&'static str, &'static str),
}

impl RunKind {
    const PICTURES: Self =
        Self { name: "", work: Work::Pictures, seconds: 8, rate: 24, service_time_min_ms: 0, latency_ms: 0 };
    const OTHER: Self = Self { seconds: 2, rate: 40, ..Self::PICTURES };

    /// A run of each workload that has no other run.
    fn of_other_workloads() -> impl Iterator<Item = Self> {
        let has_runs = KINDS.map(|kind| kind.workload_name());
        let others = Workload::of_this_project().filter(move |name| !has_runs.contains(name));
        others.map(|name| Self { name, work: Work::Other(name, ""), ..Self::OTHER })
    }

    fn workload_name(&self) -> &'static str {
        match self.work {
            Work::Pictures => WorkloadName::Sobel.name(),
            Work::Other(name, _) => name,
        }
    }

    fn workload(&self, sizes: &str) -> String {
        match self.work {
            Work::Pictures => format!("sizes = [{sizes}]"),
            Work::Other(kind, keys) => format!("kind = '{kind}'\n{keys}"),
        }
    }

    fn measures(&self) -> Measures {
        match (&self.work, self.service_time_min_ms, self.latency_ms) {
            (Work::Other(workload, _), ..) => Measures::Other(workload),
            (Work::Pictures, 0, _) => Measures::Computing,
            (Work::Pictures, _, 0) => Measures::Waiting,
            (Work::Pictures, ..) => Measures::Shaped,
        }
    }

    fn scenario(&self, sizes: &str) -> Result<Scenario, ScenarioError> {
        let text = format!(
            "name = 'calibration-{}'\nduration = '{}s'\n[servers]\nworkers = 16\nservice_time_min = '{}ms'\n\
             [workload]\n{}\n[load]\nrate = {}\narrivals = 'poisson'\n[network]\nlatency = '{}ms'\n",
            self.name,
            self.seconds,
            self.service_time_min_ms,
            self.workload(sizes),
            self.rate,
            self.latency_ms,
        );
        Scenario::parse("calibration", &text, &[])
    }
}

/// The runs of a calibration, with their scenarios.
pub(super) struct CalibrationPlan {
    runs: Vec<(Scenario, RunKind)>,
    /// The runs that the model of the machine is fitted to, in order.
    machine: Vec<MachineRun>,
    /// The scenario of an app whose computing is measured.
    app: Option<Scenario>,
}

/// A run at a constant rate, for the model of the machine.
struct MachineRun {
    scenario: Scenario,
    load: Load,
    purpose: Purpose,
}

/// Requests per second, and seconds.
type Load = (u64, u64);

/// Number of rounds of the runs at several rates. The processors of a virtual machine are faster at one time and slower at another: each round
/// has all rates.
const MACHINE_ROUNDS: usize = 3;

/// The other workloads of the runs for the model of the machine, with their settings, and their rates and seconds: one that lets the
/// processors sleep, and one that keeps the caches warm.
const MACHINE_OTHERS: [(&str, &str, [Load; 2]); 5] = [
    ("dfs", "nodes = 20\nedges = 40", [(20, 2), (1_000, 1)]),
    ("dfs", "nodes = 2000\nedges = 6000", [(20, 2), (1_000, 1)]),
    ("dfs", "nodes = 20000\nedges = 60000", [(20, 2), (400, 1)]),
    // At a higher rate, most of the requests overlap.
    ("dfs", "nodes = 100000\nedges = 300000", [(10, 3), (40, 4)]),
    ("backend", PROMPT, [(20, 2), (1_000, 1)]),
];

/// Returns a run for the model of the machine. `workload` has the keys of that table.
fn machine_run(purpose: Purpose, workload: &str, (rate, seconds): Load) -> Result<MachineRun, ScenarioError> {
    let text = format!(
        "name = 'calibration-machine'\nduration = '{seconds}s'\n[servers]\nworkers = 16\n[workload]\n{workload}\n\
         [load]\nrate = {rate}\narrivals = 'poisson'\n"
    );
    let scenario = Scenario::parse("calibration", &text, &[])?;
    Ok(MachineRun { scenario, load: (rate, seconds), purpose })
}

/// Returns the runs for the model of the machine, with images of these sizes.
fn machine_runs(sizes: &str) -> Result<Vec<MachineRun>, ScenarioError> {
    let pictures = format!("sizes = [{sizes}]");
    let mut runs = Vec::new();
    for _ in 0..MACHINE_ROUNDS {
        for load in FITTED {
            runs.push(machine_run(Purpose::Fit, &pictures, load)?);
        }
        for load in HELD_OUT {
            runs.push(machine_run(Purpose::HoldOut, &pictures, load)?);
        }
        for (workload, keys, loads) in MACHINE_OTHERS {
            let text = format!("kind = '{workload}'\n{keys}");
            for load in loads {
                runs.push(machine_run(Purpose::Other(workload), &text, load)?);
            }
        }
    }
    Ok(runs)
}

impl CalibrationPlan {
    /// Builds the runs for images of `sizes`, and those of the scenario of an app. Fails if the scenario format does not allow one of them.
    pub(super) fn new(sizes: &[Size], app: Option<Scenario>) -> Result<Self, ScenarioError> {
        let sizes = sizes.iter().map(|size| format!("'{size}'")).collect::<Vec<_>>().join(", ");
        let kinds = KINDS.into_iter().chain(RunKind::of_other_workloads());
        let runs = kinds.map(|kind| Ok((kind.scenario(&sizes)?, kind))).collect::<Result<_, ScenarioError>>()?;
        Ok(Self { runs, machine: machine_runs(&sizes)?, app })
    }

    /// Approximate duration of all runs.
    pub(super) fn seconds(&self) -> u64 {
        let of_app = self.app.iter().map(|scenario| scenario.duration.as_secs());
        let of_machine: u64 = self.machine.iter().map(|run| run.load.1 + OVERHEAD_SECONDS).sum();
        of_machine
            + ROUNDS
                * self
                    .runs
                    .iter()
                    .map(|(_, kind)| kind.seconds)
                    .chain(of_app)
                    .map(|time| time + OVERHEAD_SECONDS)
                    .sum::<u64>()
    }

    /// Plays all runs. Calls `progress` after each run with the seconds that it took.
    pub(super) fn play(&self, progress: impl Fn(u64)) -> Result<Measurement, CalibrationError> {
        let place = tempfile::tempdir()?;
        let mut measurement = Measurement::default();
        for (seed, MachineRun { scenario, load, purpose }) in self.machine.iter().enumerate() {
            let (records, processor_us) = record(scenario, seed as u64, &place.path().join("machine"))?;
            measurement.machine.add(&records, *load, processor_us, *purpose);
            progress(load.1 + OVERHEAD_SECONDS);
        }
        for round in 0..ROUNDS {
            for (scenario, kind) in &self.runs {
                let (records, _) = record(scenario, round, &place.path().join(&scenario.name))?;
                let service_time_min = Duration::from_millis(kind.service_time_min_ms);
                let observed = Observed::from_records(&records, service_time_min);
                measurement.samples_mut(kind.measures()).add(observed);
                progress(kind.seconds + OVERHEAD_SECONDS);
            }
            if let Some(scenario) = &self.app {
                let (records, _) = record(scenario, round, &place.path().join(&scenario.name))?;
                measurement.add_computing(computing(&records));
                progress(scenario.duration.as_secs() + OVERHEAD_SECONDS);
            }
        }
        Ok(measurement)
    }
}

/// Plays `scenario` once, in a folder at `place`. Returns its rows, and the processor time of all its processes in microseconds.
fn record(scenario: &Scenario, seed: u64, place: &Path) -> Result<(Records, f64), CalibrationError> {
    let mut folder = RunFolder::prepare(place, Earlier::Replace).map_err(RehearsalError::from)?;
    let logs = folder.logs().map_err(RehearsalError::from)?;
    let info = RunInfo::new("real", seed);
    let plan = Plan {
        scenario: scenario.clone(),
        seed,
        branches: Vec::new(),
        logs,
        view: View::Nothing,
        measures_computing: true,
        detect: None,
        allow_remote: false,
    };
    let before = processor_us();
    let played = play(&plan, &mut folder, &info)?;
    let processor_us = processor_us() - before;
    if played.interrupted {
        return Err(CalibrationError::Signal);
    }
    let written = folder.conclude(scenario, &info, played.end).map_err(RehearsalError::from)?;
    let records = read_records(&written.placed.place).map_err(RehearsalError::from)?;
    Ok((records, processor_us))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kernel::scenario::Workload;

    use super::*;

    #[test]
    fn a_calibration_takes_less_than_six_minutes_and_plays_no_fault() {
        let plan = CalibrationPlan::new(&["64x64".parse().unwrap()], None).unwrap();
        assert!(plan.seconds() < 360, "{} s", plan.seconds());
        assert!(plan.runs.iter().all(|(scenario, _)| scenario.faults.is_empty()));
    }

    #[test]
    fn every_workload_is_measured() {
        let plan = CalibrationPlan::new(&["64x64".parse().unwrap()], None).unwrap();
        let measured: BTreeSet<_> = plan.runs.iter().map(|(scenario, _)| scenario.workload.name()).collect();
        assert_eq!(measured, Workload::of_this_project().collect());
    }
}
