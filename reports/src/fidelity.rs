//! How far the simulation is from the real world, measured by how far the real world is from itself.
//!
//! Whole runs are the unit: the requests of a run have its scheduling, its caches and its neighbours in common, so that
//! a thousand of them are not a thousand observations. A distance is between two runs. Those between real runs are the
//! *noise floor* (A/A), and the simulation is as good as it can be seen to be when its runs are no further from real
//! ones than that. Runs of one seed have the same arrivals and inputs, so only runs of different seeds are held against
//! each other, in either kind of pair.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `campaign` | the folder that `real fidelity` writes |
//! | `measure` | what is compared, and the distance of two runs in it |
//! | `cell` | one measure of one phase: distances, ratio, test, verdict |
//! | `permutation` | whether the worlds can be told apart at all |
//! | `goal` | how close is close enough |
//! | `onset` | the rate at which goodput stops following |
//! | `json` | `fidelity.json` |

mod campaign;
mod cell;
mod goal;
mod json;
mod measure;
mod onset;
pub mod permutation;

use std::{path::Path, time::Duration};

use kernel::run_folder::campaign::CampaignManifest;
use polars::error::PolarsResult;

pub use self::{
    campaign::{Campaign, CampaignError},
    cell::{Cell, PairDistances, Verdict},
    goal::Goal,
    measure::Measure,
    onset::{Onset, RatePoint},
};
use crate::compare::{ComparisonSide, Member, ScenarioComparison, WHOLE};

/// Workers that are busy for more than this share of the time queue what comes, and a queue enlarges every error in the
/// service times: beyond it nothing is promised.
pub const TRUSTED_UTILISATION: f64 = 0.5;

/// A campaign, worked out.
#[derive(Debug, Clone)]
pub struct Fidelity {
    pub manifest: CampaignManifest,
    pub scenarios: Vec<ScenarioFidelity>,
    /// Of scenarios that were played at several rates.
    pub onsets: Vec<Onset>,
    /// What is missing, odd, or beyond what is promised.
    pub notes: Vec<String>,
}

/// One scenario of it.
#[derive(Debug, Clone)]
pub struct ScenarioFidelity {
    pub name: String,
    /// Real runs, then simulated ones.
    pub runs: [usize; 2],
    /// The share of the real run that the workers of the busiest server were busy, at the median.
    pub utilisation: Option<f64>,
    /// By phase, in order of time, then by measure.
    pub cells: Vec<Cell>,
    /// Both sides, for plots.
    pub sides: ScenarioComparison,
}

/// How many cells there are, and how many of them are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FidelityTally {
    /// That have a ratio.
    pub cells: usize,
    /// At most the noise floor.
    pub within: usize,
    /// At most twice the noise floor.
    pub close: usize,
}

impl Fidelity {
    /// Works out `campaign`, with plots in windows of `window`.
    ///
    /// # Errors
    /// Polars' own.
    pub fn from_campaign(campaign: Campaign, window: Duration) -> PolarsResult<Self> {
        let Campaign { manifest, parts, mut notes } = campaign;
        let (mut scenarios, mut points) = (Vec::new(), Vec::new());
        for part in parts {
            let utilisation = part.utilisation();
            if utilisation.is_some_and(|share| share > TRUSTED_UTILISATION) {
                let (name, percent) = (&part.name, utilisation.unwrap_or_default() * 100.0);
                notes.push(format!(
                    "{name}: the busiest server's workers were busy {percent:.0} % of the time; predictions are promised \
                     up to {:.0} %",
                    TRUSTED_UTILISATION * 100.0
                ));
            }
            let [real, sim] = part.members(window)?;
            if let Some(variant) = &part.variant {
                points.push((variant.clone(), RatePoint::from_runs(variant.rate, &real, &sim)));
            }
            scenarios.push(ScenarioFidelity::compare(part.name, utilisation, real, sim));
        }
        Ok(Self { manifest, scenarios, onsets: onset::onsets(&points), notes })
    }

    /// Over all scenarios.
    pub fn tally(&self) -> FidelityTally {
        let ratios = self.scenarios.iter().flat_map(|scenario| &scenario.cells).filter_map(|cell| cell.verdict);
        ratios.fold(FidelityTally::default(), |tally, verdict| FidelityTally {
            cells: tally.cells + 1,
            within: tally.within + usize::from(verdict == Verdict::Within),
            close: tally.close + usize::from(verdict != Verdict::Apart),
        })
    }

    /// Cells that have a goal, and how many of them reach it and the higher one beyond it.
    pub fn goals(&self) -> [usize; 3] {
        let goals = self.scenarios.iter().flat_map(|scenario| &scenario.cells).filter_map(|cell| cell.goal);
        goals.fold([0; 3], |[all, reached, beyond], goal| {
            [all + 1, reached + usize::from(goal != Goal::Missed), beyond + usize::from(goal == Goal::Beyond)]
        })
    }
}

impl ScenarioFidelity {
    fn compare(name: String, utilisation: Option<f64>, real: Vec<Member>, sim: Vec<Member>) -> Self {
        let phases = phases(&real);
        let mut cells = Vec::new();
        for phase in &phases {
            let measures = Measure::ALL.into_iter().filter(|measure| measure.applies_to(phase));
            cells.extend(measures.filter_map(|measure| Cell::compare(measure, phase, &real, &sim)));
        }
        let side =
            |world: &str, members: Vec<Member>| ComparisonSide { name: format!("{world} x{}", members.len()), members };
        let runs = [real.len(), sim.len()];
        let sides = vec![side("real", real), side("sim", sim)];
        let sides = ScenarioComparison { scenario: name.clone(), sides, pairs: Vec::new() };
        Self { name, runs, utilisation, cells, sides }
    }

    /// The phases of its cells, in their order.
    pub fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = self.cells.iter().map(|cell| cell.phase.as_str()).collect();
        phases.dedup();
        phases
    }
}

/// Those of any run, in the order of the first that has them, and the whole run. A run without faults has one phase, which
/// is the whole run.
fn phases(members: &[Member]) -> Vec<String> {
    let longest = members.iter().max_by_key(|member| member.summary.phases.len());
    let names: Vec<String> = longest
        .map(|member| member.summary.phases.iter().map(|phase| phase.phase.clone()).collect())
        .unwrap_or_default();
    let faults = names.len() > 1;
    names.into_iter().filter(|_| faults).chain([WHOLE.to_owned()]).collect()
}

/// Reads and works out the campaign at `place`.
///
/// # Errors
/// It is no campaign, or has too little to compare.
pub fn read(place: &Path) -> Result<Campaign, CampaignError> {
    Campaign::read(place)
}
