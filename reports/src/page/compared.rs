//! The page of a comparison.

use kernel::visible::Visible;

use maud::{Markup, html};

use super::{document, notes, plots, table};
use crate::{
    compare::{Comparison, ScenarioComparison, SeriesPair, SidePair},
    figure::Figure,
    run::draws,
    text::{
        answer::answer,
        compared::{distance_cells, metric_rows, share},
        optional_duration, signed_duration,
    },
};

const DISTANCES: [&str; 7] = ["phase", "Wasserstein-1", "Kolmogorov–Smirnov", "p50", "p90", "p99", "status mix"];

/// Returns the page of a comparison with its plots. The same comparison gives the same bytes.
pub fn comparison(comparison: &Comparison, figures: &[Figure]) -> String {
    let names: Vec<&str> = comparison.scenarios.iter().map(|scenario| scenario.scenario.as_str()).collect();
    let title = format!("Comparison: {}", names.join(", "));
    let body = html! {
        h1 { (title) }
        @for pair in comparison.scenarios.iter().flat_map(|scenario| &scenario.pairs) {
            p class="answer" { (answer(pair)) }
        }
        @for scenario in &comparison.scenarios { (sides(scenario)) }
        (plots(figures))
        @for pair in comparison.scenarios.iter().flat_map(|scenario| &scenario.pairs) { (pair_tables(pair)) }
        (notes(&comparison.notes))
    };
    document(&title, &body)
}

/// Returns the table of the runs of each side.
fn sides(scenario: &ScenarioComparison) -> Markup {
    let mut rows = Vec::new();
    for (index, side) in scenario.sides.iter().enumerate() {
        for member in &side.members {
            rows.push(vec![
                side.name.clone(),
                if index == 0 { "reference" } else { "compared" }.to_owned(),
                draws(member.seed, &member.branches),
                member.summary.verdict().word().to_owned(),
                member.place.visible().to_string(),
            ]);
        }
    }
    table(&["side", "", "seed", "verdict", "run"], &rows)
}

fn pair_tables(pair: &SidePair) -> Markup {
    let mut distances = Vec::new();
    let mut metrics = Vec::new();
    for phase in &pair.phases {
        distances.push([vec![phase.phase.clone()], distance_cells(phase)].concat());
        metrics.extend(metric_rows(phase).into_iter().map(|row| [vec![phase.phase.clone()], row].concat()));
    }
    let series =
        [series_row("goodput", pair.goodput), series_row("latency p95, by the end of requests", pair.latency_p95)];
    html! {
        h2 { (pair.side) " against " (pair.reference) }
        p class="muted" { "Distances of latencies and statuses" }
        (table(&DISTANCES, &distances))
        p class="muted" { "Series over time" }
        (table(&["series", "nRMSE", "late by", "window"], &series))
        p class="muted" { "Metrics" }
        (table(&["phase", "metric", &pair.reference, &pair.side, "difference", "relative"], &metrics))
    }
}

fn series_row(name: &str, pair: SeriesPair) -> Vec<String> {
    vec![
        name.to_owned(),
        pair.nrmse.map_or_else(|| "n/a".to_owned(), share),
        signed_duration(pair.lag_s),
        optional_duration(Some(pair.window_s)),
    ]
}
