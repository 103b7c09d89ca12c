//! The folder that `real fidelity` writes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    record::Event,
    run_folder::campaign::{CampaignManifest, MANIFEST, RateVariant, SCHEMA, WORLDS, run_place},
};
use polars::error::PolarsResult;

use crate::{
    compare::Member,
    read::{self, Mapping, ReadError},
    run::RecordedRun,
};

/// Distances between runs of different seeds need two of them.
const RUNS_MIN: usize = 2;

/// A campaign as it was found.
#[derive(Debug, Clone)]
pub struct Campaign {
    pub manifest: CampaignManifest,
    pub(super) parts: Vec<PartRuns>,
    /// What is missing or odd.
    pub(super) notes: Vec<String>,
}

/// The runs of one scenario.
#[derive(Debug, Clone)]
pub(super) struct PartRuns {
    pub(super) name: String,
    pub(super) variant: Option<RateVariant>,
    real: Vec<RecordedRun>,
    sim: Vec<RecordedRun>,
}

/// The reason why a campaign cannot be read. Each message contains the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    #[error("{path} holds no campaign: {reason}; name a folder that `real fidelity` wrote, such as runs/fidelity", path = .path.display())]
    NoCampaign {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    #[error("{path}: {reason}; it was not written by this version of `real fidelity`", path = .path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} has {real} real and {sim} simulated runs of {scenario}; comparing needs {RUNS_MIN} of each: go on with `real fidelity`", path = .path.display())]
    TooFew { path: PathBuf, scenario: String, real: usize, sim: usize },
    #[error("{path} was simulated with another calibration than the rest, {found}; remove it and go on with `real fidelity`", path = .path.display())]
    OtherCalibration { path: PathBuf, found: String },
    #[error("{path} is a run of seed {seed} of `{scenario}` in the world {world}; remove it and go on with `real fidelity`", path = .path.display())]
    OtherRun { path: PathBuf, seed: u64, scenario: String, world: String },
    #[error(transparent)]
    Run(#[from] ReadError),
}

impl Campaign {
    /// Reads the manifest at `folder` and all runs that it speaks of.
    pub(super) fn read(folder: &Path) -> Result<Self, CampaignError> {
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path)
            .map_err(|reason| CampaignError::NoCampaign { path: folder.to_owned(), reason })?;
        let malformed = |reason: String| CampaignError::Malformed { path: path.clone(), reason };
        let manifest: CampaignManifest = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(malformed(format!("its schema is {}, not {SCHEMA}", manifest.schema)));
        }
        let (mut parts, mut notes) = (Vec::new(), Vec::new());
        for part in &manifest.scenarios {
            let [sim, real] = WORLDS.map(|world| runs(folder, &manifest, &part.name, world));
            let (real, sim) = (real?, sim?);
            if real.len().min(sim.len()) < RUNS_MIN {
                let (scenario, path) = (part.name.clone(), folder.to_owned());
                return Err(CampaignError::TooFew { path, scenario, real: real.len(), sim: sim.len() });
            }
            for (world, found) in [("real", &real), ("sim", &sim)] {
                let missing = manifest.runs.saturating_sub(found.len() as u64);
                if missing > 0 {
                    notes.push(format!("{}: {missing} of {} {world} runs are missing", part.name, manifest.runs));
                }
            }
            let of_run =
                |run: &RecordedRun| run.notes.iter().map(|note| format!("{}: {note}", run.place.display())).collect();
            notes.extend(real.iter().chain(&sim).flat_map::<Vec<String>, _>(of_run));
            parts.push(PartRuns { name: part.name.clone(), variant: part.variant.clone(), real, sim });
        }
        notes.extend(of_host(&manifest));
        Ok(Self { manifest, parts, notes })
    }
}

/// What is finished of a scenario in a world, by seed.
fn runs(
    folder: &Path,
    manifest: &CampaignManifest,
    scenario: &str,
    world: &str,
) -> Result<Vec<RecordedRun>, CampaignError> {
    let mut runs = Vec::new();
    for seed in 0..manifest.runs {
        let place = run_place(folder, scenario, world, seed);
        if !place.join("run.json").is_file() {
            continue;
        }
        let run = read::run(&place, &Mapping::default())?;
        if (run.seed, run.world.as_str(), run.scenario_name.as_str()) != (seed, world, scenario) {
            let (seed, scenario, world) = (run.seed, run.scenario_name, run.world);
            return Err(CampaignError::OtherRun { path: place, seed, scenario, world });
        }
        let used = run.info.as_ref().and_then(|info| info.calibration.as_ref());
        if let Some(used) = used.filter(|used| used.sha256 != manifest.calibration.sha256) {
            return Err(CampaignError::OtherCalibration { path: place, found: used.sha256.clone() });
        }
        runs.push(run);
    }
    Ok(runs)
}

/// A note if the machine was not to itself.
fn of_host(manifest: &CampaignManifest) -> Option<String> {
    let host = &manifest.host;
    let load = host.load_average?[0];
    (load > host.cores as f64 / 2.0).then(|| {
        format!("the machine had a load average of {load} on {} cores when the campaign began: its noise is part of the floor", host.cores)
    })
}

impl PartRuns {
    /// Real runs and simulated ones, as they are compared.
    pub(super) fn members(&self, window: Duration) -> PolarsResult<[Vec<Member>; 2]> {
        let members = |runs: &[RecordedRun]| runs.iter().map(|run| Member::from_run(run.clone(), window)).collect();
        let (real, sim): (PolarsResult<_>, PolarsResult<_>) = (members(&self.real), members(&self.sim));
        Ok([real?, sim?])
    }

    /// The share of the run that the workers of the busiest server were busy, at the median of the real runs.
    pub(super) fn utilisation(&self) -> Option<f64> {
        let mut shares: Vec<f64> = self.real.iter().filter_map(utilisation).collect();
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len() / 2).copied()
    }
}

fn utilisation(run: &RecordedRun) -> Option<f64> {
    let workers = run.scenario.as_ref()?.servers.workers;
    let mut busy_us: BTreeMap<&str, u64> = BTreeMap::new();
    for row in run.records.events.iter().filter(|row| row.event == Event::Finished) {
        *busy_us.entry(&row.source).or_default() += row.duration_us.unwrap_or(0);
    }
    let busiest = *busy_us.values().max()?;
    Some(busiest as f64 / 1e6 / (run.duration.as_secs_f64() * workers as f64))
}
