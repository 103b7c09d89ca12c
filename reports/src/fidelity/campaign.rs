//! Reads the folder that `real fidelity` writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    measure::stages::STAGES,
    record::{Event, Name},
    run_folder::{
        RUN,
        campaign::{CampaignManifest, LeftOut, MANIFEST, RateVariant, SCHEMA, WORLDS, run_place},
    },
    visible::Visible,
};

use super::{
    clustering::{self, Clustering},
    range::CalibratedRange,
    stages::{self, StageFidelity},
};
use crate::{
    compare::Member,
    read::{self, Mapping, ReadError, read_text},
    run::RecordedRun,
};

/// The least number of runs of a scenario in each world: distances are between runs of different seeds.
const RUNS_MIN: usize = 2;

/// A campaign as it was read.
#[derive(Debug)]
pub struct Campaign {
    /// Its name among the campaigns of a report: that of its folder, or the whole path if several are called so.
    pub name: String,
    /// The manifest.
    pub manifest: CampaignManifest,
    pub(super) parts: Vec<PartRuns>,
    /// Notes on missing or inconsistent data, each a sentence.
    pub(super) notes: Vec<String>,
}

/// The runs of one scenario.
#[derive(Debug)]
pub(super) struct PartRuns {
    pub(super) name: String,
    pub(super) variant: Option<RateVariant>,
    /// The real runs, in the form in which they are compared.
    pub(super) real: Vec<Member>,
    /// The simulated runs.
    pub(super) sim: Vec<Member>,
    /// The simulated runs that leave a mechanism out, by its name.
    pub(super) without: Vec<(String, Vec<Member>)>,
    /// The phases that leave what was calibrated.
    pub(super) beyond: BTreeSet<String>,
    /// The stages of requests in both worlds.
    pub(super) stages: Vec<StageFidelity>,
    /// What slow times have in common in both worlds.
    pub(super) clustering: Vec<Clustering>,
    /// The share of the time for which the workers of the busiest server were busy, of each real run for which it is known.
    utilisations: Vec<f64>,
}

/// The runs of one scenario in one world.
#[derive(Debug, Default)]
struct WorldRuns {
    members: Vec<Member>,
    utilisations: Vec<f64>,
    /// The median of each stage of a run in microseconds, of each run that has them.
    stages: Vec<[u64; STAGES]>,
    /// The correlations of times of each run that has enough requests.
    clustering: Vec<[f64; clustering::BETWEEN.len()]>,
    /// The number of runs that are left out because they are not trusted.
    untrusted: usize,
    /// The part of the first simulated run that is outside of the calibrated range, as a sentence without its subject.
    beyond: Option<String>,
    /// The phases of the simulated runs that it concerns.
    phases_beyond: BTreeSet<String>,
}

/// Where the runs of a scenario in a world are, and what they were simulated with.
struct RunSource<'a> {
    scenario: &'a str,
    world: &'a str,
    /// The word in the names of their folders that takes the place of the world.
    folder: &'a str,
    /// The digest of the calibration.
    calibration: &'a str,
}

impl RunSource<'_> {
    /// Returns whether they leave a mechanism out: the stages of their requests are not compared.
    fn leaves_out(&self) -> bool {
        self.folder != self.world
    }
}

/// The reason why a campaign cannot be read. Each message contains the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The folder has no manifest that can be read.
    #[error("{path} holds no campaign: {reason}; name a folder that `real fidelity` wrote, such as runs/fidelity", path = .path.visible())]
    NoCampaign {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        reason: io::Error,
    },
    /// The manifest is not valid.
    #[error("{path}: {reason}; it was not written by this version of `real fidelity`", path = .path.visible(), reason = .reason.visible())]
    Malformed {
        /// The manifest.
        path: PathBuf,
        /// The error of the parser.
        reason: String,
    },
    /// The calibration is still being measured, so that there are no simulated runs.
    #[error("{path} has no calibration yet, as it is measured among its real runs; continue with `real fidelity --calibrate`", path = .path.visible())]
    Uncalibrated {
        /// The folder of the campaign.
        path: PathBuf,
    },
    /// A scenario has too few trusted runs in a world.
    #[error("{path} has {real} real and {sim} simulated runs of {scenario} that are trusted; comparing needs {RUNS_MIN} of each: continue with `real fidelity`", path = .path.visible(), scenario = .scenario.visible())]
    TooFew {
        /// The folder of the campaign.
        path: PathBuf,
        /// The name of the scenario.
        scenario: String,
        /// The number of its real runs.
        real: usize,
        /// The number of its simulated runs.
        sim: usize,
    },
    /// A run was simulated with another calibration than the others.
    #[error("{path} was simulated with another calibration than the rest, {found}; remove it and continue with `real fidelity`", path = .path.visible(), found = .found.visible())]
    OtherCalibration {
        /// The folder of the run.
        path: PathBuf,
        /// The digest of its calibration.
        found: String,
    },
    /// A run is not the one that its folder is named for.
    #[error("{path} is a run of seed {seed} of `{scenario}` in the world {world}; remove it and continue with `real fidelity`", path = .path.visible(), scenario = .scenario.visible(), world = .world.visible())]
    OtherRun {
        /// The folder of the run.
        path: PathBuf,
        /// The seed of the run.
        seed: u64,
        /// The name of its scenario.
        scenario: String,
        /// Its world.
        world: String,
    },
    /// The same campaign is named twice.
    #[error("{path} is named twice, and its cells would be counted twice; name each campaign once", path = .path.visible())]
    Twice {
        /// The folder.
        path: PathBuf,
    },
    /// A run cannot be read.
    #[error(transparent)]
    Run(#[from] ReadError),
}

impl Campaign {
    /// Reads the manifest at `folder` and all runs that it lists. The campaign is called `name`.
    pub(super) fn read(name: String, folder: &Path, window: Duration) -> Result<Self, CampaignError> {
        let path = folder.join(MANIFEST);
        let text = read_text(&path).map_err(|reason| CampaignError::NoCampaign { path: folder.to_owned(), reason })?;
        let manifest: CampaignManifest = serde_json::from_str(&text)
            .map_err(|error| CampaignError::Malformed { path: path.clone(), reason: error.to_string() })?;
        // Another schema may parse and still mean something else.
        if manifest.schema != SCHEMA {
            let reason = format!("its schema is {}, not {SCHEMA}", manifest.schema);
            return Err(CampaignError::Malformed { path, reason });
        }
        let Some(calibration) = &manifest.calibration else {
            return Err(CampaignError::Uncalibrated { path: folder.to_owned() });
        };
        let range = CalibratedRange::of_campaign(folder);
        let places_without: Vec<String> = manifest.left_out.iter().map(LeftOut::world).collect();
        let mut parts = Vec::new();
        let mut notes = Vec::new();
        for part in &manifest.scenarios {
            let read = |world, place, sha256| {
                let source = RunSource { scenario: &part.name, world, folder: place, calibration: sha256 };
                runs(folder, manifest.runs, &source, (window, &range))
            };
            let [sim, real] = WORLDS.map(|world| read(world, world, &calibration.sha256));
            let (real, sim) = (real?, sim?);
            let stages = StageFidelity::compare(&real.stages, &sim.stages);
            let clustering = Clustering::compare(&real.clustering, &sim.clustering);
            let WorldRuns { members: real, utilisations, untrusted: real_untrusted, .. } = real;
            let WorldRuns { members: sim, untrusted: sim_untrusted, beyond, phases_beyond, .. } = sim;
            notes.extend(beyond.map(|beyond| format!("{}: {beyond}", part.name)));
            for (world, untrusted, found) in [("real", real_untrusted, &real), ("sim", sim_untrusted, &sim)] {
                if untrusted > 0 {
                    let all = found.len() + untrusted;
                    notes.push(format!("{}: {untrusted} of {all} {world} runs are untrusted and left out", part.name));
                }
            }
            if real.len().min(sim.len()) < RUNS_MIN {
                return Err(CampaignError::TooFew {
                    path: folder.to_owned(),
                    scenario: part.name.clone(),
                    real: real.len(),
                    sim: sim.len(),
                });
            }
            for (world, untrusted, found) in [("real", real_untrusted, &real), ("sim", sim_untrusted, &sim)] {
                let missing = manifest.runs.saturating_sub((found.len() + untrusted) as u64);
                if missing > 0 {
                    notes.push(format!("{}: {missing} of {} {world} runs are missing", part.name, manifest.runs));
                }
            }
            let mut without = Vec::new();
            for (left_out, place) in manifest.left_out.iter().zip(&places_without) {
                let members = read("sim", place, &left_out.sha256)?.members;
                // A scenario of an earlier call may have none.
                if members.len() >= RUNS_MIN {
                    without.push((left_out.mechanism.clone(), members));
                }
            }
            for run in real.iter().chain(&sim) {
                notes.extend(run.notes.iter().map(|note| format!("{}: {note}", run.place.visible())));
            }
            let name = part.name.clone();
            let variant = part.variant.clone();
            let beyond = phases_beyond;
            parts.push(PartRuns { name, variant, real, sim, without, beyond, stages, clustering, utilisations });
        }
        notes.extend(host_note(&manifest));
        notes.extend(calibration_note(&manifest));
        Ok(Self { name, manifest, parts, notes })
    }
}

/// Returns the names of the campaigns in these folders.
pub(super) fn names(folders: &[PathBuf]) -> Result<Vec<String>, CampaignError> {
    // A folder that is not there has no canonical path; reading it says so.
    let real: Vec<PathBuf> =
        folders.iter().map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone())).collect();
    if let Some((path, _)) = folders.iter().zip(0..).find(|(_, at)| real[..*at].contains(&real[*at])) {
        return Err(CampaignError::Twice { path: path.clone() });
    }
    let names = real.iter().zip(folders).map(|(path, folder)| {
        let name = folder_name(path)
            .filter(|name| real.iter().filter(|other| folder_name(other).as_ref() == Some(name)).count() == 1);
        name.unwrap_or_else(|| folder.display().to_string())
    });
    Ok(names.collect())
}

fn folder_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.display().to_string())
}

/// Returns whether the calibration was measured on a machine with another operating system or number of cores; `None` if its name does
/// not say where.
pub(super) fn is_of_another_machine(manifest: &CampaignManifest) -> Option<bool> {
    let (operating_system, cores) = measured_on(&manifest.calibration.as_ref()?.name)?;
    Some((operating_system, cores) != (&manifest.host.operating_system, manifest.host.cores))
}

/// Returns the operating system and the number of cores in the name of a calibration, as `real calibrate` writes it.
fn measured_on(name: &str) -> Option<(&str, usize)> {
    let (machine, _time) = name.rsplit_once(", ")?;
    let (operating_system, cores) = machine.rsplit_once(", ")?;
    Some((operating_system, cores.strip_suffix(" cores")?.parse().ok()?))
}

/// Returns a note if the calibration was measured on another machine.
fn calibration_note(manifest: &CampaignManifest) -> Option<String> {
    let calibration = manifest.calibration.as_ref().filter(|_| is_of_another_machine(manifest) == Some(true))?;
    Some(format!(
        "the calibration was measured on another machine, {}, than the campaign was played on, {}",
        calibration.name,
        manifest.machine()
    ))
}

/// Reads the finished runs of a scenario in a world, in order of their `seeds`, which begin at 0.
fn runs(
    folder: &Path,
    seeds: u64,
    source: &RunSource<'_>,
    (window, range): (Duration, &CalibratedRange),
) -> Result<WorldRuns, CampaignError> {
    let RunSource { scenario, world, .. } = *source;
    let mut runs = WorldRuns::default();
    for seed in 0..seeds {
        let place = run_place(folder, scenario, source.folder, seed);
        // A campaign that was interrupted does not have all runs.
        if !place.join(RUN).is_file() {
            continue;
        }
        let run = read::run(&place, &Mapping::default())?;
        if (run.seed, run.world.as_str(), run.scenario_name.as_str()) != (seed, world, scenario) {
            return Err(CampaignError::OtherRun {
                path: place,
                seed: run.seed,
                scenario: run.scenario_name,
                world: run.world,
            });
        }
        let used = run.info.as_ref().and_then(|info| info.calibration.as_ref());
        if let Some(used) = used.filter(|used| used.sha256 != source.calibration) {
            return Err(CampaignError::OtherCalibration { path: place, found: used.sha256.clone() });
        }
        let utilisation = utilisation(&run);
        let requests = if source.leaves_out() { Vec::new() } else { stages::of_run(&run) };
        let beyond = if world == "sim" { range.left_by(&run) } else { None };
        let member = Member::from_run(run, window).map_err(ReadError::from)?;
        if let Some(beyond) = beyond {
            runs.phases_beyond.extend(beyond.phases(&member.summary.phases));
            runs.beyond.get_or_insert(beyond.sentence);
        }
        // What a run played that was too late is another scenario.
        if !member.summary.trusted {
            runs.untrusted += 1;
            continue;
        }
        runs.utilisations.extend(utilisation);
        runs.stages.extend(stages::medians(&requests));
        runs.clustering.extend(clustering::of_run(&requests));
        runs.members.push(member);
    }
    Ok(runs)
}

/// Returns a note if other programs were running on the machine.
fn host_note(manifest: &CampaignManifest) -> Option<String> {
    let host = &manifest.host;
    let load = host.load_average?[0];
    (load > host.cores as f64 / 2.0).then(|| {
        format!("the machine had a load average of {load} on {} cores when the campaign began, which raises the noise floor", host.cores)
    })
}

impl PartRuns {
    /// Returns the share of the run for which the workers of the busiest server were busy: the median over the real runs.
    pub(super) fn utilisation(&self) -> Option<f64> {
        let mut shares = self.utilisations.clone();
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len() / 2).copied()
    }
}

/// Returns the share of the run for which the workers of the busiest server were busy; `None` if it is not known.
fn utilisation(run: &RecordedRun) -> Option<f64> {
    let workers = run.scenario.as_ref()?.servers.workers;
    let mut busy_us: BTreeMap<Name, u64> = BTreeMap::new();
    run.rows.events.each(|row| {
        if row.event == Event::Finished {
            *busy_us.entry(row.source.clone()).or_default() += row.duration_us.unwrap_or(0);
        }
    });
    let busiest = *busy_us.values().max()?;
    Some(busiest as f64 / 1e6 / (run.duration.as_secs_f64() * workers as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_names_its_machine_or_does_not() {
        let measured = measured_on("Linux 6.18.44-fc-v595, 2 cores, 2026-11-21T18:08:08Z");
        assert_eq!(measured, Some(("Linux 6.18.44-fc-v595", 2)));
        for name in ["built-in", "Linux 6, some cores, 2026-11-21T18:08:08Z", "2 cores, 2026-11-21T18:08:08Z", ""] {
            assert_eq!(measured_on(name), None, "{name}");
        }
    }

    #[test]
    fn campaigns_are_called_as_their_folders_unless_several_are_called_so() {
        let names = |folders: &[&str]| names(&folders.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["runs/half-1", "runs/half-2/"]).unwrap(), ["half-1", "half-2"]);
        assert_eq!(names(&["a/half", "b/half", "b/other"]).unwrap(), ["a/half", "b/half", "other"]);
        assert!(matches!(names(&["a/half", "a/half"]), Err(CampaignError::Twice { .. })));
    }
}
