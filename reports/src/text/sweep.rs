//! The report of a sweep as plain text, for `report.txt` and the terminal.

use kernel::experiment::sweep::SweepReport;

use super::sections;
use crate::sweep::SweepAnalysis;

/// Returns the report: the output of `sim`, the spread of metrics in each variant, and notes. It ends with a line break.
pub fn report(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> String {
    let mut sections = vec![report.render()];
    sections.extend(sweep.question.as_ref().map(|question| format!("  {question}\n")));
    let spreads = report.spreads_by_variant();
    if !spreads.rows().is_empty() {
        sections.push(format!("Spread over the seeds of each variant\n\n{}", spreads.render()));
    }
    sections.push(sections::notes(&sweep.notes));
    let identity = &sweep.runs.identity;
    sections.push(super::origin(&identity.version, &identity.calibration));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}
