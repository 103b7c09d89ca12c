//! The calibration of a campaign, measured among its real runs.
//!
//! A virtual machine does not stay the same for an hour: the time that its processors take to wake up changed by a third within ten minutes. A
//! calibration of the minutes before a campaign is one of another machine then. Rounds of the calibration between those of the real runs meet what
//! these meet. No simulated run is played before it is complete, and it knows nothing of the scenarios.

use std::{fs, time::Duration};

use kernel::{
    app::App,
    cli::{Failure, complain, print, progress::advance},
    visible::Visible,
};

use super::{
    campaign::{Campaign, CampaignRun},
    progress_bar,
    runner::Runner,
};
use crate::calibrate::{Calibrating, DEFAULT_SIZES, app_scenario, problem};

/// Folder of the runs of the calibration, which are removed when it is complete.
const FOLDER: &str = "calibration-runs";

/// Plays the real runs that are not finished yet and the rounds of the calibration in turns, and writes the calibration.
pub(super) fn measure(mut campaign: Campaign, runner: &Runner) -> Result<(), Failure> {
    runner.try_calibration(None, campaign.scenarios())?;
    campaign.begin()?;
    let sizes: Result<Vec<_>, _> = DEFAULT_SIZES.split(',').map(str::parse).collect();
    let sizes = sizes.map_err(Failure::wrong_input)?;
    let app = match (App::of_program(), campaign.scenarios().first()) {
        (Some(_), Some(first)) => Some(app_scenario(&first.file, &first.overrides)?),
        _ => None,
    };
    let mut calibrating = Calibrating::begin(&sizes, app.as_ref())?;
    let runs: Vec<CampaignRun<'_>> = campaign.runs().filter(|run| run.world == "real").collect();
    let bar = progress_bar(calibrating.takes() + runs.iter().map(CampaignRun::takes).sum::<Duration>());
    let folder = campaign.place().join(FOLDER);
    for seed in 0..campaign.seeds() {
        for round in rounds_before(seed, campaign.seeds()) {
            bar.set_message(format!("calibration, round {} of {}", round + 1, Calibrating::ROUNDS));
            calibrating.play(round, &folder, |time| advance(&bar, time))?;
        }
        for run in runs.iter().filter(|run| run.seed == seed) {
            if !campaign.is_finished(run)? {
                bar.set_message(format!("{} real seed {seed}", run.scenario.name));
                runner.play(run)?;
            }
            advance(&bar, run.takes());
        }
    }
    let findings = calibrating.end()?;
    bar.finish_and_clear();
    if let Some(problem) = problem(&findings) {
        return Err(Failure::run_failed(format!(
            "{problem}; the real runs are kept. Stop what else runs on this machine, remove {} and repeat the command, to measure the calibration again",
            folder.visible()
        )));
    }
    print(&format!("{}\n", findings.table()));
    campaign.write_calibration(&findings.to_toml())?;
    fs::remove_dir_all(&folder).unwrap_or_else(|error| complain(&format!("warning: {}: {error}", folder.visible())));
    Ok(())
}

/// Returns the rounds of the calibration before the real runs of a seed: they are spread evenly over all seeds.
fn rounds_before(seed: u64, seeds: u64) -> impl Iterator<Item = usize> {
    (0..Calibrating::ROUNDS).filter(move |round| *round as u64 * seeds / Calibrating::ROUNDS as u64 == seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_played_once_and_spread_over_the_seeds() {
        for seeds in [2, 3, 4, 8, 1_000] {
            let rounds: Vec<_> = (0..seeds).flat_map(|seed| rounds_before(seed, seeds)).collect();
            assert_eq!(rounds, [0, 1, 2, 3], "{seeds} seeds");
        }
        let before = |seed| rounds_before(seed, 8).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 4, 6].map(before), [vec![0], vec![], vec![1], vec![2], vec![3]]);
    }
}
