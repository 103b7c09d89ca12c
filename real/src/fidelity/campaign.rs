//! The campaign's folder: what is to be played, and what has been.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kernel::{
    cli::Failure,
    run_folder::{
        CalibrationInfo, RunInfo,
        campaign::{CALIBRATION, CampaignManifest, CampaignScenario, MANIFEST, RateVariant, SCHEMA, WORLDS, run_place},
        sha256,
    },
    scenario::Scenario,
};

use super::FidelityArgs;
use crate::facts;

/// A campaign that can go on.
pub(super) struct Campaign {
    place: PathBuf,
    manifest: CampaignManifest,
    /// The calibration's text.
    calibration: String,
    stories: Vec<Story>,
}

/// A scenario of it.
pub(super) struct Story {
    /// The file that it is in, and what overrides settings there.
    pub(super) file: PathBuf,
    pub(super) overrides: Vec<String>,
    pub(super) scenario: Scenario,
}

/// One run of it.
pub(super) struct Run<'a> {
    pub(super) story: &'a Story,
    pub(super) scenario: &'a Scenario,
    pub(super) world: &'static str,
    pub(super) seed: u64,
    pub(super) place: PathBuf,
}

impl Run<'_> {
    /// How long it takes; a simulated one takes no time worth mentioning.
    pub(super) fn seconds(&self) -> u64 {
        if self.world == "real" { self.scenario.duration.as_secs() } else { 0 }
    }
}

impl Campaign {
    /// Checks everything that can be wrong here; writes nothing.
    pub(super) fn open(args: &FidelityArgs) -> Result<Self, Failure> {
        let stories = stories(args)?;
        let place = args.out.clone();
        let text = fs::read_to_string(&args.calibration).map_err(|error| no_calibration(&args.calibration, &error))?;
        let calibration = CalibrationInfo { name: name_of(&text), sha256: sha256(text.as_bytes()) };
        let before = read_manifest(&place)?;
        if before.is_none() && fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_some()) {
            let place = place.display();
            return Err(Failure::wrong_input(format!(
                "{place} exists and holds no campaign; choose another with --out"
            )));
        }
        if let Some(before) = &before
            && before.calibration.sha256 != calibration.sha256
        {
            return Err(Failure::wrong_input(format!(
                "{} was begun with another calibration, {} of {}; go on with --calibration {}, or begin anew with --out",
                place.display(),
                before.calibration.sha256,
                before.calibration.name,
                place.join(CALIBRATION).display(),
            )));
        }
        let parts = stories.iter().map(|story| part(story, args)).collect();
        let manifest = manifest(before, calibration, parts, args.runs);
        Ok(Self { place, manifest, calibration: text, stories })
    }

    /// Writes the manifest and the copy of the calibration.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        let place = &self.place;
        fs::create_dir_all(place).map_err(|error| unwritable(place, &error))?;
        write(&place.join(CALIBRATION), &self.calibration)?;
        let json = serde_json::to_string_pretty(&self.manifest).expect("plain data is always written");
        write(&place.join(MANIFEST), &(json + "\n"))
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn calibration(&self) -> &CalibrationInfo {
        &self.manifest.calibration
    }

    /// The scenarios it plays.
    pub(super) fn stories(&self) -> &[Story] {
        &self.stories
    }

    /// All its runs, in order: seed by seed, and of each seed every scenario in both worlds.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let of_story = |seed, story: &'_ Story| {
            let (place, name) = (self.place.clone(), story.scenario.name.clone());
            WORLDS.map(move |world| (world, seed, run_place(&place, &name, world, seed)))
        };
        (0..self.manifest.runs).flat_map(move |seed| {
            self.stories.iter().flat_map(move |story| {
                of_story(seed, story).map(|(world, seed, place)| Run {
                    story,
                    scenario: &story.scenario,
                    world,
                    seed,
                    place,
                })
            })
        })
    }

    /// Whether there is nothing left to do for it.
    pub(super) fn is_finished(&self, run: &Run<'_>) -> Result<bool, Failure> {
        // A folder under its own name is a whole run.
        let Ok(text) = fs::read_to_string(run.place.join("run.json")) else { return Ok(false) };
        let other = |what: &str| {
            let place = run.place.display();
            Failure::wrong_input(format!("{place} is a run of {what}; remove it, or choose another folder with --out"))
        };
        let info: RunInfo = serde_json::from_str(&text).map_err(|error| other(&format!("something else ({error})")))?;
        let scenario = fs::read_to_string(run.place.join("scenario.toml")).unwrap_or_default();
        if scenario != run.scenario.to_toml() {
            return Err(other("another version of the scenario"));
        }
        let foreign = |used: &CalibrationInfo| used.sha256 != self.manifest.calibration.sha256;
        if info.calibration.as_ref().is_some_and(foreign) {
            return Err(other("another calibration"));
        }
        Ok(true)
    }
}

/// Every scenario, at every rate that is asked for.
fn stories(args: &FidelityArgs) -> Result<Vec<Story>, Failure> {
    let mut stories: Vec<Story> = Vec::new();
    for file in &args.scenarios {
        let load = |overrides: Vec<String>| -> Result<_, Failure> {
            let scenario = Scenario::load(file, &overrides).map_err(Failure::wrong_input)?;
            if scenario.nemesis.is_some() {
                return Err(Failure::wrong_input(format!(
                    "{} draws its faults with [nemesis], and a campaign plays the same ones with every seed; play it \
                     once and take the scenario.toml of the run folder",
                    file.display()
                )));
            }
            Ok(Story { file: file.clone(), overrides, scenario })
        };
        let plain = load(args.overrides.clone())?;
        if args.rates.is_empty() {
            stories.push(plain);
            continue;
        }
        for rate in &args.rates {
            let name = format!("name=\"{}\"", variant_name(&plain.scenario.name, *rate));
            let more = [format!("load.rate={rate:?}"), name];
            stories.push(load(args.overrides.iter().cloned().chain(more).collect())?);
        }
    }
    for (index, story) in stories.iter().enumerate() {
        let name = &story.scenario.name;
        if stories[..index].iter().any(|other| other.scenario.name == *name) {
            return Err(Failure::wrong_input(format!(
                "two scenarios are called `{name}`; their runs would be mixed up"
            )));
        }
    }
    Ok(stories)
}

/// Names have no dots.
fn variant_name(name: &str, rate: f64) -> String {
    format!("{name}-at-{}", rate.to_string().replace('.', "_"))
}

fn part(story: &Story, args: &FidelityArgs) -> CampaignScenario {
    let rate = story.scenario.load.rate;
    let name = story.scenario.name.clone();
    let of = name.strip_suffix(&variant_name("", rate)).map(str::to_owned);
    let variant = of.filter(|_| !args.rates.is_empty()).map(|of| RateVariant { of, rate });
    CampaignScenario { sha256: sha256(story.scenario.to_toml().as_bytes()), name, variant }
}

/// What is to be said of the campaign; scenarios that were played before stay in it.
fn manifest(
    before: Option<CampaignManifest>,
    calibration: CalibrationInfo,
    parts: Vec<CampaignScenario>,
    runs: u64,
) -> CampaignManifest {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut manifest = before.unwrap_or_else(|| CampaignManifest {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: profile.to_owned(),
        started: facts::now(),
        host: facts::host(),
        calibration,
        runs,
        scenarios: Vec::new(),
    });
    manifest.runs = runs;
    for part in parts {
        match manifest.scenarios.iter_mut().find(|known| known.name == part.name) {
            Some(known) => *known = part,
            None => manifest.scenarios.push(part),
        }
    }
    manifest
}

fn read_manifest(place: &Path) -> Result<Option<CampaignManifest>, Failure> {
    let path = place.join(MANIFEST);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        let path = path.display();
        Failure::wrong_input(format!("{path} is no manifest of a campaign: {error}; choose another folder with --out"))
    })
}

/// What the calibration calls itself; whether it is one, the simulation says.
fn name_of(text: &str) -> String {
    let table: Option<toml::Table> = toml::from_str(text).ok();
    let name = table.and_then(|table| Some(table.get("name")?.as_str()?.to_owned()));
    name.unwrap_or_else(|| "unnamed".to_owned())
}

fn no_calibration(path: &Path, reason: &io::Error) -> Failure {
    Failure::wrong_input(format!(
        "cannot read the calibration {}: {reason}; measure this host first: cargo run -p real -- calibrate",
        path.display()
    ))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, reason: &io::Error) -> Failure {
    Failure::wrong_input(format!("cannot write {}: {reason}; choose another folder with --out", path.display()))
}
