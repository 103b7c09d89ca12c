//! `real fidelity`: plays scenarios in both worlds, several times each, for `reports fidelity` to compare.
//!
//! Simulated and real runs take turns, and so do the scenarios: a change of the host during the campaign affects all of
//! them alike. The calibration is copied at the start and does not change after that. A campaign that was interrupted
//! continues where it stopped: finished runs of the same scenario and calibration are kept.
//!
//! | module | contents |
//! | --- | --- |
//! | `calibrating` | the calibration of a campaign, measured among its real runs |
//! | `campaign` | the folder: runs to play, and finished runs |
//! | [`draw`] | scenarios that are drawn at random, for a campaign |
//! | `mechanism` | calibrations without one of their mechanisms |
//! | `runner` | plays one run in one world |

mod calibrating;
mod campaign;
pub mod draw;
mod mechanism;
mod runner;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kernel::{
    cli::{
        Exit, Failure, complain, print, program,
        progress::{self, ProgressBar},
        quoted,
    },
    run_folder::campaign::WORLDS,
    visible::Visible,
};

use crate::{calibrate::DEFAULT_PLACE, facts, option::rate};
use campaign::{Campaign, CampaignRun};
use mechanism::Choice;
use runner::Runner;

/// Options of `real fidelity`.
#[derive(Debug, Clone, Args)]
pub struct FidelityArgs {
    /// The scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,

    /// The number of runs of each scenario in each world, with the seeds from 0; at least two, to compare real runs with each
    /// other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000))]
    runs: u64,

    /// The calibration of the simulated runs, as `real calibrate` writes it.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PLACE)]
    calibration: PathBuf,

    /// Measures the calibration in four rounds among the real runs, and simulates after the last of them: if the host becomes slower or faster
    /// meanwhile, both are affected alike.
    #[arg(long, conflicts_with = "calibration")]
    calibrate: bool,

    /// The folder to write the runs to. Runs that it has already are kept.
    #[arg(long, value_name = "DIR", default_value = "runs/fidelity")]
    out: PathBuf,

    /// Overrides a setting of every scenario, such as load.rate=20; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// Plays each scenario at each of these rates instead of its own, to find the rate at which its goodput stops growing.
    #[arg(long, value_name = "PER_SECOND,…", value_delimiter = ',', value_parser = rate)]
    rates: Vec<f64>,

    /// Simulates each scenario also without these mechanisms of the calibration, one at a time, and the report says what each
    /// explains: machine, coldness, sharing, contention, pauses, follow-up, timers, sizes, connection, exit, or all that the calibration has.
    #[arg(long, value_name = "MECHANISM,…", value_delimiter = ',', value_parser = Choice::parse)]
    leave_out: Vec<Choice>,
}

/// Plays the runs that are not finished yet, and prints how many there were.
pub fn run(args: &FidelityArgs) -> Result<Exit, Failure> {
    let mut campaign = Campaign::open(args)?;
    if !facts::is_optimized() {
        complain(
            "warning: this program was built without optimization, so that real runs take several times as long as those of a release build; \
             build it with `cargo build --release`, or compare it with a calibration of this build only",
        );
    }
    let runner = Runner::find(&campaign)?;
    if args.calibrate {
        if campaign.calibration().is_none() {
            calibrating::measure(campaign, &runner)?;
            campaign = Campaign::open(args)?;
        }
    } else {
        // Before `begin` writes the calibration: a campaign cannot change it later.
        runner.try_calibration(Some(&args.calibration), campaign.scenarios())?;
    }
    campaign.begin()?;
    let due: Vec<_> =
        campaign.runs().map(|run| Ok((campaign.is_finished(&run)?, run))).collect::<Result<_, Failure>>()?;
    let bar = progress_bar(due.iter().map(|(_, run)| run.takes()).sum());
    progress::advance(&bar, due.iter().filter(|(finished, _)| *finished).map(|(_, run)| run.takes()).sum());
    // The finished runs took no time now, and would make the estimate for the others too short.
    bar.reset_eta();
    let mut played = 0;
    for (_, run) in due.iter().filter(|(finished, _)| !finished) {
        bar.set_message(format!("{} {} seed {}", run.scenario.name, run.kind(), run.seed));
        runner.play(run)?;
        progress::advance(&bar, run.takes());
        played += 1;
    }
    bar.finish_and_clear();
    let all = due.len();
    let kept = all - played;
    let place = campaign.place().visible();
    let reports = program("reports");
    let shown = quoted(&campaign.place().to_string_lossy());
    print(&format!(
        "{all} runs: {} scenarios x {} x {} seeds; {played} played, {kept} kept\n\n  folder       {place}\n  \
         calibration  {}\n  compare      {reports} fidelity {shown}\n",
        campaign.scenarios().len(),
        kinds(campaign.left_out()),
        args.runs,
        campaign.calibration().map_or("", |calibration| &calibration.sha256),
    ));
    match about_untrusted(&campaign.untrusted(), all) {
        None => Ok(Exit::Passed),
        Some(problem) => Err(Failure::run_failed(problem)),
    }
}

/// Returns which of `all` runs are untrusted, and what helps; `None` if every run is trusted.
fn about_untrusted(untrusted: &[CampaignRun<'_>], all: usize) -> Option<String> {
    if untrusted.is_empty() {
        return None;
    }
    let count = untrusted.len();
    let mut problem = format!(
        "{count} of {all} runs are untrusted, as faults or sends were later than [run] max_lateness allows, and `reports fidelity` leaves them out"
    );
    let remedies = [
        ("real", "real", "remove the folders of these runs and repeat the command to play them again"),
        (
            "sim",
            "simulated",
            "by this calibration the machine does not keep up, and the same runs would come again; lower load.rate, or calibrate this build on \
             an idle machine",
        ),
    ];
    for (world, kind, remedy) in remedies {
        let mut runs = untrusted.iter().filter(|run| run.world == world);
        if let Some(first) = runs.next() {
            let count = 1 + runs.count();
            problem += &format!("\n  {count} {kind}, the first in {}: {remedy}", first.place.visible());
        }
    }
    Some(problem)
}

/// Returns how many runs a scenario has with each seed.
fn kinds(left_out: usize) -> String {
    let worlds = WORLDS.len();
    match left_out {
        0 => format!("{worlds} worlds"),
        1 => format!("({worlds} worlds and 1 mechanism left out)"),
        several => format!("({worlds} worlds and {several} mechanisms left out)"),
    }
}

/// Returns a progress bar for this time of all runs.
fn progress_bar(time: Duration) -> ProgressBar {
    let bar = progress::time_bar(time, "{bar:40} {percent} %, {eta} left: {msg}");
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
