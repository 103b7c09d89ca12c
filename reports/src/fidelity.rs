//! The fidelity of the simulation: its distance from the real world, compared with the distances within the real world.
//!
//! Whole runs are the unit: the requests of a run share its scheduling, its caches and its neighbours, so that a thousand
//! of them are not a thousand observations. A distance is between two runs. The distances between real runs are the *noise
//! floor* (A/A). The simulation is as good as can be measured when its runs are no further from real runs than that. Runs
//! of one seed have the same arrivals and inputs, so only runs of different seeds are compared, in either kind of pair.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `campaign` | the folder that `real fidelity` writes |
//! | `measure` | the measures, and the distance of two runs in each |
//! | `cell` | one measure of one phase: distances, ratio, test, verdict |
//! | `permutation` | the test of whether the worlds differ at all |
//! | `goal` | the errors that are small enough |
//! | `relevance` | the differences that are too small to matter |
//! | `summary` | the cells of all scenarios, measure by measure |
//! | `onset` | the rate at which goodput no longer follows the load |
//! | `json` | `fidelity.json` |

mod campaign;
mod cell;
mod goal;
mod json;
mod measure;
mod onset;
pub mod permutation;
mod relevance;
mod summary;

use std::{path::Path, time::Duration};

use kernel::run_folder::campaign::CampaignManifest;

use self::campaign::PartRuns;
pub use self::{
    campaign::{Campaign, CampaignError},
    cell::{Cell, PairDistances, Verdict},
    goal::{Goal, GoalBounds},
    measure::{Measure, TAIL_CALLS_MIN},
    onset::{Onset, RatePoint},
    summary::MeasureSummary,
};
use crate::compare::{ComparisonSide, Member, ScenarioComparison, WHOLE};

/// The greatest utilisation of workers up to which predictions are promised. Beyond it requests queue, and a queue magnifies
/// every error in the service times.
pub const TRUSTED_UTILISATION: f64 = 0.5;

/// The analysis of a campaign.
#[derive(Debug)]
pub struct Fidelity {
    /// The manifest of the campaign.
    pub manifest: CampaignManifest,
    /// The scenarios, in the order of the manifest.
    pub scenarios: Vec<ScenarioFidelity>,
    /// The onsets of the scenarios that were run at several rates.
    pub onsets: Vec<Onset>,
    /// Notes on data that are missing, inconsistent, or beyond what is promised, each a sentence.
    pub notes: Vec<String>,
}

/// The analysis of one scenario of a campaign.
#[derive(Debug)]
pub struct ScenarioFidelity {
    /// The name of the scenario.
    pub name: String,
    /// The number of real runs, and of simulated ones.
    pub runs: [usize; 2],
    /// The share of the run for which the workers of the busiest server were busy: the median over the real runs.
    pub utilisation: Option<f64>,
    /// The cells, by phase in order of time, then by measure.
    pub cells: Vec<Cell>,
    /// The number of p99 that are not among the cells, as their phases have fewer than [`TAIL_CALLS_MIN`] calls.
    pub sparse: usize,
    /// The runs of both worlds, for plots.
    pub sides: ScenarioComparison,
}

impl Fidelity {
    /// Analyses `campaign`.
    pub fn from_campaign(campaign: Campaign) -> Self {
        let Campaign { manifest, parts, mut notes } = campaign;
        let mut scenarios = Vec::new();
        let mut points = Vec::new();
        for part in parts {
            let utilisation = part.utilisation();
            if let Some(share) = utilisation.filter(|share| *share > TRUSTED_UTILISATION) {
                notes.push(format!(
                    "{}: the busiest server's workers were busy {:.0} % of the time; predictions are promised up to {:.0} %",
                    part.name,
                    share * 100.0,
                    TRUSTED_UTILISATION * 100.0
                ));
            }
            let PartRuns { name, variant, real, sim, .. } = part;
            if let Some(variant) = &variant {
                points.push((variant.clone(), RatePoint::from_runs(variant.rate, &real, &sim)));
            }
            scenarios.push(ScenarioFidelity::compare(name, utilisation, real, sim));
        }
        Self { manifest, scenarios, onsets: onset::onsets(&points), notes }
    }

    /// Returns the number of cells that are left out, as [`ScenarioFidelity::sparse`] counts them.
    pub fn sparse(&self) -> usize {
        self.scenarios.iter().map(|scenario| scenario.sparse).sum()
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
        let all = cells.len();
        cells.retain(|cell| cell.measure.has_enough_calls(&cell.phase, &real, &sim));
        let sparse = all - cells.len();
        let runs = [real.len(), sim.len()];
        let sides = vec![
            ComparisonSide { name: format!("real x{}", real.len()), members: real },
            ComparisonSide { name: format!("sim x{}", sim.len()), members: sim },
        ];
        let sides = ScenarioComparison { scenario: name.clone(), sides, pairs: Vec::new() };
        Self { name, runs, utilisation, cells, sparse, sides }
    }

    /// Returns the phases of its cells, in their order.
    pub fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = self.cells.iter().map(|cell| cell.phase.as_str()).collect();
        phases.dedup();
        phases
    }
}

/// Returns the phases of the run with most of them, then the whole run. A run without faults has one phase, which is the
/// whole run.
fn phases(members: &[Member]) -> Vec<String> {
    let longest = members.iter().max_by_key(|member| member.summary.phases.len());
    let names: Vec<String> = longest
        .map(|member| member.summary.phases.iter().map(|phase| phase.phase.clone()).collect())
        .unwrap_or_default();
    // Without faults the only phase equals the whole run, and would be counted twice.
    let faults = names.len() > 1;
    names.into_iter().filter(|_| faults).chain([WHOLE.to_owned()]).collect()
}

/// Reads the campaign at `place`, with plots in windows of `window`.
///
/// # Errors
/// There is no campaign, it has too few runs to compare, or a run has too many windows.
pub fn read(place: &Path, window: Duration) -> Result<Campaign, CampaignError> {
    Campaign::read(place, window)
}
