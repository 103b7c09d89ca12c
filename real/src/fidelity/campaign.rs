//! The folder of a campaign: the runs to play, and those that are finished.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kernel::{
    cli::{Failure, program},
    input,
    json::pretty,
    measure::Summary,
    run_folder::{
        CalibrationInfo, Files, FolderError, OsFiles, RunFolder, RunInfo, SUMMARY, atomic,
        campaign::{
            CALIBRATION, CampaignManifest, CampaignScenario, LeftOut, MANIFEST, RateVariant, SCHEMA, WORLDS, run_place,
        },
        lock::PlaceLock,
        sha256,
    },
    scenario::Scenario,
    visible::Visible,
};

use super::{
    FidelityArgs,
    mechanism::{self, Without},
};
use crate::facts;

/// A campaign that can start or continue.
pub(super) struct Campaign {
    place: PathBuf,
    manifest: CampaignManifest,
    /// Text of the calibration; `None` while it is measured among the real runs.
    calibration: Option<String>,
    scenarios: Vec<CampaignInput>,
    /// Calibrations without one of their mechanisms, of this call.
    without: Vec<Without>,
    /// Keeps other processes from the campaign; `None` until it has begun.
    lock: Option<PlaceLock>,
}

/// A scenario of a campaign, with its origin.
pub(super) struct CampaignInput {
    /// File of the scenario.
    pub(super) file: PathBuf,
    /// Overrides of its settings, as `--set` takes them.
    pub(super) overrides: Vec<String>,
    /// The resolved scenario.
    pub(super) scenario: Scenario,
}

/// A run of a campaign.
pub(super) struct CampaignRun<'a> {
    /// Origin of the scenario.
    pub(super) origin: &'a CampaignInput,
    /// The resolved scenario.
    pub(super) scenario: &'a Scenario,
    /// `sim` or `real`.
    pub(super) world: &'static str,
    /// Seed of the run.
    pub(super) seed: u64,
    /// The mechanism that a simulated run leaves out of the calibration.
    pub(super) without: Option<&'a LeftOut>,
    /// Folder of the run.
    pub(super) place: PathBuf,
}

/// About how long a simulated run takes.
const SIMULATED: Duration = Duration::from_secs(1);

impl CampaignRun<'_> {
    /// About how long it takes to play the run.
    pub(super) fn takes(&self) -> Duration {
        if self.world == "real" { self.scenario.duration } else { SIMULATED }
    }

    /// The world, with what is left out.
    pub(super) fn kind(&self) -> String {
        self.without.map_or_else(|| self.world.to_owned(), LeftOut::world)
    }

    /// Tells if the run is finished, and not trusted.
    fn is_untrusted(&self) -> bool {
        let text = input::read_text(&self.place.join(SUMMARY)).ok();
        let summary = text.and_then(|text| serde_json::from_str::<Summary>(&text).ok());
        summary.is_some_and(|summary| !summary.trusted)
    }

    /// Name of the file with its calibration, in the folder of the campaign.
    pub(super) fn calibration(&self) -> String {
        self.without.map_or_else(|| CALIBRATION.to_owned(), LeftOut::calibration)
    }
}

impl Campaign {
    /// Opens the campaign, and checks its arguments and its folder. Writes nothing.
    pub(super) fn open(args: &FidelityArgs) -> Result<Self, Failure> {
        let scenarios = scenarios(args)?;
        let place = args.out.clone();
        let text = calibration_text(args)?;
        let calibration =
            text.as_ref().map(|text| CalibrationInfo { name: name_of(text), sha256: sha256(text.as_bytes()) });
        let before = read_manifest(&place)?;
        if before.is_none() && !is_begun(&place, text.as_deref()) {
            let place = place.visible();
            return Err(Failure::wrong_input(format!(
                "{place} exists and holds no campaign; choose another with --out"
            )));
        }
        if let Some(before) = &before {
            is_calibrated_alike(&place, before, calibration.as_ref(), args.calibrate)?;
        }
        let parts = scenarios.iter().map(|scenario| part(scenario, args)).collect();
        let here = begun_here();
        if let Some(before) = &before {
            is_continuable(&place, before, &here)?;
        }
        let without = text.as_ref().map(|text| mechanism::calibrations(text, &args.leave_out)).transpose()?;
        let without = without.unwrap_or_default();
        let mut manifest = manifest(before.unwrap_or(here), parts, args.runs);
        manifest.calibration = calibration;
        add_left_out(&mut manifest, &without);
        Ok(Self { place, manifest, calibration: text, scenarios, without, lock: None })
    }

    /// Keeps other processes from the campaign, and writes the manifest and a copy of the calibration.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        let place = &self.place;
        fs::create_dir_all(place).map_err(|error| unwritable(place, &error))?;
        let files: Arc<dyn Files> = Arc::new(OsFiles);
        let lock = PlaceLock::take(&files, &place.join("campaign")).map_err(|error| unwritable(place, &error))?;
        self.lock = Some(lock.ok_or_else(|| Failure::wrong_input(FolderError::InUse { path: place.clone() }))?);
        let without: Vec<_> = self.without.iter().map(|without| (without.facts.calibration(), &without.text)).collect();
        let names: Vec<&str> =
            [CALIBRATION, MANIFEST].into_iter().chain(without.iter().map(|(name, _)| &**name)).collect();
        atomic::remove_abandoned(&*files, place, &names).map_err(|error| unwritable(place, &error))?;
        if let Some(calibration) = &self.calibration {
            write_once(&*files, &place.join(CALIBRATION), calibration)?;
        }
        write(&*files, &place.join(MANIFEST), &pretty(&self.manifest))?;
        // After the manifest: a folder with these files and without it would be no campaign.
        without.iter().try_for_each(|(name, text)| write_once(&*files, &place.join(name), text))
    }

    /// Folder of the campaign.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Calibration of the simulated runs; `None` while it is measured among the real runs.
    pub(super) fn calibration(&self) -> Option<&CalibrationInfo> {
        self.manifest.calibration.as_ref()
    }

    /// Number of runs of each scenario in each world.
    pub(super) fn seeds(&self) -> u64 {
        self.manifest.runs
    }

    /// Writes the calibration that was measured, which does not change after that.
    pub(super) fn write_calibration(&self, text: &str) -> Result<(), Failure> {
        write_once(&OsFiles, &self.place.join(CALIBRATION), text)
    }

    /// Number of mechanisms of which some of this call's runs leave one out.
    pub(super) fn left_out(&self) -> usize {
        self.without.len()
    }

    /// The scenarios of the campaign.
    pub(super) fn scenarios(&self) -> &[CampaignInput] {
        &self.scenarios
    }

    /// All runs in order: for each seed every scenario, each scenario in both worlds, and then without each mechanism that is left out.
    pub(super) fn runs(&self) -> impl Iterator<Item = CampaignRun<'_>> {
        let origins = (0..self.manifest.runs).flat_map(|seed| self.scenarios.iter().map(move |origin| (seed, origin)));
        origins.flat_map(move |(seed, origin)| {
            let whole = WORLDS.into_iter().map(|world| (world, None));
            let without = self.without.iter().map(|without| ("sim", Some(&without.facts)));
            whole.chain(without).map(move |(world, without)| {
                let folder = without.map_or_else(|| world.to_owned(), LeftOut::world);
                let place = run_place(&self.place, &origin.scenario.name, &folder, seed);
                CampaignRun { origin, scenario: &origin.scenario, world, seed, without, place }
            })
        })
    }

    /// Returns the finished runs that are not trusted, in order.
    pub(super) fn untrusted(&self) -> Vec<CampaignRun<'_>> {
        self.runs().filter(CampaignRun::is_untrusted).collect()
    }

    /// Tells if the run is finished. Fails if its folder contains another run, or one that was changed.
    pub(super) fn is_finished(&self, run: &CampaignRun<'_>) -> Result<bool, Failure> {
        // A folder gets its final name only when the run in it is complete.
        let Ok(text) = input::read_text(&run.place.join("run.json")) else { return Ok(false) };
        let info: RunInfo =
            serde_json::from_str(&text).map_err(|error| other_run(&run.place, &format!("something else ({error})")))?;
        let scenario = input::read_text(&run.place.join("scenario.toml")).unwrap_or_default();
        if scenario != run.scenario.to_toml() {
            return Err(other_run(&run.place, "another version of the scenario"));
        }
        if (info.world.as_str(), info.seed) != (run.world, run.seed) {
            return Err(other_run(&run.place, &format!("the world {} with seed {}", info.world, info.seed)));
        }
        let whole = self.calibration().map(|calibration| &calibration.sha256);
        let expected = run.without.map_or(whole, |without| Some(&without.sha256));
        if info.calibration.is_some_and(|used| Some(&used.sha256) != expected) {
            return Err(other_run(&run.place, "another calibration"));
        }
        if let Some(path) = RunFolder::damage(&run.place).map_err(Failure::wrong_input)? {
            let path = path.visible();
            return Err(other_run(&run.place, &format!("which {path} is missing, or was changed")));
        }
        Ok(true)
    }
}

/// Returns whether there is nothing at `place`, or at most what a process left that was killed before it had written the
/// manifest.
fn is_begun(place: &Path, calibration: Option<&str>) -> bool {
    let Ok(entries) = fs::read_dir(place) else { return !place.exists() };
    entries.map_while(Result::ok).all(|entry| {
        let name = entry.file_name();
        let is_same =
            name == CALIBRATION && input::read_text(&entry.path()).is_ok_and(|text| Some(&*text) == calibration);
        let is_lock = name == ".campaign.lock";
        is_same || is_lock || [CALIBRATION, MANIFEST].iter().any(|file| atomic::is_staging_of(&name, file.as_ref()))
    })
}

fn other_run(place: &Path, what: &str) -> Failure {
    let place = place.visible();
    Failure::wrong_input(format!("{place} is a run of {what}; remove it, or choose another folder with --out"))
}

impl CampaignInput {
    fn load(file: &Path, overrides: Vec<String>) -> Result<Self, Failure> {
        let scenario = Scenario::load(file, &overrides).map_err(Failure::wrong_input)?;
        // Runs of several seeds would differ in their faults, and their distances would say nothing of the worlds.
        if scenario.nemesis.is_some() {
            return Err(Failure::wrong_input(format!(
                "{} draws its faults with [nemesis], and a campaign plays the same ones with every seed; play it \
                 once and take the scenario.toml of the run folder",
                file.visible()
            )));
        }
        Ok(Self { file: file.to_owned(), overrides, scenario })
    }
}

/// The most scenarios of a campaign, those at other rates among them.
const SCENARIOS_MAX: usize = 1_000;

/// Every scenario file, at every rate of the command line.
fn scenarios(args: &FidelityArgs) -> Result<Vec<CampaignInput>, Failure> {
    let count = args.scenarios.len().saturating_mul(args.rates.len().max(1));
    if count > SCENARIOS_MAX {
        let message = format!("these are {count} scenarios, at every rate; a campaign has up to {SCENARIOS_MAX}");
        return Err(Failure::wrong_input(message));
    }
    let mut scenarios: Vec<CampaignInput> = Vec::new();
    for file in &args.scenarios {
        let plain = CampaignInput::load(file, args.overrides.clone())?;
        if args.rates.is_empty() {
            scenarios.push(plain);
            continue;
        }
        for rate in &args.rates {
            let name = format!("name=\"{}\"", variant_name(&plain.scenario.name, *rate));
            let more = [format!("load.rate={rate:?}"), name];
            let overrides = args.overrides.iter().cloned().chain(more).collect();
            scenarios.push(CampaignInput::load(file, overrides)?);
        }
    }
    for (index, scenario) in scenarios.iter().enumerate() {
        let name = &scenario.scenario.name;
        if scenarios[..index].iter().any(|other| other.scenario.name == *name) {
            return Err(Failure::wrong_input(format!(
                "two scenarios are called `{name}`; their runs would be mixed up"
            )));
        }
    }
    Ok(scenarios)
}

/// Name of a scenario at another rate. Names cannot contain dots.
fn variant_name(name: &str, rate: f64) -> String {
    format!("{name}-at-{}", rate.to_string().replace('.', "_"))
}

fn part(scenario: &CampaignInput, args: &FidelityArgs) -> CampaignScenario {
    let rate = scenario.scenario.load.rate;
    let name = scenario.scenario.name.clone();
    let of = name.strip_suffix(&variant_name("", rate)).map(str::to_owned);
    let variant = of.filter(|_| !args.rates.is_empty()).map(|of| RateVariant { of, rate });
    CampaignScenario { sha256: sha256(scenario.scenario.to_toml().as_bytes()), name, variant }
}

/// The manifest of a campaign that begins now, on this machine and with this build; without runs.
fn begun_here() -> CampaignManifest {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    CampaignManifest {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: profile.to_owned(),
        started: facts::now(),
        host: facts::host(),
        processor: facts::processor(),
        calibration: None,
        runs: 0,
        scenarios: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Returns the text of the calibration of the command line, or that which the campaign has measured: `None` if it has not yet.
fn calibration_text(args: &FidelityArgs) -> Result<Option<String>, Failure> {
    let measured = args.out.join(CALIBRATION);
    if args.calibrate && !measured.exists() {
        return Ok(None);
    }
    let file = if args.calibrate { &measured } else { &args.calibration };
    input::read_text(file).map(Some).map_err(|error| no_calibration(file, &error))
}

/// Checks that the calibration is that of the simulated runs so far.
fn is_calibrated_alike(
    place: &Path,
    before: &CampaignManifest,
    calibration: Option<&CalibrationInfo>,
    calibrates: bool,
) -> Result<(), Failure> {
    let problem = match (&before.calibration, calibration) {
        (Some(before), Some(now)) if before.sha256 != now.sha256 => {
            let CalibrationInfo { sha256, name } = before;
            let file = place.join(CALIBRATION);
            format!(
                "was started with another calibration, {sha256} of {name}; continue with --calibration {}",
                file.visible()
            )
        }
        (Some(before), None) => format!("has lost its {CALIBRATION}, {} of {}", before.sha256, before.name),
        (None, Some(_)) if !calibrates => "measures its calibration itself; continue with --calibrate".to_owned(),
        _ => return Ok(()),
    };
    Err(Failure::wrong_input(format!("{} {problem}, or start another campaign with --out", place.visible())))
}

/// Checks that the runs so far were made on this machine and by this build: real times depend on both, and the distances between
/// real runs would be those between machines.
fn is_continuable(place: &Path, before: &CampaignManifest, here: &CampaignManifest) -> Result<(), Failure> {
    let started_with = |started: &str, this: &str| {
        Failure::wrong_input(format!(
            "{} was started {}, and this is {}; continue it there, or start another campaign with --out, which `reports \
             fidelity` joins with it",
            place.visible(),
            started.visible(),
            this.visible(),
        ))
    };
    if !before.is_same_machine(here) {
        return Err(started_with(&format!("on another machine, {}", before.machine()), &here.machine()));
    }
    let [earlier, this] =
        [before, here].map(|manifest| format!("a {} build of version {}", manifest.profile, manifest.version));
    if earlier != this {
        return Err(started_with(&format!("with another build, {earlier}"), &this));
    }
    Ok(())
}

/// The manifest with the scenarios of this call. Scenarios of an earlier call stay in it.
fn manifest(mut manifest: CampaignManifest, parts: Vec<CampaignScenario>, runs: u64) -> CampaignManifest {
    manifest.runs = runs;
    for part in parts {
        match manifest.scenarios.iter_mut().find(|known| known.name == part.name) {
            Some(known) => *known = part,
            None => manifest.scenarios.push(part),
        }
    }
    manifest
}

/// Adds the mechanisms of this call to those of earlier calls.
fn add_left_out(manifest: &mut CampaignManifest, without: &[Without]) {
    for Without { facts, .. } in without {
        match manifest.left_out.iter_mut().find(|known| known.mechanism == facts.mechanism) {
            Some(known) => known.clone_from(facts),
            None => manifest.left_out.push(facts.clone()),
        }
    }
}

fn read_manifest(place: &Path) -> Result<Option<CampaignManifest>, Failure> {
    let path = place.join(MANIFEST);
    let Ok(text) = input::read_text(&path) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        let path = path.visible();
        Failure::wrong_input(format!(
            "{path} is no manifest of a campaign: {}; choose another folder with --out",
            error.to_string().visible()
        ))
    })
}

/// Name of a calibration. Only the simulation checks that the text is a valid one.
fn name_of(text: &str) -> String {
    let table: Option<toml::Table> = toml::from_str(text).ok();
    let name = table.and_then(|table| Some(table.get("name")?.as_str()?.to_owned()));
    name.unwrap_or_else(|| "unnamed".to_owned())
}

fn no_calibration(path: &Path, reason: &io::Error) -> Failure {
    Failure::wrong_input(format!(
        "cannot read the calibration {}: {reason}; measure this host first: {} calibrate",
        path.visible(),
        program("real")
    ))
}

/// Writes a calibration that does not change during a campaign. A user's changes to it would be lost, and the runs so far were not made with
/// them.
fn write_once(files: &dyn Files, path: &Path, text: &str) -> Result<(), Failure> {
    if input::read_text(path).is_ok_and(|found| found != text) {
        return Err(Failure::wrong_input(FolderError::Changed { path: path.to_owned() }));
    }
    write(files, path, text)
}

fn write(files: &dyn Files, path: &Path, text: &str) -> Result<(), Failure> {
    atomic::write(files, path, text.as_bytes()).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, reason: &io::Error) -> Failure {
    Failure::wrong_input(format!("cannot write {}: {reason}; choose another folder with --out", path.visible()))
}
