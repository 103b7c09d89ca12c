//! Plays scenarios in this process and asks what was recorded.

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

/// More than any segment takes over the bare link: what was sent just before a fault has arrived by then.
pub(crate) const LINK: u64 = MS;

/// A scenario played with a seed.
pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) records: Records,
    pub(crate) summary: Summary,
}

/// Every file of the folder for scenarios.
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

/// The scenario of the file called `name`.
pub(crate) fn scenario(name: &str) -> Scenario {
    load(&folder().join(name).with_extension("toml"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

pub(crate) fn play(scenario: Scenario, seed: u64) -> Story {
    let plan = Plan { scenario, seed, calibration: Default::default() };
    let played = sim::run(&plan, &AtomicU64::new(0));
    let records = played.unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", plan.scenario.name)).records;
    let scenario = plan.scenario;
    let run = RunRows::new(scenario.servers.replicas, scenario.duration, &records);
    let label = RunLabel { scenario: &scenario.name, seed, world: "sim" };
    let summary = Summary::compute(label, &run, &scenario.expectations);
    Story { scenario, seed, records, summary }
}

/// Checks every scenario file with each of `seeds`, on a few threads.
pub(crate) fn for_every_story(seeds: &[u64], check: impl Fn(&Story) + Sync) {
    let files = files();
    let plans = Mutex::new(files.iter().flat_map(|file| seeds.iter().map(move |seed| (file, *seed))));
    let next = || plans.lock().expect("taking the next one does not panic").next();
    let play_on = || iter::from_fn(next).for_each(|(file, seed)| check(&play(load(file), seed)));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play_on);
        }
    });
}

impl Story {
    /// What a failed assertion should show.
    pub(crate) fn account(&self) -> String {
        let name = &self.scenario.name;
        format!("{}\nreplay: cargo run -p sim -- scenarios/{name}.toml --seed {}", self.summary.render(), self.seed)
    }

    pub(crate) fn events(&self, event: Event) -> impl Iterator<Item = &EventRow> {
        self.records.events.iter().filter(move |row| row.event == event)
    }

    /// The events of a kind that concern `server`.
    pub(crate) fn events_on<'a>(&'a self, event: Event, server: &'a str) -> impl Iterator<Item = &'a EventRow> {
        self.events(event).filter(move |row| row.target.as_deref() == Some(server))
    }

    /// When `server` finished something.
    pub(crate) fn finished_by<'a>(&'a self, server: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.events(Event::Finished).filter(move |row| row.source == server).map(|row| row.at_us)
    }

    pub(crate) fn attempts_on<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a AttemptRow> {
        self.records.attempts.iter().filter(move |row| row.server == server)
    }

    /// The attempts that `server` answered OK.
    pub(crate) fn answered_by<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a AttemptRow> {
        self.attempts_on(server).filter(|row| row.status == Code::Ok)
    }

    pub(crate) fn attempts_of(&self, request: &RequestRow) -> &[AttemptRow] {
        let rows = &self.records.attempts;
        let first = rows.partition_point(|row| row.request < request.id);
        &rows[first..rows.partition_point(|row| row.request <= request.id)]
    }

    /// From when to when a fault lasted; to the end of the run if it was never lifted.
    pub(crate) fn fault(&self, index: usize) -> (u64, u64) {
        let fault = &self.summary.faults[index];
        (fault.start_us, fault.lifted_us.unwrap_or(self.summary.end_us))
    }

    /// Those intended from `from` to just before `to`.
    pub(crate) fn intended(&self, from: u64, to: u64) -> impl Iterator<Item = &RequestRow> {
        self.records.requests.iter().filter(move |row| (from..to).contains(&row.intended_us))
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.records.requests.iter().all(|row| row.status.is_success())
    }
}

/// In the unit of the rows.
pub(crate) fn us(duration: Duration) -> u64 {
    duration.as_micros().try_into().expect("scenarios last less than half a million years")
}
