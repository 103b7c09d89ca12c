//! The report that is printed when a run ends.

use std::path::Path;

use serde::Serialize;

use super::{Exit, print};
use crate::{
    invariant::Violation,
    json::pretty,
    measure::{Summary, Verdict},
    visible::Visible,
};

/// Violations that the text of a report shows.
const VIOLATIONS_SHOWN_MAX: usize = 10;

/// The report at the end of a run, printed as text or as JSON.
#[derive(Debug, Serialize)]
pub struct RunReport<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// The digest of the run's records; none for real processes, whose records differ each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<&'a str>,
    /// The command that repeats this run.
    pub replay: String,
    /// The violated invariants, each of which is a bug of this project; left out if there are none.
    #[serde(rename = "broken_invariants", skip_serializing_if = "<[_]>::is_empty")]
    pub violations: &'a [Violation],
    /// The metrics and the verdict.
    #[serde(flatten)]
    pub summary: &'a Summary,
}

impl RunReport<'_> {
    /// Prints the report, as JSON if `json`, and returns the exit code of the run.
    pub fn print(&self, json: bool) -> Exit {
        if json {
            print(&pretty(self));
        } else {
            print(&self.text());
        }
        self.verdict().into()
    }

    /// Returns the verdict on the run. One that violates an invariant proves nothing about the scenario, whatever its rows say.
    fn verdict(&self) -> Verdict {
        if self.violations.is_empty() { self.summary.verdict() } else { Verdict::Broken }
    }

    /// Returns the report as text, which ends with a line break.
    pub fn text(&self) -> String {
        let digest = self.digest.map(|digest| format!("  digest  {digest}\n")).unwrap_or_default();
        let violations = self.violations_text();
        let summary = self.summary.render_as(self.verdict());
        let folder = self.folder.visible();
        format!("{summary}\n  folder  {folder}\n{digest}  replay  {}\n{violations}", self.replay)
    }

    fn violations_text(&self) -> String {
        if self.violations.is_empty() {
            return String::new();
        }
        let seed = self.summary.seed;
        let mut text =
            format!("\n  An invariant is broken (seed {seed}): a bug of this program, not of the scenario.\n");
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN_MAX) {
            text += &format!("  ✗ {violation}\n");
        }
        match self.violations.len().saturating_sub(VIOLATIONS_SHOWN_MAX) {
            0 => text,
            more => text + &format!("    and {more} more\n"),
        }
    }
}
