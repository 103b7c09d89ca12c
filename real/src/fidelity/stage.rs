//! One run in one world.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kernel::{
    cli::{Exit, Failure},
    run_folder::{RunFolder, RunInfo, campaign::CALIBRATION},
};

use super::campaign::{Campaign, Run, Story};
use crate::{
    facts,
    live::View,
    rehearsal::{Plan, RehearsalError, play},
};

/// Where runs are played.
pub(super) struct Stage {
    /// The other program of this workspace.
    sim: PathBuf,
    /// Never touched once the campaign has begun.
    calibration: PathBuf,
}

impl Stage {
    /// Finds the simulation, which is built into the same folder as this program.
    pub(super) fn find(campaign: &Campaign) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(Failure::run_failed)?;
        let sim = program.with_file_name("sim");
        if !sim.is_file() {
            let build = if cfg!(debug_assertions) { "cargo build -p sim" } else { "cargo build --release -p sim" };
            return Err(Failure::run_failed(format!("{} is missing; build it: {build}", sim.display())));
        }
        Ok(Self { sim, calibration: campaign.place().join(CALIBRATION) })
    }

    /// Plays `run` and leaves its folder.
    pub(super) fn play(&self, run: &Run<'_>) -> Result<(), Failure> {
        if run.world == "real" {
            return really(run);
        }
        self.simulate(run.story, run.seed, &self.calibration, &run.place)
    }

    /// Plays the first of `stories` by `calibration` and throws it away: whatever is wrong with either, the simulation
    /// says before any time is spent on real runs.
    pub(super) fn try_calibration(&self, calibration: &Path, stories: &[Story]) -> Result<(), Failure> {
        let place = tempfile::tempdir().map_err(Failure::run_failed)?;
        let Some(story) = stories.first() else { return Ok(()) };
        self.simulate(story, 0, calibration, &place.path().join("run"))
    }

    fn simulate(&self, story: &Story, seed: u64, calibration: &Path, place: &Path) -> Result<(), Failure> {
        let mut command = Command::new(&self.sim);
        command.arg(&story.file).args(["--seed", &seed.to_string()]);
        command.arg("--calibration").arg(calibration).arg("--out").arg(place);
        command.args(story.overrides.iter().flat_map(|setting| ["--set", setting]));
        let ended = command.stdin(Stdio::null()).output();
        let ended = ended.map_err(|error| Failure::run_failed(format!("{}: {error}", self.sim.display())))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.trim().strip_prefix("error: ").unwrap_or(said.trim());
        // Whether the run's own expectations hold is not the question.
        match ended.status.code() {
            Some(0 | 1) if place.join("run.json").is_file() => Ok(()),
            Some(2) => Err(Failure { exit: Exit::WrongInput, message: format!("the simulation: {said}") }),
            _ => Err(Failure::run_failed(format!("the simulation ended with {}: {said}", ended.status))),
        }
    }
}

fn really(run: &Run<'_>) -> Result<(), Failure> {
    let folder = RunFolder::prepare(&run.place).map_err(Failure::wrong_input)?;
    let logs = folder.logs().map_err(Failure::wrong_input)?;
    let mut info = RunInfo::new(run.world, run.seed);
    info.host = Some(facts::host());
    info.started = Some(facts::now());
    let plan = Plan { scenario: run.scenario.clone(), seed: run.seed, logs, view: View::Nothing };
    let played = play(&plan).map_err(|error| match error {
        RehearsalError::Pictures(_) => Failure::wrong_input(error),
        error => Failure::run_failed(format!("{}: {error}", run.place.display())),
    })?;
    if played.interrupted {
        // An unfinished run leaves no folder.
        return Err(Failure::run_failed("interrupted; the same command goes on where it stopped"));
    }
    folder.write(run.scenario, &info, &played.records, played.duration).map_err(Failure::run_failed)?;
    Ok(())
}
