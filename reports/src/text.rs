//! Reports as plain text: for `report.txt`, `comparison.txt` and the terminal.

pub mod compared;
pub mod fidelity;
mod sections;
pub mod sweep;
pub mod threshold;

use kernel::measure::text::{
    MISSING,
    quantity::{duration, moment, percent},
    shown,
};

use crate::analyse::RunAnalysis;

pub(crate) use self::sections::recovery;

/// The report of one run. Ends with a line break.
pub fn report(analysis: &RunAnalysis) -> String {
    let sections = [
        analysis.summary.render(),
        sections::question(analysis),
        sections::latency(analysis),
        sections::faults(analysis),
        sections::requests_around_faults(analysis),
        sections::detection(analysis),
        sections::answers(analysis),
        sections::attempts(analysis),
        sections::notes(&analysis.notes),
        sections::origin(analysis),
    ];
    let present: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    present.join("\n")
}

pub(crate) fn optional_duration(seconds: Option<f64>) -> String {
    shown(seconds, duration)
}

pub(crate) fn optional_percent(share: Option<f64>) -> String {
    shown(share, percent)
}

/// With a sign: `+0.20 s`.
pub(crate) fn signed_duration(seconds: Option<f64>) -> String {
    match seconds {
        None => MISSING.to_owned(),
        Some(seconds) if seconds < 0.0 => format!("-{}", duration(-seconds)),
        Some(seconds) => format!("+{}", duration(seconds)),
    }
}

pub(crate) fn moment_s(seconds: f64) -> String {
    moment((seconds * 1e6).round() as u64)
}
