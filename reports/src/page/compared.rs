//! The page of a comparison.

use super::{document, escaped, notes, plots, table};
use crate::{
    compare::{Comparison, Pair, ScenarioComparison, SeriesPair},
    figure::Figure,
    text::{
        compared::{distance_cells, metric_rows, share},
        optional_duration, signed_duration,
    },
};

/// The page of a comparison with its plots. The same comparison gives the same bytes.
pub fn comparison(comparison: &Comparison, figures: &[Figure]) -> String {
    let names: Vec<&str> = comparison.scenarios.iter().map(|scenario| scenario.scenario.as_str()).collect();
    let title = format!("Comparison: {}", names.join(", "));
    let scenarios: String = comparison.scenarios.iter().map(sides).collect();
    let tables: String = comparison.scenarios.iter().flat_map(|scenario| &scenario.pairs).map(pair).collect();
    let body = [format!("<h1>{}</h1>\n", escaped(&title)), scenarios, plots(figures), tables, notes(&comparison.notes)];
    document(&title, &body.concat())
}

fn sides(scenario: &ScenarioComparison) -> String {
    let mut rows = Vec::new();
    for (index, side) in scenario.sides.iter().enumerate() {
        for member in &side.members {
            rows.push(vec![
                side.name.clone(),
                if index == 0 { "reference" } else { "against it" }.to_owned(),
                member.seed.to_string(),
                if member.summary.pass { "PASS" } else { "FAIL" }.to_owned(),
                member.place.display().to_string(),
            ]);
        }
    }
    table(&["side", "", "seed", "verdict", "run"], &rows)
}

fn pair(pair: &Pair) -> String {
    let headings = ["phase", "Wasserstein-1", "Kolmogorov–Smirnov", "p50", "p90", "p99", "status mix"];
    let distances: Vec<Vec<String>> =
        pair.phases.iter().map(|phase| [vec![phase.phase.clone()], distance_cells(phase)].concat()).collect();
    let series = [("goodput", pair.goodput), ("latency p95", pair.latency_p95)];
    let series: Vec<Vec<String>> = series.into_iter().map(|(name, pair)| series_row(name, pair)).collect();
    let mut metrics = Vec::new();
    for phase in &pair.phases {
        metrics.extend(metric_rows(phase).into_iter().map(|row| [vec![phase.phase.clone()], row].concat()));
    }
    format!(
        "<h2>{} against {}</h2>\n<p class=\"muted\">Distances of latencies and statuses</p>\n{}\
         <p class=\"muted\">Series over time</p>\n{}<p class=\"muted\">Metrics</p>\n{}",
        escaped(&pair.side),
        escaped(&pair.reference),
        table(&headings, &distances),
        table(&["series", "nRMSE", "late by", "window"], &series),
        table(&["phase", "metric", &pair.reference, &pair.side, "difference", "relative"], &metrics),
    )
}

fn series_row(name: &str, pair: SeriesPair) -> Vec<String> {
    vec![
        name.to_owned(),
        pair.nrmse.map_or_else(|| "n/a".to_owned(), share),
        signed_duration(pair.lag_s),
        optional_duration(Some(pair.window_s)),
    ]
}
