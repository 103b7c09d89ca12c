//! The page of many runs.

use kernel::experiment::sweep::{SweepReport, WorstRun};
use maud::{Markup, html};

use super::{FAIL, PASS, aligned, document, head, headed_table, notes, numbers, plots, scenario};
use crate::{figure::Figure, sweep::SweepAnalysis};

/// Returns the page of many runs with its plots. The same runs give the same bytes.
pub fn sweep(sweep: &SweepAnalysis, account: &SweepReport<'_>, figures: &[Figure]) -> String {
    let is_grid = sweep.layout.is_some();
    let body = html! {
        (head(if account.pass() { PASS } else { FAIL }, &sweep.title(), sweep.question.as_deref()))
        (numbers(&overview(sweep, account)))
        @if !is_grid { (aligned(&account.expectations())) }
        (plots(figures))
        @if is_grid { (grid_tables(account)) } @else {
            (headed_table("Every metric over the seeds", &account.spreads()))
        }
        (worst_runs(sweep, account))
        (notes(&sweep.notes))
        (origin(sweep))
    };
    document(&sweep.title(), &body)
}

fn overview(sweep: &SweepAnalysis, account: &SweepReport<'_>) -> [(&'static str, String); 4] {
    let identity = &sweep.runs.identity;
    let passed = account.rows.iter().filter(|row| row.pass).count();
    [
        ("runs", format!("{} of {}", account.rows.len(), account.planned)),
        ("of which pass", passed.to_string()),
        ("seeds", identity.seeds.to_string()),
        ("variants", identity.variants.len().to_string()),
    ]
}

fn grid_tables(account: &SweepReport<'_>) -> Markup {
    html! {
        (headed_table("Settings", &account.settings()))
        (headed_table("Against variant 0, seed by seed", &account.differences()))
        (headed_table("Over the seeds of each variant", &account.spreads_by_variant()))
        @for remark in account.remarks().lines() {
            p class="muted" { (remark.trim()) }
        }
    }
}

fn worst_runs(sweep: &SweepAnalysis, account: &SweepReport<'_>) -> Markup {
    let runs: Vec<WorstRun> = account.worst();
    html! {
        @if !runs.is_empty() {
            h2 { "WorstRun runs" }
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

fn origin(sweep: &SweepAnalysis) -> Markup {
    let identity = &sweep.runs.identity;
    let calibration = &identity.calibration;
    html! {
        p class="muted" {
            "Played by version " (identity.version) ", calibration " (calibration.name) " (" (calibration.sha256) ")."
        }
        (scenario(&sweep.runs.scenario))
    }
}
