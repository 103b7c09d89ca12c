//! A run from its options to its report.

use std::{path::PathBuf, time::Duration};

use super::{Exit, Failure, RunArgs, RunReport};
use crate::{
    invariant::{self, Evidence},
    record::Records,
    run_folder::{RunFolder, RunInfo, Written},
    scenario::Scenario,
};

/// A run from its options to its report: the validated scenario, and the place for its folder.
#[derive(Debug)]
pub struct Session<'a> {
    args: &'a RunArgs,
    /// The scenario to run, with nothing left to draw.
    pub scenario: Scenario,
    /// The folder that the run will be written to.
    pub folder: RunFolder,
    place: PathBuf,
}

impl<'a> Session<'a> {
    /// Reads the scenario, draws what it leaves to the seed, and prepares the folder of a run in `world`.
    ///
    /// # Errors
    /// The scenario is not valid, or the folder cannot be written. Both are found before the run starts.
    pub fn open(args: &'a RunArgs, world: &'static str) -> Result<Self, Failure> {
        let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
        for warning in scenario.warnings() {
            eprintln!("warning: {warning}");
        }
        let explicit = scenario.explicit(args.seed);
        // The faults that the seed draws come behind those of the file.
        let drawn = &explicit.faults[scenario.faults.len()..];
        if !drawn.is_empty() {
            eprintln!("note: seed {} draws these faults; the run folder's scenario.toml has them, too", args.seed);
            drawn.iter().for_each(|fault| eprintln!("  {fault}"));
        }
        let place = args.out.clone().unwrap_or_else(|| RunFolder::default_place(&explicit.name, world, args.seed));
        // Prepared before the run, so that a run is not lost to a place that cannot be written.
        let folder = RunFolder::prepare(&place).map_err(Failure::wrong_input)?;
        Ok(Self { args, scenario: explicit, folder, place })
    }

    /// Measures `records`, which were recorded while load was offered for `duration`, writes the run folder, checks the
    /// invariants and prints the report.
    ///
    /// `late` is by how much timers were late at most, in virtual time; real time gives no such bound. `replay` is the
    /// command that repeats the run.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn conclude(
        self,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
        late: Option<Duration>,
        replay: String,
    ) -> Result<Exit, Failure> {
        let written = self.folder.write(&self.scenario, info, records, duration);
        let Written { summary, digest } = written.map_err(Failure::run_failed)?;
        let evidence = Evidence { scenario: &self.scenario, seed: self.args.seed, duration, late, rows: records };
        let violations = invariant::check(&evidence);
        let report = RunReport {
            folder: &self.place,
            // Where the same seed does not give the same bytes, a digest would mean nothing.
            digest: late.is_some().then_some(&*digest),
            replay,
            violations: &violations,
            summary: &summary,
        };
        Ok(report.print(self.args.json))
    }
}
