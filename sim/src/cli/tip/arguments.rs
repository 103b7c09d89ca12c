//! Options of a threshold search.

use std::path::PathBuf;

use clap::Args;
use kernel::{
    cli::Failure,
    experiment::threshold::{Criterion, RangeError, SettingRange},
    scenario::Scenario,
    visible::Visible,
};

use crate::cli::options::{Conditions, Jobs};

/// The most runs of one value.
const RUNS_MAX: u64 = 10_000;

/// The most values that are tested before the search begins, of both settings together.
const SAMPLES_MAX: u64 = 100_000;

/// Options of the search for boundaries.
#[derive(Debug, Args)]
pub(crate) struct TipArgs {
    /// The scenario file.
    pub(super) scenario: PathBuf,

    /// The setting to vary, and its lowest and highest value. Times have a unit, and whole numbers stay whole.
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    pub(super) along: SettingRange,

    /// A second setting: the boundaries are searched for with each of several values of it.
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    pub(super) and: Option<SettingRange>,

    /// The number of values of the second setting, both ends included.
    #[arg(long, value_name = "N", default_value_t = 7, requires = "and", value_parser = clap::value_parser!(u64).range(2..=1_000))]
    pub(super) values: u64,

    /// Spaces the values of this setting by equal ratios instead of equal differences; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub(super) log: Vec<String>,

    /// The number of values that are tested first, both ends included. A boundary is searched for between neighbours with
    /// different outcomes.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    pub(super) samples: u64,

    /// Tests whether runs recover from every fault, instead of the scenario's expectations.
    #[arg(long)]
    pub(super) recovery: bool,

    /// The probability that every value is put on the right side, if three of four of its runs agree.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = confidence)]
    pub(super) confidence: f64,

    /// The most runs of one value; if they do not decide, the majority does.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=RUNS_MAX))]
    pub(super) runs: u64,

    /// The seed of the first run of each value; each further run has the next seed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..u64::MAX - RUNS_MAX))]
    pub(super) from_seed: u64,

    #[command(flatten)]
    pub(super) conditions: Conditions,

    #[command(flatten)]
    pub(super) jobs: Jobs,

    /// The folder to write the result to [default: runs/SCENARIO/tip-KEY].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Replaces an earlier search in that folder even if it was changed.
    #[arg(long)]
    pub(super) force: bool,

    /// Prints the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Parses a confidence.
fn confidence(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.5..1.0).contains(share));
    share.ok_or_else(|| "how sure to be is a share from 0.5 to below 1, such as 0.95".to_owned())
}

impl TipArgs {
    /// Returns the criterion by which a run of `base` passes.
    ///
    /// # Errors
    ///
    /// Returns an error if the scenario has nothing that the criterion could be about, so all values would have the same
    /// outcome.
    pub(super) fn criterion(&self, base: &Scenario) -> Result<Criterion, Failure> {
        if !self.recovery {
            if base.expectations.is_empty() {
                let nothing = "the scenario expects nothing; add an [[expect]], or give --recovery";
                return Err(Failure::wrong_input(nothing));
            }
            return Ok(Criterion::Expectations);
        }
        if base.faults.is_empty() && base.nemesis.is_none() {
            let nothing = "the scenario has no fault to recover from; add a [[fault]], or leave out --recovery";
            return Err(Failure::wrong_input(nothing));
        }
        Ok(Criterion::Recovery)
    }

    /// Returns the ranges of the first and the second setting, spaced by ratio where `--log` names them.
    ///
    /// # Errors
    ///
    /// Returns an error if both are of the same setting, or `--log` names another one or one that cannot be spaced by ratio.
    pub(super) fn ranges(&self) -> Result<(SettingRange, Option<SettingRange>), Failure> {
        let key = &self.along.key;
        if self.and.as_ref().is_some_and(|and| and.key == *key) {
            return Err(Failure::wrong_input(format!(
                "`{}` is behind both --along and --and; leave one out",
                key.visible()
            )));
        }
        if let Some(unknown) = self.log.iter().find(|log| !self.is_varied(log)) {
            let message = format!(
                "--log {} is of neither --along nor --and; write `--log {}`, or leave it out",
                unknown.visible(),
                key.visible()
            );
            return Err(Failure::wrong_input(message));
        }
        if self.and.is_some() && self.values * self.samples > SAMPLES_MAX {
            let message = format!(
                "--values {} times --samples {} are more than {SAMPLES_MAX} values to test; lower one of the two",
                self.values, self.samples
            );
            return Err(Failure::wrong_input(message));
        }
        let and = self.and.as_ref().map(|and| self.spaced(and)).transpose().map_err(Failure::wrong_input)?;
        Ok((self.spaced(&self.along).map_err(Failure::wrong_input)?, and))
    }

    fn is_varied(&self, key: &str) -> bool {
        self.along.key == key || self.and.as_ref().is_some_and(|and| and.key == key)
    }

    fn spaced(&self, range: &SettingRange) -> Result<SettingRange, RangeError> {
        if self.log.contains(&range.key) { range.clone().logarithmic() } else { Ok(range.clone()) }
    }
}
