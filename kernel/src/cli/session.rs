//! A run from its options to its report.

use std::{path::Path, time::Duration};

use super::{Exit, Failure, RunArgs, RunReport, complain, print, report_page};
use crate::{
    entropy::branch::Branch,
    invariant::{self, Evidence},
    object_folder::destination::Destination,
    record::Records,
    run_folder::{Earlier, FileRows, Placed, RunEnd, RunFolder, RunInfo},
    scenario::Scenario,
    visible::Visible,
};

/// A run from its options to its report: the validated scenario, and the place for its folder.
#[derive(Debug)]
pub struct Session<'a> {
    args: &'a RunArgs,
    /// The scenario to run, with nothing left to draw.
    pub scenario: Scenario,
    /// The times from which everything random is drawn again.
    branches: &'a [Branch],
    /// The folder that the run will be written to.
    pub folder: RunFolder,
    destination: Destination,
}

impl<'a> Session<'a> {
    /// Reads the scenario, draws what it leaves to the seed and these branches, and prepares the folder of a run in `world`. An earlier
    /// run in its place is treated as `earlier` says, unless the options force its replacement.
    ///
    /// # Errors
    /// The scenario is not valid, or the folder cannot be written. Both are found before the run starts.
    pub fn open(
        args: &'a RunArgs,
        branches: &'a [Branch],
        world: &'static str,
        earlier: Earlier,
    ) -> Result<Self, Failure> {
        let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
        for warning in scenario.warnings() {
            complain(&format!("warning: {warning}"));
        }
        let explicit = scenario.explicit_with(args.seed, branches);
        // The faults that the seed draws come behind those of the file.
        let drawn = &explicit.faults[scenario.faults.len()..];
        if !drawn.is_empty() {
            complain(&format!(
                "note: seed {} draws these faults; the run folder's scenario.toml has them, too",
                args.seed
            ));
            let names = scenario.names();
            drawn.iter().for_each(|fault| complain(&format!("  {}", fault.text(&names))));
        }
        let place = args.out.clone();
        let place = place.unwrap_or_else(|| RunFolder::default_place(&explicit.name, world, args.seed));
        let destination = Destination::from_path(place)?;
        // Prepared before the run, so that a run is not lost to a place that cannot be written.
        let earlier = if args.force { Earlier::Force } else { earlier };
        let folder = RunFolder::prepare(destination.place(), earlier).map_err(Failure::wrong_input)?;
        if let Some(kept) = folder.place().kept() {
            complain(&format!(
                "note: {} holds an earlier run; this one goes to {}, and --force would replace the earlier one",
                kept.visible(),
                folder.place().path().visible()
            ));
        }
        Ok(Self { args, scenario: explicit, branches, folder, destination })
    }

    /// Measures `records`, which were recorded while load was offered for `duration`, writes the run folder, checks the
    /// invariants and prints the report.
    ///
    /// `late` is by how much timers were late at most, in virtual time; real time gives no such bound. `replay` is the
    /// command that repeats the run.
    ///
    /// # Errors
    /// The folder cannot be written, or not be uploaded.
    pub fn conclude(
        self,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
        late: Option<Duration>,
        replay: String,
    ) -> Result<Exit, Failure> {
        let asked = self.folder.place().path().to_owned();
        let written = self.folder.write(&self.scenario, info, records, duration).map_err(Failure::run_failed)?;
        let seed = self.args.seed;
        let evidence =
            Evidence { scenario: &self.scenario, seed, branches: self.branches, duration, late, rows: records };
        // What was under way when a run was stopped has no end on record, which no invariant could hold for.
        let violations = if info.stopped.is_some() { Vec::new() } else { invariant::check(&evidence) };
        // Where the same seed does not give the same bytes, as after a stop by the clock, a digest would mean nothing.
        let digest = (late.is_some() && info.stopped.is_none()).then_some(&*written.digest);
        let report = RunReport {
            folder: &written.placed.place,
            digest,
            replay,
            violations: &violations,
            summary: &written.summary,
        };
        warn_of_place(&written.placed, &asked);
        self.args.print(&report, &self.destination)
    }

    /// Completes the folder of a run in real time whose rows were written to it as they came, checks the invariants and
    /// prints the report. `replay` is the command that repeats the run.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be completed, read or uploaded.
    pub fn conclude_recorded(self, info: &RunInfo, end: RunEnd, replay: String) -> Result<Exit, Failure> {
        let asked = self.folder.place().path().to_owned();
        let written = self.folder.conclude(&self.scenario, info, end).map_err(Failure::run_failed)?;
        let place = &written.placed.place;
        let violations = FileRows::read(place, |rows| {
            let seed = self.args.seed;
            invariant::check(&Evidence {
                scenario: &self.scenario,
                seed,
                branches: self.branches,
                duration: end.duration,
                late: None,
                rows,
            })
        });
        let violations = violations.map_err(Failure::run_failed)?;
        let report =
            RunReport { folder: place, digest: None, replay, violations: &violations, summary: &written.summary };
        warn_of_place(&written.placed, &asked);
        self.args.print(&report, &self.destination)
    }
}

impl RunArgs {
    /// Prints the report of a run, writes its page if that is asked for, uploads the folder if its destination is an object store, and returns
    /// the exit code of the run.
    fn print(&self, report: &RunReport<'_>, destination: &Destination) -> Result<Exit, Failure> {
        let exit = report.print(self.json);
        if self.report {
            report_page(report.folder, self.json);
        }
        let stored = destination.deliver(report.folder)?;
        if !self.json {
            print(&stored);
        }
        Ok(exit)
    }
}

/// Reports on standard error where a folder is, if not at the place called `asked`, and files of others that had to stay.
pub fn warn_of_place(placed: &Placed, asked: &Path) {
    let place = placed.place.visible();
    if placed.place != asked {
        let asked = asked.visible();
        complain(&format!("warning: something came into {asked} in the meantime, so the result is in {place}"));
    }
    if let Some(left) = &placed.left {
        let left = left.visible();
        complain(&format!("warning: files of yours could not be moved into {place}, and are in {left}"));
    }
}
