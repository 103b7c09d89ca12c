//! The page of a search for a threshold.

use maud::{Markup, html};

use super::{Verdict, aligned, document, experiment_origin, head, notes, numbers, plots};
use crate::{figure::Figure, threshold::ThresholdAnalysis};

const TIPS: Verdict = Verdict { class: "none", text: "TIPS" };

/// Returns the page of a search with its plot. The same folder gives the same bytes.
pub fn threshold(threshold: &ThresholdAnalysis, figures: &[Figure]) -> String {
    let search = &threshold.search;
    let body = html! {
        (head(TIPS, &threshold.title(), threshold.question.as_deref()))
        p { (search.verdict().trim_start_matches("TIPS").trim()) }
        (numbers(&overview(threshold)))
        (plots(figures))
        h2 { "Boundaries" }
        (aligned(&search.boundary_table()))
        (replays(threshold))
        h2 { "All tested values" }
        (aligned(&search.values()))
        (notes(&search.remarks()))
        (experiment_origin(&search.identity.version, &search.identity.calibration, &search.scenario))
    };
    document(&threshold.title(), &body)
}

fn overview(threshold: &ThresholdAnalysis) -> [(&'static str, String); 4] {
    let points = &threshold.search.points;
    [
        ("boundaries", threshold.boundaries().count().to_string()),
        ("values", points.len().to_string()),
        ("undecided", points.iter().filter(|point| !point.decided).count().to_string()),
        ("runs", points.iter().map(|point| point.runs).sum::<u64>().to_string()),
    ]
}

/// Returns the command that repeats a run on each side of each boundary.
fn replays(threshold: &ThresholdAnalysis) -> Markup {
    html! {
        @for (side, command) in threshold.search.replays() {
            p { "a run that " (side.name()) }
            pre { (command) }
        }
    }
}
