//! The report of a search for a threshold as plain text, for `report.txt` and the terminal.

use crate::threshold::ThresholdAnalysis;

/// Returns the report: the output of `sim tip`, every tested value, and the origin. It ends with a line break.
pub fn report(threshold: &ThresholdAnalysis) -> String {
    let search = &threshold.search;
    let mut sections = vec![search.render()];
    sections.extend(threshold.question.as_ref().map(|question| format!("  {question}\n")));
    if search.identity.and.is_some() {
        sections.push(format!("All tested values\n\n{}", search.values().render()));
    }
    sections.push(super::origin(&search.identity.version, &search.identity.calibration));
    sections.join("\n")
}
