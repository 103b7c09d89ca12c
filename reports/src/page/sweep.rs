//! The page of a sweep.

use kernel::experiment::sweep::{SweepReport, WorstRun};
use maud::{Markup, html};

use super::{aligned, document, experiment_origin, head, headed_table, notes, numbers, plots};
use crate::{figure::Figure, sweep::SweepAnalysis};

/// Returns the page of a sweep with its plots. The same runs give the same bytes.
pub fn sweep(sweep: &SweepAnalysis, report: &SweepReport<'_>, figures: &[Figure]) -> String {
    let is_grid = sweep.layout.is_some();
    let body = html! {
        (head(report.verdict().into(), &sweep.title(), sweep.question.as_deref()))
        (numbers(&overview(sweep, report)))
        @if !is_grid { (aligned(&report.expectations())) }
        @if is_grid { (grid(report, figures)) } @else {
            (plots(figures))
            (headed_table("Every metric over the seeds", &report.spreads()))
        }
        (worst_runs(sweep, report))
        (notes(&sweep.notes))
        (experiment_origin(&sweep.runs.identity.version, &sweep.runs.identity.calibration, &sweep.runs.scenario))
    };
    document(&sweep.title(), &body)
}

fn overview(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> [(&'static str, String); 4] {
    let identity = &sweep.runs.identity;
    let passed = report.rows.iter().filter(|row| row.passes()).count();
    [
        ("runs", format!("{} of {}", report.rows.len(), report.planned)),
        ("passed", passed.to_string()),
        ("seeds", identity.seeds.to_string()),
        ("variants", identity.variants.len().to_string()),
    ]
}

/// Returns the settings, then how much the variants differ, then each metric of each variant.
fn grid(report: &SweepReport<'_>, figures: &[Figure]) -> Markup {
    let (differences, metrics): (Vec<Figure>, Vec<Figure>) =
        figures.iter().cloned().partition(|figure| figure.name.starts_with("difference-"));
    html! {
        (headed_table("Settings", &report.settings()))
        (plots(&differences))
        (headed_table("Differences from variant 0, paired by seed", &report.differences()))
        @for remark in report.remarks().lines() {
            p class="muted" { (remark.trim()) }
        }
        (plots(&metrics))
        (headed_table("Spread over the seeds of each variant", &report.spreads_by_variant()))
    }
}

fn worst_runs(sweep: &SweepAnalysis, report: &SweepReport<'_>) -> Markup {
    let runs: Vec<WorstRun> = report.worst();
    html! {
        @if !runs.is_empty() {
            h2 { "Worst runs" }
            @for run in &runs {
                p {
                    @if sweep.layout.is_some() { "variant " (run.variant) ", " }
                    "seed " (run.seed) ": " (run.why)
                }
                pre { (run.replay) }
            }
        }
    }
}
