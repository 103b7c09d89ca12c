//! Reads run folders, as `sim` and `real` write them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    experiment::{sweep::SweepRecord, threshold::ThresholdRecord},
    measure::Summary,
    record::{Records, RequestRow},
    run_folder::{ATTEMPTS, AllRows, EVENTS, REQUESTS, RUN, RowFile, RunInfo, SCENARIO, SUMMARY},
    scenario::Scenario,
};
use serde::de::DeserializeOwned;

use super::ReadError;
use crate::run::RecordedRun;

/// Reads the run folder at `place`. Only its requests are required.
pub(super) fn run(place: &Path) -> Result<RecordedRun, ReadError> {
    if !place.exists() {
        return Err(ReadError::Missing(place.to_owned()));
    }
    if !place.join(REQUESTS.name).is_file() {
        return Err(ReadError::NoRun { path: place.to_owned(), remedy: remedy(place) });
    }
    let mut notes = Vec::new();
    let records = Records {
        requests: complete(REQUESTS.read(place)?, REQUESTS.name, &mut notes),
        attempts: optional(place, &ATTEMPTS, "attempts are not known", &mut notes)?,
        events: optional(place, &EVENTS, "faults are not known", &mut notes)?,
    };
    // A report is possible without the scenario, so an error of reading it is not fatal.
    let scenario_text = fs::read_to_string(place.join(SCENARIO)).ok();
    let scenario = scenario(place, scenario_text.as_deref(), &mut notes);
    let info: Option<RunInfo> = json(place, RUN, "the seed and the world are not known", &mut notes)?;
    let stored: Option<Summary> = json(place, SUMMARY, "there is nothing to compare the metrics with", &mut notes)?;
    let duration = duration(scenario.as_ref(), stored.as_ref(), &records.requests, &mut notes);
    Ok(RecordedRun {
        scenario_name: name(place, scenario.as_ref(), stored.as_ref()),
        world: info.as_ref().map_or_else(|| "log".to_owned(), |info| info.world.clone()),
        seed: info.as_ref().map_or(0, |info| info.seed),
        duration,
        servers: scenario.as_ref().map_or(0, |scenario| scenario.servers.replicas),
        place: place.to_owned(),
        records,
        scenario,
        scenario_text,
        info,
        stored,
        notes,
    })
}

/// Returns the advice for a folder without requests.
fn remedy(place: &Path) -> String {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join(REQUESTS.name).is_file() || SweepRecord::is_at(path) || ThresholdRecord::is_at(path))
        .collect();
    runs.sort();
    match runs.as_slice() {
        [] => "name a run folder, such as runs/crash/sim-seed42".to_owned(),
        [one] => format!("did you mean {}?", one.display()),
        [one, .., last] => format!("it holds {} run folders, from {} to {}", runs.len(), one.display(), last.display()),
    }
}

/// Returns the rows of all complete lines, and adds a note if the last line of the file is not complete.
fn complete<T>(read: AllRows<T>, file: &str, notes: &mut Vec<String>) -> Vec<T> {
    if read.is_cut_off {
        notes.push(format!("{file} ends in the middle of line {}; the lines before it are used", read.rows.len() + 1));
    }
    read.rows
}

/// Reads a file of rows that may be missing, and adds a note with what is lost without it.
fn optional<T: DeserializeOwned + Send>(
    place: &Path,
    file: &'static RowFile<T>,
    loss: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<T>, ReadError> {
    if !place.join(file.name).is_file() {
        notes.push(format!("{} is missing: {loss}", file.name));
        return Ok(Vec::new());
    }
    Ok(complete(file.read(place)?, file.name, notes))
}

/// Reads a JSON file that may be missing, and adds a note with what is lost without it.
fn json<T: DeserializeOwned>(
    place: &Path,
    file: &str,
    loss: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, ReadError> {
    let path = place.join(file);
    let Ok(text) = fs::read_to_string(&path) else {
        notes.push(format!("{file} is missing: {loss}"));
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|error| ReadError::Content { path, reason: error.to_string() })
}

/// Returns the scenario, and adds a note if it is missing or not valid.
fn scenario(place: &Path, text: Option<&str>, notes: &mut Vec<String>) -> Option<Scenario> {
    let Some(text) = text else {
        notes.push("scenario.toml is missing: the expectations are not known".to_owned());
        return None;
    };
    let origin = place.join(SCENARIO).display().to_string();
    match Scenario::parse(&origin, text, &[]) {
        Ok(scenario) => Some(scenario),
        Err(error) => {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            notes.push(format!("scenario.toml is not valid: {first}"));
            None
        }
    }
}

/// Returns the name of the scenario, or of the folder if the scenario is not known.
fn name(place: &Path, scenario: Option<&Scenario>, stored: Option<&Summary>) -> String {
    let known = scenario.map(|scenario| &scenario.name).or(stored.map(|summary| &summary.scenario));
    known.cloned().unwrap_or_else(|| place.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Returns the time for which load was offered: that of the scenario, otherwise that of the stored summary, otherwise the
/// time until the last request was intended.
fn duration(
    scenario: Option<&Scenario>,
    stored: Option<&Summary>,
    requests: &[RequestRow],
    notes: &mut Vec<String>,
) -> Duration {
    if let Some(scenario) = scenario {
        return scenario.duration;
    }
    if let Some(stored) = stored {
        return Duration::from_micros(stored.duration_us);
    }
    notes.push(
        "the duration of the load is not known; the report assumes that it ended with the last request".to_owned(),
    );
    until_last(requests)
}

/// Returns the time to the end of the second in which the last request was intended.
pub(super) fn until_last(requests: &[RequestRow]) -> Duration {
    let last = requests.iter().map(|row| row.intended_us).max();
    Duration::from_secs(last.map_or(0, |at_us| at_us / 1_000_000 + 1))
}
