//! Runs scenarios in this process, and queries their records.

use std::{
    iter,
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicU64},
    thread,
    time::Duration,
};

use kernel::{
    measure::{RunLabel, RunRows, Summary},
    record::{AttemptRow, Event, EventRow, Records, RequestRow},
    scenario::Scenario,
    status::Code,
};
use sim::Plan;

pub(crate) const MS: u64 = 1_000;
pub(crate) const S: u64 = 1_000_000;

/// Longer than any segment takes over the bare link: bytes that were sent just before a fault have arrived by then.
pub(crate) const LINK: u64 = MS;

/// A scenario that was run with a seed.
pub(crate) struct SimulatedRun {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) records: Records,
    pub(crate) summary: Summary,
}

/// Returns every file of `scenarios/`.
pub(crate) fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("there is a folder of scenarios");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

pub(crate) fn load(path: &Path) -> Scenario {
    Scenario::load(path, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Loads the scenario of the file called `name`.
pub(crate) fn scenario(name: &str) -> Scenario {
    load(&folder().join(name).with_extension("toml"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Runs a scenario with the built-in calibration.
pub(crate) fn simulate(scenario: Scenario, seed: u64) -> SimulatedRun {
    let plan = Plan::new(scenario, seed);
    let completed = sim::run(&plan, &AtomicU64::new(0));
    let records = completed.unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", plan.scenario.name)).records;
    let scenario = plan.scenario;
    let run = RunRows::new(scenario.servers.replicas, scenario.duration, &records);
    let label = RunLabel { scenario: &scenario.name, seed, world: "sim", profile: Some(scenario.client.profile) };
    let summary = Summary::compute(label, &run, &scenario.script());
    SimulatedRun { scenario, seed, records, summary }
}

/// Runs every scenario file with each of `seeds` and checks the run, on all cores.
pub(crate) fn for_every_run(seeds: &[u64], check: impl Fn(&SimulatedRun) + Sync) {
    let files = files();
    let plans = Mutex::new(files.iter().flat_map(|file| seeds.iter().map(move |seed| (file, *seed))));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The lock is released before the run, so that the threads run at the same time.
                let next = iter::from_fn(|| plans.lock().expect("taking the next one does not panic").next());
                next.for_each(|(file, seed)| check(&simulate(load(file), seed)));
            });
        }
    });
}

impl SimulatedRun {
    /// Describes the run for a failed assertion.
    pub(crate) fn report(&self) -> String {
        let name = &self.scenario.name;
        format!("{}\nreplay: cargo run -p sim -- scenarios/{name}.toml --seed {}", self.summary.render(), self.seed)
    }

    pub(crate) fn events(&self, event: Event) -> impl Iterator<Item = &EventRow> {
        self.records.events.iter().filter(move |row| row.event == event)
    }

    /// Returns the events of a kind that concern `server`.
    pub(crate) fn events_on<'a>(&'a self, event: Event, server: &'a str) -> impl Iterator<Item = &'a EventRow> {
        self.events(event).filter(move |row| row.target.as_deref() == Some(server))
    }

    /// Returns the times at which `server` finished a piece of work.
    pub(crate) fn finished_by<'a>(&'a self, server: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.events(Event::Finished).filter(move |row| row.source == server).map(|row| row.at_us)
    }

    pub(crate) fn attempts_on<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a AttemptRow> {
        self.records.attempts.iter().filter(move |row| row.server == server)
    }

    /// Returns the attempts that `server` answered with OK.
    pub(crate) fn answered_by<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a AttemptRow> {
        self.attempts_on(server).filter(|row| row.status == Code::Ok)
    }

    pub(crate) fn attempts_of(&self, request: &RequestRow) -> &[AttemptRow] {
        let rows = &self.records.attempts;
        let first = rows.partition_point(|row| row.request < request.id);
        &rows[first..rows.partition_point(|row| row.request <= request.id)]
    }

    /// Returns the times at which a fault began and was lifted, or the end of the run if it was not.
    pub(crate) fn fault(&self, index: usize) -> (u64, u64) {
        let fault = &self.summary.faults[index];
        (fault.start_us, fault.lifted_us.unwrap_or(self.summary.end_us))
    }

    /// Returns the requests that were intended from `from` to just before `to`.
    pub(crate) fn intended(&self, from: u64, to: u64) -> impl Iterator<Item = &RequestRow> {
        self.records.requests.iter().filter(move |row| (from..to).contains(&row.intended_us))
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.records.requests.iter().all(|row| row.status.is_success())
    }
}

/// Converts a duration into the unit of the rows.
pub(crate) fn us(duration: Duration) -> u64 {
    duration.as_micros().try_into().expect("scenarios last less than half a million years")
}
