//! What the commands of both worlds have in common: options, exit codes, and the account at the end of a run.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use crate::{
    invariant::{self, Broken, Evidence},
    measure::Summary,
    record::Records,
    run_folder::{RunFolder, RunInfo, Written},
    scenario::Scenario,
};

/// Broken invariants that an account names.
const BROKEN_TOLD_MAX: usize = 10;

/// Options of a run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The scenario file
    pub scenario: PathBuf,

    /// Decides everything that is drawn: arrivals, inputs, delays, jitter
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,

    /// Where to put the run folder [default: runs/SCENARIO/WORLD-seedN]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// Prints the summary as JSON
    #[arg(long)]
    pub json: bool,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

/// How a command ended, as its exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every expectation holds.
    Passed = 0,
    /// An expectation does not hold.
    Failed = 1,
    /// The command line, the scenario or the place for the run folder is wrong.
    WrongInput = 2,
    /// The run could not be carried out.
    NotCarriedOut = 3,
    /// An invariant does not hold: a bug of this project, not of the scenario.
    InvariantBroken = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended without an account.
#[derive(Debug)]
pub struct Failure {
    /// What it ends with.
    pub exit: Exit,
    /// What was wrong, and what would be right.
    pub message: String,
}

impl Failure {
    /// The user asked for something that cannot be.
    pub fn wrong_input(error: impl ToString) -> Self {
        Self { exit: Exit::WrongInput, message: error.to_string() }
    }

    /// What the user asked for did not work out.
    pub fn not_carried_out(error: impl ToString) -> Self {
        Self { exit: Exit::NotCarriedOut, message: error.to_string() }
    }
}

/// A run from the command line to its account: the scenario, read and checked, and the place for its folder.
#[derive(Debug)]
pub struct Session<'a> {
    args: &'a RunArgs,
    /// What to play, with nothing left to draw.
    pub scenario: Scenario,
    /// Where what it leaves goes.
    pub folder: RunFolder,
    place: PathBuf,
}

impl<'a> Session<'a> {
    /// Reads the scenario, draws what it leaves to the seed, and prepares the run folder of a run in `world`: whatever is
    /// wrong with them is said before anything is played.
    pub fn open(args: &'a RunArgs, world: &'static str) -> Result<Self, Failure> {
        let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
        for warning in scenario.warnings() {
            eprintln!("warning: {warning}");
        }
        let explicit = scenario.explicit(args.seed);
        let drawn = &explicit.faults[scenario.faults.len()..];
        if !drawn.is_empty() {
            eprintln!("note: seed {} draws these faults; the run folder's scenario.toml has them, too", args.seed);
            drawn.iter().for_each(|fault| eprintln!("  {fault}"));
        }
        let scenario = explicit;
        let default = || RunFolder::default_place(&scenario.name, world, args.seed);
        let place = args.out.clone().unwrap_or_else(default);
        let folder = RunFolder::prepare(&place).map_err(Failure::wrong_input)?;
        Ok(Self { args, scenario, folder, place })
    }

    /// Measures what was recorded while load was offered for `duration`, writes the run folder and prints the account.
    /// Timers were `late` at most by that, in virtual time. `replay` is the command that plays the run again.
    pub fn conclude(
        self,
        info: &RunInfo,
        records: &Records,
        duration: Duration,
        late: Option<Duration>,
        replay: String,
    ) -> Result<Exit, Failure> {
        let written = self.folder.write(&self.scenario, info, records, duration);
        let Written { summary, digest } = written.map_err(Failure::not_carried_out)?;
        // Where the same seed does not give the same bytes, a digest would say nothing.
        let digest = late.is_some().then_some(&*digest);
        let (scenario, seed) = (&self.scenario, self.args.seed);
        let broken = invariant::check(&Evidence { scenario, seed, duration, late, records });
        let account = Account { folder: &self.place, digest, replay, broken: &broken, summary: &summary };
        Ok(account.print(self.args.json))
    }
}

/// What is said at the end of a run.
#[derive(Debug, Serialize)]
pub struct Account<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// The digest of its records, from a simulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<&'a str>,
    /// The command that plays this run again.
    pub replay: String,
    /// The invariants that the run breaks, which is a bug of this project; left out if there are none.
    #[serde(rename = "broken_invariants", skip_serializing_if = "<[_]>::is_empty")]
    pub broken: &'a [Broken],
    /// The metrics and the verdict.
    #[serde(flatten)]
    pub summary: &'a Summary,
}

impl Account<'_> {
    /// Prints it, and says with which code to exit.
    pub fn print(&self, json: bool) -> Exit {
        let text = if json {
            serde_json::to_string_pretty(self).expect("plain data is always written") + "\n"
        } else {
            self.text()
        };
        // Whoever reads may have read enough.
        let _ = io::stdout().lock().write_all(text.as_bytes());
        if !self.broken.is_empty() {
            Exit::InvariantBroken
        } else if self.summary.pass {
            Exit::Passed
        } else {
            Exit::Failed
        }
    }

    fn text(&self) -> String {
        let digest = self.digest.map(|digest| format!("  digest  {digest}\n")).unwrap_or_default();
        let broken = self.broken_text();
        let (summary, folder) = (self.summary.render(), self.folder.display());
        format!("{summary}\n  folder  {folder}\n{digest}  replay  {}\n{broken}", self.replay)
    }

    fn broken_text(&self) -> String {
        if self.broken.is_empty() {
            return String::new();
        }
        let seed = self.summary.seed;
        let mut text =
            format!("\n  An invariant is broken (seed {seed}): a bug of this program, not of the scenario.\n");
        for broken in self.broken.iter().take(BROKEN_TOLD_MAX) {
            text += &format!("  ✗ {broken}\n");
        }
        match self.broken.len().saturating_sub(BROKEN_TOLD_MAX) {
            0 => text,
            more => text + &format!("    and {more} more\n"),
        }
    }
}

impl RunArgs {
    /// The command that repeats this run: `command`, these options, and `more` of the command's own.
    pub fn replay(&self, command: &str, more: &[String]) -> String {
        let mut words = vec![self.scenario.display().to_string(), "--seed".to_owned(), self.seed.to_string()];
        if let Some(out) = &self.out {
            words.extend(["--out".to_owned(), out.display().to_string()]);
        }
        for setting in &self.overrides {
            words.extend(["--set".to_owned(), setting.clone()]);
        }
        words.extend_from_slice(more);
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        format!("{command} {}", words.join(" "))
    }
}

/// `word` as a shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./=:,+@%".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_command_survives_a_shell() {
        let args = RunArgs {
            scenario: "my scenarios/it's.toml".into(),
            seed: 7,
            out: None,
            overrides: vec!["workload.sizes=[\"8x8\"]".to_owned(), "load.rate=2".to_owned()],
            json: false,
        };
        assert_eq!(
            args.replay("sim", &[]),
            r#"sim 'my scenarios/it'\''s.toml' --seed 7 --set 'workload.sizes=["8x8"]' --set load.rate=2"#
        );
    }
}
