//! The runs that a calibration measures.

use std::{fs, path::Path, time::Duration};

use kernel::{
    input,
    record::Records,
    run_folder::{Earlier, RunFolder, RunInfo, read_records},
    scenario::{Scenario, ScenarioError, Size, Workload, WorkloadName},
};

use super::{
    machine::{FITTED, HELD, HELD_OUT, Load, Purpose, processor_us},
    measurement::{CalibrationError, Measurement, Measures},
    observed::{Observed, computing},
};
use crate::{
    live::View,
    rehearsal::{Plan, RehearsalError, play},
};

/// Number of rounds; each round plays every kind of run once.
pub(super) const ROUNDS: usize = 4;

/// The runs of one round; workloads that have none here are measured with their default settings.
const KINDS: [RunKind; 6] = [
    RunKind { name: "computing", ..RunKind::PICTURES },
    RunKind { name: "waiting", load: Load::new(24, 8).held_for(HOLD), ..RunKind::PICTURES },
    RunKind { name: "shaped", load: Load::new(24, 4).held_for(HOLD), latency_ms: 5, ..RunKind::PICTURES },
    RunKind { name: "searching-few", work: Work::Other("dfs", "nodes = 2000\nedges = 6000"), ..RunKind::OTHER },
    RunKind { name: "searching", work: Work::Other("dfs", "nodes = 20000\nedges = 60000"), ..RunKind::OTHER },
    RunKind { name: "answering", work: Work::Other("backend", PROMPT), ..RunKind::OTHER },
];

/// The least time that a request holds its worker in runs that wait.
const HOLD: Duration = Duration::from_millis(50);

/// Settings of a backend without failures and delays: those come from the scenario in either world, not from the host.
const PROMPT: &str = "failure_rate = 0.0\nhang_rate = 0.0\ndelay = '0ms'";

/// About how long the processes of a run take to start and to end: the 84 runs of a calibration took 28 s longer than their loads.
const OVERHEAD: Duration = Duration::from_millis(400);

/// Latency that the links of `shaped` runs add to one direction, in microseconds.
pub(super) const SHAPED_US: f64 = 5_000.0;

/// One of the runs of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunKind {
    name: &'static str,
    work: Work,
    load: Load,
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
    const PICTURES: Self = Self { name: "", work: Work::Pictures, load: Load::new(24, 8), latency_ms: 0 };
    const OTHER: Self = Self { load: Load::new(40, 2), ..Self::PICTURES };

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
        match self.work {
            Work::Other(workload, _) => Measures::Other(workload),
            Work::Pictures if self.load.hold.is_zero() => Measures::Computing,
            Work::Pictures if self.latency_ms == 0 => Measures::Waiting,
            Work::Pictures => Measures::Shaped,
        }
    }
}

/// Returns the scenario of a run. `workload` has the keys of that table.
fn scenario(name: &str, workload: &str, load: Load, latency_ms: u64) -> Result<Scenario, ScenarioError> {
    let Load { rate, seconds, hold } = load;
    let text = format!(
        "name = 'calibration-{name}'\nduration = '{seconds}s'\n[servers]\nworkers = 16\nservice_time_min = '{}ms'\n\
         [workload]\n{workload}\n[load]\nrate = {rate}\narrivals = 'poisson'\n[network]\nlatency = '{latency_ms}ms'\n",
        hold.as_millis(),
    );
    Scenario::parse("calibration", &text, &[])
}

/// The runs of a calibration, in rounds. What differs between rounds is a property of the moment and not of the host.
pub(super) struct CalibrationPlan {
    rounds: [Vec<CalibrationRun>; ROUNDS],
}

/// A run of a round.
struct CalibrationRun {
    scenario: Scenario,
    seed: u64,
    /// About how long it takes, with its start and end.
    takes: Duration,
    quantity: Quantity,
}

/// What the rows of a run are read for.
#[derive(Clone, Copy)]
enum Quantity {
    /// The model of the machine.
    Machine(Load, Purpose),
    /// The stages of its requests.
    Stages(Measures, Load),
    /// What the service of an app computes.
    App,
}

/// Number of rounds that have the runs at several rates. The processors of a virtual machine are faster at one time and slower at another: each round
/// has all rates.
const MACHINE_ROUNDS: usize = 3;

/// The other workloads of the runs for the model of the machine, with their settings, and their loads: one that lets the processors sleep,
/// one that keeps the caches warm, and one whose workers are held, so that the processors sleep before they answer.
const MACHINE_OTHERS: [(&str, &str, &[Load]); 5] = [
    ("dfs", "nodes = 20\nedges = 40", &[Load::new(20, 2), Load::new(1_000, 1)]),
    ("dfs", "nodes = 2000\nedges = 6000", &[Load::new(20, 2), Load::new(1_000, 1), HELD_OTHER]),
    ("dfs", "nodes = 20000\nedges = 60000", &[Load::new(20, 2), Load::new(400, 1)]),
    // At a higher rate, most of the requests overlap.
    ("dfs", "nodes = 100000\nedges = 300000", &[Load::new(10, 3), Load::new(40, 4)]),
    ("backend", PROMPT, &[Load::new(20, 2), Load::new(1_000, 1), HELD_OTHER]),
];

/// The load of the other workloads on workers that are held.
const HELD_OTHER: Load = Load::new(80, 1).held_for(Duration::from_millis(12));

/// Returns the runs for the model of the machine of one round, with images of these sizes.
fn machine_runs(sizes: &str, round: usize) -> Result<Vec<CalibrationRun>, ScenarioError> {
    let pictures = format!("sizes = [{sizes}]");
    let fitted = FITTED.into_iter().chain([HELD]);
    let mut loads: Vec<_> = fitted.map(|load| (Purpose::Fit, pictures.clone(), load)).collect();
    loads.extend(HELD_OUT.map(|load| (Purpose::HoldOut, pictures.clone(), load)));
    for (workload, keys, of_workload) in MACHINE_OTHERS {
        let text = format!("kind = '{workload}'\n{keys}");
        loads.extend(of_workload.iter().map(|load| (Purpose::Other(workload), text.clone(), *load)));
    }
    let count = loads.len();
    let runs = loads.into_iter().enumerate().map(|(place, (purpose, workload, load))| {
        Ok(CalibrationRun {
            scenario: scenario("machine", &workload, load, 0)?,
            seed: (round * count + place) as u64,
            takes: Duration::from_secs(load.seconds) + OVERHEAD,
            quantity: Quantity::Machine(load, purpose),
        })
    });
    runs.collect()
}

/// Returns the runs of a round for the stages of requests, with images of these sizes.
fn stage_runs(sizes: &str, round: usize) -> Result<Vec<CalibrationRun>, ScenarioError> {
    let kinds = KINDS.into_iter().chain(RunKind::of_other_workloads());
    let runs = kinds.map(|kind| {
        Ok(CalibrationRun {
            scenario: scenario(kind.name, &kind.workload(sizes), kind.load, kind.latency_ms)?,
            seed: round as u64,
            takes: Duration::from_secs(kind.load.seconds) + OVERHEAD,
            quantity: Quantity::Stages(kind.measures(), kind.load),
        })
    });
    runs.collect()
}

impl CalibrationPlan {
    /// Builds the runs for images of `sizes`, and those of the scenario of an app. Fails if the scenario format does not allow one of them.
    pub(super) fn new(sizes: &[Size], app: Option<&Scenario>) -> Result<Self, ScenarioError> {
        let sizes = sizes.iter().map(|size| format!("'{size}'")).collect::<Vec<_>>().join(", ");
        let mut rounds: [Vec<CalibrationRun>; ROUNDS] = Default::default();
        for (round, runs) in rounds.iter_mut().enumerate() {
            if round < MACHINE_ROUNDS {
                runs.extend(machine_runs(&sizes, round)?);
            }
            runs.extend(stage_runs(&sizes, round)?);
            runs.extend(app.map(|scenario| CalibrationRun {
                scenario: scenario.clone(),
                seed: round as u64,
                takes: scenario.duration + OVERHEAD,
                quantity: Quantity::App,
            }));
        }
        Ok(Self { rounds })
    }

    /// Approximate duration of all runs.
    pub(super) fn takes(&self) -> Duration {
        self.rounds.iter().flatten().map(|run| run.takes).sum()
    }

    /// Plays a round in folders below `place`, and adds what it measures to `measurement`. A run that was played there before is read instead.
    /// Calls `progress` after each run with about how long it takes.
    pub(super) fn play(
        &self,
        round: usize,
        place: &Path,
        measurement: &mut Measurement,
        progress: impl Fn(Duration),
    ) -> Result<(), CalibrationError> {
        for (number, run) in self.rounds[round].iter().enumerate() {
            let place = place.join(format!("round-{round}-{number}-{}", run.scenario.name));
            let (records, processor_us) = record(run, &place)?;
            match run.quantity {
                Quantity::Machine(load, purpose) => measurement.machine.add(&records, load, processor_us, purpose),
                Quantity::Stages(quantity, load) => {
                    measurement.samples_mut(quantity).add(Observed::from_records(&records, load.hold));
                    if quantity == Measures::Waiting {
                        // These processors sleep before each answer, at a load that no other run for the machine has.
                        measurement.machine.add(&records, load, processor_us, Purpose::Fit);
                    }
                }
                Quantity::App => measurement.add_computing(computing(&records)),
            }
            progress(run.takes);
        }
        Ok(())
    }
}

/// Returns the rows of a run and the processor time of all its processes in microseconds. Plays it in a folder at `place`, unless it was played there.
fn record(run: &CalibrationRun, place: &Path) -> Result<(Records, f64), CalibrationError> {
    let CalibrationRun { scenario, seed, .. } = run;
    // Written last: a run that was interrupted has none.
    let used = place.with_extension("processor-us");
    let known = input::read_text(&used).ok().and_then(|text| text.trim().parse().ok());
    if let Some(processor_us) = known {
        return Ok((read_records(place).map_err(RehearsalError::from)?, processor_us));
    }
    let mut folder = RunFolder::prepare(place, Earlier::Replace).map_err(RehearsalError::from)?;
    let logs = folder.logs().map_err(RehearsalError::from)?;
    let info = RunInfo::new("real", *seed);
    let plan = Plan {
        scenario: scenario.clone(),
        seed: *seed,
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
    fs::write(&used, format!("{processor_us}\n"))?;
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
        assert!(plan.takes() < Duration::from_secs(360), "{:?}", plan.takes());
        assert!(plan.rounds.iter().flatten().all(|run| run.scenario.faults.is_empty()));
    }

    #[test]
    fn every_workload_is_measured_in_every_round() {
        let plan = CalibrationPlan::new(&["64x64".parse().unwrap()], None).unwrap();
        for round in &plan.rounds {
            let measured: BTreeSet<_> = round.iter().map(|run| run.scenario.workload.name()).collect();
            assert_eq!(measured, Workload::of_this_project().collect());
        }
    }
}
