//! Reports as plain text: for `report.txt`, `comparison.txt` and the terminal.

pub mod alerts;
pub(crate) mod answer;
pub mod compared;
pub mod distribution;
pub mod fidelity;
mod sections;
pub mod sweep;
pub mod threshold;

use kernel::{
    measure::text::{
        MISSING,
        quantity::{duration, moment, percent},
        shown,
    },
    run_folder::CalibrationInfo,
};

use crate::analyse::RunAnalysis;

pub(crate) use self::sections::{KIND_COLUMNS, STREAM_COLUMNS, kind_row, recovery, stream_row};

/// The verdict on a run that is not complete.
pub(crate) const INTERRUPTED: &str = "INTERRUPTED";

/// Returns the report of one run. It ends with a line break.
pub fn report(analysis: &RunAnalysis) -> String {
    let sections = [
        sections::summary(analysis),
        sections::question(analysis),
        sections::latency(analysis),
        sections::streams(analysis),
        sections::faults(analysis),
        sections::requests_around_faults(analysis),
        sections::detection(analysis),
        sections::answers(analysis),
        sections::attempts(analysis),
        sections::kinds(analysis),
        sections::notes(&analysis.notes),
        sections::origin(analysis),
    ];
    // Sections are separated by empty lines, so an empty section would leave two.
    let present: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    present.join("\n")
}

/// Returns the text for a value that does not exist.
fn missing() -> String {
    MISSING.to_owned()
}

/// Returns the version and the calibration that an experiment was run with.
fn origin(version: &str, calibration: &CalibrationInfo) -> String {
    format!("  run by  version {version}\n  times   calibration {}, sha256 {}\n", calibration.name, calibration.sha256)
}

pub(crate) fn optional_duration(seconds: Option<f64>) -> String {
    shown(seconds, duration)
}

pub(crate) fn optional_percent(share: Option<f64>) -> String {
    shown(share, percent)
}

/// Returns a duration with a sign, such as `+0.20 s`.
pub(crate) fn signed_duration(seconds: Option<f64>) -> String {
    match seconds {
        None => MISSING.to_owned(),
        Some(seconds) if seconds < 0.0 => format!("-{}", duration(-seconds)),
        Some(seconds) => format!("+{}", duration(seconds)),
    }
}

/// Returns a time of the run in the notation of tables.
pub(crate) fn moment_s(seconds: f64) -> String {
    moment((seconds * 1e6).round() as u64)
}
