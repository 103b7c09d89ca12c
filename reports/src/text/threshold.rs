//! The report of a search for boundaries as plain text: for `report.txt` and the terminal.

use crate::threshold::ThresholdAnalysis;

/// The report: what `sim tip` prints, every value that was asked, and where it is from. Ends with a line break.
pub fn report(threshold: &ThresholdAnalysis) -> String {
    let tip = &threshold.search;
    let mut sections = vec![tip.render()];
    sections.extend(threshold.question.as_ref().map(|question| format!("  {question}\n")));
    if tip.identity.and.is_some() {
        sections.push(format!("Every value that was asked\n\n{}", tip.values().render()));
    }
    let calibration = &tip.identity.calibration;
    sections.push(format!(
        "  played  by version {}\n  times   calibration {}, sha256 {}\n",
        tip.identity.version, calibration.name, calibration.sha256
    ));
    sections.join("\n")
}
