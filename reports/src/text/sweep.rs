//! The report of many runs as plain text: for `report.txt` and the terminal.

use kernel::experiment::sweep::SweepReport;

use super::sections;
use crate::sweep::SweepAnalysis;

/// The report: what `sim` prints of them, how metrics spread in each variant, and remarks. Ends with a line break.
pub fn report(sweep: &SweepAnalysis, account: &SweepReport<'_>) -> String {
    let mut sections = vec![account.render()];
    sections.extend(sweep.question.as_ref().map(|question| format!("  {question}\n")));
    let spreads = account.spreads_by_variant();
    if !spreads.rows().is_empty() {
        sections.push(format!("Over the seeds of each variant\n\n{}", spreads.render()));
    }
    sections.push(sections::notes(&sweep.notes));
    sections.push(origin(sweep));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

fn origin(sweep: &SweepAnalysis) -> String {
    let identity = &sweep.runs.identity;
    let calibration = &identity.calibration;
    format!(
        "  played  by version {}\n  times   calibration {}, sha256 {}\n",
        identity.version, calibration.name, calibration.sha256
    )
}
