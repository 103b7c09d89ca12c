//! Plays one run in one world.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kernel::{
    app::App,
    cli::{Exit, Failure, sibling, without_variables},
    run_folder::{Earlier, RunFolder, RunInfo},
    visible::Visible,
};

use super::campaign::{Campaign, CampaignInput, CampaignRun};
use crate::{
    facts,
    live::View,
    rehearsal::{Plan, play},
};

/// Plays the runs of a campaign.
pub(super) struct Runner {
    /// The simulation's program.
    sim: PathBuf,
    /// The folder of the campaign, with its copies of the calibration, so that all runs use the same one.
    campaign: PathBuf,
}

impl Runner {
    /// Finds the simulation's program, which cargo builds into the same folder as this one. Fails if it is missing.
    pub(super) fn find(campaign: &Campaign) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(Failure::run_failed)?;
        let sim = sibling(&program, "real", "sim");
        if !sim.is_file() {
            let release = if cfg!(debug_assertions) { "" } else { " --release" };
            let what = if App::of_program().is_none() { "-p sim" } else { "--bins" };
            let sim = sim.visible();
            return Err(Failure::run_failed(format!("{sim} is missing; build it: cargo build{release} {what}")));
        }
        Ok(Self { sim, campaign: campaign.place().to_owned() })
    }

    /// Plays `run` and writes its folder.
    pub(super) fn play(&self, run: &CampaignRun<'_>) -> Result<(), Failure> {
        if run.world == "real" {
            return run_real(run);
        }
        self.simulate(run.origin, run.seed, Some(&self.campaign.join(run.calibration())), &run.place)
    }

    /// Simulates the first of `scenarios` with `calibration`, or with the built-in one, and discards the result: an error in either should be
    /// found before any time is spent on real runs.
    pub(super) fn try_calibration(
        &self,
        calibration: Option<&Path>,
        scenarios: &[CampaignInput],
    ) -> Result<(), Failure> {
        let place = tempfile::tempdir().map_err(Failure::run_failed)?;
        let Some(scenario) = scenarios.first() else { return Ok(()) };
        self.simulate(scenario, 0, calibration, &place.path().join("run"))
    }

    fn simulate(
        &self,
        scenario: &CampaignInput,
        seed: u64,
        calibration: Option<&Path>,
        place: &Path,
    ) -> Result<(), Failure> {
        let mut command = Command::new(&self.sim);
        without_variables(&mut command);
        command.arg(&scenario.file).args(["--seed", &seed.to_string()]);
        command.args(calibration.iter().flat_map(|file| [OsStr::new("--calibration"), file.as_os_str()]));
        command.arg("--out").arg(place);
        command.args(scenario.overrides.iter().flat_map(|setting| ["--set", setting]));
        let ended = command.stdin(Stdio::null()).output();
        let ended = ended.map_err(|error| Failure::run_failed(format!("{}: {error}", self.sim.visible())))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.trim().strip_prefix("error: ").unwrap_or(said.trim());
        // Exit code 1 means that an expectation of the scenario failed. A campaign only compares the worlds.
        match ended.status.code() {
            // Exit code 3 with a folder means that the run is untrusted, which the campaign counts when it ends.
            Some(0 | 1 | 3) if place.join("run.json").is_file() => Ok(()),
            Some(2) => Err(Failure { exit: Exit::WrongInput, message: format!("the simulation: {said}") }),
            _ => Err(Failure::run_failed(format!("the simulation ended with {}: {said}", ended.status))),
        }
    }
}

fn run_real(run: &CampaignRun<'_>) -> Result<(), Failure> {
    let mut folder = RunFolder::prepare(&run.place, Earlier::Replace).map_err(Failure::wrong_input)?;
    let logs = folder.logs().map_err(Failure::wrong_input)?;
    let mut info = RunInfo::new(run.world, run.seed);
    info.host = Some(facts::host());
    info.started = Some(facts::now());
    let plan = Plan {
        scenario: run.scenario.clone(),
        seed: run.seed,
        branches: Vec::new(),
        logs,
        view: View::Nothing,
        measures_computing: false,
        detect: None,
        allow_remote: false,
    };
    let played = play(&plan, &mut folder, &info).map_err(|error| {
        let failure = error.into_failure(folder.remains());
        Failure { message: format!("{}: {}", run.place.visible(), failure.message), ..failure }
    })?;
    if played.interrupted {
        // Without a folder the next call plays the run again.
        folder.interrupt("a signal asked the campaign to end");
        return Err(Failure::run_failed("interrupted; the same command continues where it stopped"));
    }
    folder.conclude(run.scenario, &info, played.end).map_err(Failure::run_failed)?;
    Ok(())
}
