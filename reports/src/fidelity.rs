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
//! | `mechanism` | what each mechanism of the calibration explains |
//! | `stages` | where on its way a request takes longer in one of the worlds |
//! | `clustering` | how slow times come together |
//! | `summary` | the cells of all scenarios, measure by measure |
//! | `onset` | the rate at which goodput no longer follows the load |
//! | `json` | `fidelity.json` |

mod campaign;
mod cell;
mod clustering;
mod goal;
mod json;
mod measure;
mod mechanism;
mod onset;
pub mod permutation;
mod range;
mod relevance;
mod stages;
mod summary;

use std::{path::PathBuf, time::Duration};

use kernel::run_folder::campaign::CampaignManifest;

use self::campaign::PartRuns;
pub(crate) use self::clustering::BETWEEN;
pub use self::{
    campaign::{Campaign, CampaignError},
    cell::{Cell, PairDistances, Verdict},
    clustering::Clustering,
    goal::{Goal, GoalBounds},
    measure::{Measure, TAIL_CALLS_MIN},
    mechanism::{MechanismSummary, OffCell, WithoutMechanism},
    onset::{Onset, RatePoint},
    stages::StageFidelity,
    summary::MeasureSummary,
};
use crate::compare::{ComparisonSide, Member, ScenarioComparison, WHOLE};

/// The greatest utilisation of workers up to which predictions are promised. Beyond it requests queue, and a queue magnifies
/// every error in the service times.
pub const TRUSTED_UTILISATION: f64 = 0.5;

/// The analysis of one campaign, or of several together.
#[derive(Debug)]
pub struct Fidelity {
    /// The campaigns, in the order in which they were read.
    pub campaigns: Vec<CampaignFacts>,
    /// The scenarios, in the order of the campaigns and of their manifests.
    pub scenarios: Vec<ScenarioFidelity>,
    /// The onsets of the scenarios that were run at several rates.
    pub onsets: Vec<Onset>,
    /// Notes on data that are missing, inconsistent, or beyond what is promised, each a sentence.
    pub notes: Vec<String>,
}

/// A campaign of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignFacts {
    /// Its name among the campaigns of the report.
    pub name: String,
    /// The manifest, with its machine and its calibration.
    pub manifest: CampaignManifest,
}

/// The analysis of one scenario of a campaign.
#[derive(Debug)]
pub struct ScenarioFidelity {
    /// The name of the scenario.
    pub name: String,
    /// The name of its campaign.
    pub campaign: String,
    /// The name of the scenario in tables and plots; with that of its campaign, if there are several.
    pub label: String,
    /// The number of real runs, and of simulated ones.
    pub runs: [usize; 2],
    /// The share of the run for which the workers of the busiest server were busy: the median over the real runs.
    pub utilisation: Option<f64>,
    /// The cells, by phase in order of time, then by measure.
    pub cells: Vec<Cell>,
    /// The same cells of the simulated runs that leave a mechanism out.
    pub without: Vec<WithoutMechanism>,
    /// The stages of requests with one attempt; empty if their rows do not have them.
    pub stages: Vec<StageFidelity>,
    /// How slow times come together; empty if no run has enough requests with stages.
    pub clustering: Vec<Clustering>,
    /// The number of p99 that are not among the cells, as their phases have fewer than [`TAIL_CALLS_MIN`] calls.
    pub sparse: usize,
    /// The runs of both worlds, for plots.
    pub sides: ScenarioComparison,
}

impl Fidelity {
    /// Analyses `campaigns` together. Their runs are never compared with each other: each has a machine and a calibration of its own.
    pub fn from_campaigns(campaigns: Vec<Campaign>) -> Self {
        let several = campaigns.len() > 1;
        let mut fidelity = Self { campaigns: Vec::new(), scenarios: Vec::new(), onsets: Vec::new(), notes: Vec::new() };
        for campaign in campaigns {
            let Campaign { name, manifest, parts, notes } = campaign;
            let labelled = |text: &str| if several { format!("{name}/{text}") } else { text.to_owned() };
            let note = |note: String| if several { format!("{name}: {note}") } else { note };
            fidelity.notes.extend(notes.into_iter().map(note));
            let mut points = Vec::new();
            for part in parts {
                let utilisation = part.utilisation();
                fidelity.notes.extend(busy_note(&part, utilisation).map(note));
                let PartRuns { name: scenario, variant, real, sim, without, beyond, stages, clustering, .. } = part;
                if let Some(variant) = &variant {
                    points.push((variant.clone(), RatePoint::from_runs(variant.rate, &real, &sim)));
                }
                let names = ScenarioNames { label: labelled(&scenario), campaign: name.clone(), name: scenario };
                let without = without.iter().map(|(name, runs)| WithoutMechanism::compare(name, &real, runs)).collect();
                let mut scenario = ScenarioFidelity::compare(names, utilisation, real, sim, without);
                scenario.stages = stages;
                scenario.clustering = clustering;
                scenario.cells.iter_mut().for_each(|cell| cell.is_beyond = beyond.contains(&cell.phase));
                fidelity.scenarios.push(scenario);
            }
            let onsets = onset::onsets(&points).into_iter();
            fidelity.onsets.extend(onsets.map(|onset| Onset { scenario: labelled(&onset.scenario), ..onset }));
            fidelity.campaigns.push(CampaignFacts { name, manifest });
        }
        fidelity
    }

    /// Returns the number of cells that are left out, as [`ScenarioFidelity::sparse`] counts them.
    pub fn sparse(&self) -> usize {
        self.scenarios.iter().map(|scenario| scenario.sparse).sum()
    }
}

/// The names of a scenario, as [`ScenarioFidelity`] has them.
struct ScenarioNames {
    name: String,
    campaign: String,
    label: String,
}

/// Returns a note if the workers of a server were busier than predictions are promised for.
fn busy_note(part: &PartRuns, utilisation: Option<f64>) -> Option<String> {
    let share = utilisation.filter(|share| *share > TRUSTED_UTILISATION)?;
    Some(format!(
        "{}: the busiest server's workers were busy {:.0} % of the time; predictions are promised up to {:.0} %",
        part.name,
        share * 100.0,
        TRUSTED_UTILISATION * 100.0
    ))
}

impl ScenarioFidelity {
    fn compare(
        names: ScenarioNames,
        utilisation: Option<f64>,
        real: Vec<Member>,
        sim: Vec<Member>,
        without: Vec<WithoutMechanism>,
    ) -> Self {
        let mut cells: Vec<_> = places(&real)
            .into_iter()
            .filter_map(|(phase, measure)| Cell::compare(measure, &phase, &real, &sim))
            .collect();
        let all = cells.len();
        cells.retain(|cell| cell.measure.has_enough_calls(&cell.phase, &real, &sim));
        let sparse = all - cells.len();
        let runs = [real.len(), sim.len()];
        let sides = vec![
            ComparisonSide { name: format!("real x{}", real.len()), members: real },
            ComparisonSide { name: format!("sim x{}", sim.len()), members: sim },
        ];
        let ScenarioNames { name, campaign, label } = names;
        let sides = ScenarioComparison { scenario: name.clone(), sides, pairs: Vec::new() };
        let (stages, clustering) = (Vec::new(), Vec::new());
        Self { name, campaign, label, runs, utilisation, cells, without, stages, clustering, sparse, sides }
    }

    /// Returns the phases of its cells, in their order.
    pub fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = self.cells.iter().map(|cell| cell.phase.as_str()).collect();
        phases.dedup();
        phases
    }
}

/// Returns the phases and measures that have a cell, in the order of reports.
fn places(real: &[Member]) -> Vec<(String, Measure)> {
    let mut places = Vec::new();
    for phase in phases(real) {
        let measures = Measure::ALL.into_iter().filter(|measure| measure.applies_to(&phase));
        places.extend(measures.map(|measure| (phase.clone(), measure)));
    }
    places
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

/// Reads the campaigns in these folders, with plots in windows of `window`.
///
/// # Errors
/// A folder holds no campaign or is named twice, a campaign has too few runs to compare, or a run has too many windows.
pub fn read(folders: &[PathBuf], window: Duration) -> Result<Vec<Campaign>, CampaignError> {
    let named = campaign::names(folders)?.into_iter().zip(folders);
    named.map(|(name, folder)| Campaign::read(name, folder, window)).collect()
}
