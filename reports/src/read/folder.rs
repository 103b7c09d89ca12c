//! Reads run folders, as `sim` and `real` write them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    experiment::{sweep::SweepRecord, threshold::ThresholdRecord},
    measure::Summary,
    record::{CallRow, EventRow},
    run_folder::{ATTEMPTS, CALLS, EVENTS, REQUESTS, RUN, RowFile, RunInfo, RunState, SCENARIO, SUMMARY, sort_rows},
    scenario::Scenario,
    visible::Visible,
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::{ReadError, read_text};
use crate::{
    rows::{AllRequests, PackedRow, RequestsRead, RowTable, RunTables, Spill, TableBuilder},
    run::RecordedRun,
};

/// Reads the run folder at `place`. Only its requests are required.
pub(super) fn run(place: &Path) -> Result<RecordedRun, ReadError> {
    if !place.join(REQUESTS.name).is_file() {
        return Err(ReadError::NoRun { path: place.to_owned(), remedy: remedy(place) });
    }
    let mut notes = Vec::new();
    let state = RunState::read(place);
    // Of a run that is not complete, rows are in order of arrival.
    let sorted = state.as_ref().map(|_| sorted_rows(place)).transpose()?;
    let rows = sorted.as_ref().map_or(place, TempDir::path);
    let spill = Spill::default();
    let requests = requests(rows, &spill, &mut notes)?;
    let attempts = optional(rows, &ATTEMPTS, &spill, "attempts are not known", |_| true, &mut notes)?;
    let events = optional(rows, &EVENTS, &spill, "faults are not known", EventRow::is_of_load, &mut notes)?;
    let calls = inner_calls(rows)?;
    // A report is possible without the scenario, so an error of reading it is not fatal.
    let scenario_text = read_text(&place.join(SCENARIO)).ok();
    let scenario = scenario(place, scenario_text.as_deref(), &mut notes);
    let info: Option<RunInfo> = json(place, RUN, "the seed and the world are not known", &mut notes)?;
    let stored: Option<Summary> = match &state {
        Some(state) => {
            notes.push(format!("the run {}", state.describe()));
            None
        }
        None => json(place, SUMMARY, "there is nothing to compare the metrics with", &mut notes)?,
    };
    let duration = duration(scenario.as_ref(), stored.as_ref(), requests.last_us, &mut notes);
    // Load was offered until the run ended, about when its last request was intended.
    let offered = state.as_ref().map(|_| Duration::from_micros(requests.last_us.unwrap_or_default()));
    let duration = offered.map_or(duration, |offered| offered.min(duration));
    notes.extend(requests.note());
    Ok(RecordedRun {
        scenario_name: name(place, scenario.as_ref(), stored.as_ref()),
        world: info.as_ref().map_or_else(|| "log".to_owned(), |info| info.world.clone()),
        seed: info.as_ref().map_or(0, |info| info.seed),
        duration,
        // The scenario knows servers that never answered, so it is preferred.
        servers: scenario.as_ref().map_or(requests.servers, |scenario| scenario.servers.replicas),
        place: place.to_owned(),
        rows: RunTables { requests: requests.table, attempts, events, calls },
        scenario,
        scenario_text,
        info,
        stored,
        state,
        notes,
    })
}

/// Returns a folder with the rows of the run folder at `place` in their order.
fn sorted_rows(place: &Path) -> Result<TempDir, ReadError> {
    let sorted = tempfile::tempdir().map_err(ReadError::unreadable(place))?;
    sort_rows(place, sorted.path())?;
    Ok(sorted)
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
        [one] => format!("did you mean {}?", one.visible()),
        [one, .., last] => format!("it holds {} run folders, from {} to {}", runs.len(), one.visible(), last.visible()),
    }
}

/// Reads the requests.
fn requests(place: &Path, spill: &Spill, notes: &mut Vec<String>) -> Result<AllRequests, ReadError> {
    let folded =
        REQUESTS.fold(place, || RequestsRead::new(spill), |part, mut row| part.push(&mut row), RequestsRead::finish)?;
    let all = AllRequests::from_parts(folded.parts);
    notes.extend(folded.is_cut_off.then(|| cut_off(REQUESTS.name, all.table.len())));
    Ok(all)
}

/// Returns the note on a file whose last line is not complete, behind that many rows.
fn cut_off(file: &str, rows: usize) -> String {
    format!("{file} ends in the middle of line {}; the lines before it are used", rows + 1)
}

/// Reads a file of rows that may be missing, and adds a note with what is lost without it.
fn optional<T: PackedRow + DeserializeOwned>(
    place: &Path,
    file: &'static RowFile<T>,
    spill: &Spill,
    loss: &str,
    keep: impl Fn(&T) -> bool + Sync,
    notes: &mut Vec<String>,
) -> Result<RowTable<T>, ReadError> {
    let mut table = RowTable::default();
    if !place.join(file.name).is_file() {
        notes.push(format!("{} is missing: {loss}", file.name));
        return Ok(table);
    }
    let folded = file.fold(
        place,
        || TableBuilder::new(spill),
        |part, row| {
            if keep(&row) {
                part.push(&row);
            }
        },
        TableBuilder::finish,
    )?;
    folded.parts.into_iter().for_each(|part| table.append(part));
    notes.extend(folded.is_cut_off.then(|| cut_off(file.name, table.len())));
    Ok(table)
}

/// Reads the inner calls of a run, if it has some.
fn inner_calls(place: &Path) -> Result<Vec<CallRow>, ReadError> {
    if !place.join(CALLS.name).is_file() {
        return Ok(Vec::new());
    }
    Ok(CALLS.lines(place)?.collect::<Result<_, _>>()?)
}

/// Reads a JSON file that may be missing, and adds a note with what is lost without it.
fn json<T: DeserializeOwned>(
    place: &Path,
    file: &str,
    loss: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, ReadError> {
    let path = place.join(file);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            notes.push(format!("{file} is missing: {loss}"));
            return Ok(None);
        }
        Err(error) => return Err(ReadError::unreadable(&path)(error)),
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
    last_us: Option<u64>,
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
    until_last(last_us)
}

/// Returns the time to the end of the second in which the last request was intended.
pub(super) fn until_last(last_us: Option<u64>) -> Duration {
    Duration::from_secs(last_us.map_or(0, |at_us| at_us / 1_000_000 + 1))
}
