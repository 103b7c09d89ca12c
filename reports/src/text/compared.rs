//! Comparisons as plain text, for `comparison.txt` and the terminal.

use kernel::{
    measure::text::{
        quantity::{count, quantity},
        shown,
        table::{Align, TextTable},
    },
    scenario::{Metric, Unit},
    visible::Visible,
};

use super::{missing, optional_duration, sections, signed_duration};
use crate::compare::{Comparison, MedianRange, MetricPair, PhasePair, ScenarioComparison, SeriesPair, SidePair};

/// Returns the comparison. It ends with a line break.
pub fn comparison(comparison: &Comparison) -> String {
    let mut sections: Vec<String> = comparison.scenarios.iter().map(scenario).collect();
    let notes = sections::notes(&comparison.notes);
    if !notes.is_empty() {
        sections.push(notes);
    }
    sections.join("\n")
}

fn scenario(scenario: &ScenarioComparison) -> String {
    let mut text = format!("{}\n\n", scenario.scenario);
    for (index, side) in scenario.sides.iter().enumerate() {
        let role = if index == 0 { "reference" } else { "compared" };
        for member in &side.members {
            let verdict = member.summary.verdict().word();
            text.push_str(&format!("  {role:<10}  {}  {verdict}  {}\n", side.name, member.place.visible()));
        }
    }
    for pair in &scenario.pairs {
        text.push_str(&format!("\n{}", self::pair(pair)));
    }
    text
}

fn pair(pair: &SidePair) -> String {
    let mut text = format!("{} against {}: metrics\n\n{}", pair.side, pair.reference, metrics(pair).render());
    text.push_str(&format!("\nDistances of latencies and statuses\n\n{}", distances(pair).render()));
    text.push_str(&format!(
        "\n  goodput over time: {}\n  latency p95 over time, by the end of requests: {}\n",
        series(pair.goodput),
        series(pair.latency_p95)
    ));
    text
}

fn series(pair: SeriesPair) -> String {
    format!(
        "nRMSE {}, late by {}, in windows of {}",
        shown(pair.nrmse, share),
        signed_duration(pair.lag_s),
        optional_duration(Some(pair.window_s))
    )
}

fn metrics(pair: &SidePair) -> TextTable {
    let mut table = TextTable::new(&[
        ("phase", Align::Left),
        ("metric", Align::Left),
        (pair.reference.as_str(), Align::Right),
        (pair.side.as_str(), Align::Right),
        ("difference", Align::Right),
        ("relative", Align::Right),
    ]);
    for phase in &pair.phases {
        for (index, row) in metric_rows(phase).into_iter().enumerate() {
            let name = if index == 0 { phase.phase.clone() } else { String::new() };
            table.row([vec![name], row].concat());
        }
    }
    table
}

/// Returns the rows of a phase: metric, reference, side, difference, relative difference.
pub(crate) fn metric_rows(phase: &PhasePair) -> Vec<Vec<String>> {
    phase.metrics.iter().map(|(metric, values)| metric_row(*metric, *values)).collect()
}

fn metric_row(metric: Metric, values: MetricPair) -> Vec<String> {
    vec![
        metric.name().to_owned(),
        median(metric, values.reference),
        median(metric, values.side),
        values.difference.map_or_else(missing, |difference| signed(metric, difference)),
        shown(values.relative, signed_percent),
    ]
}

fn median(metric: Metric, values: Option<MedianRange>) -> String {
    values.map_or_else(missing, |values| quantity(Some(metric), values.median))
}

fn distances(pair: &SidePair) -> TextTable {
    let mut table = TextTable::new(&[
        ("phase", Align::Left),
        ("Wasserstein-1", Align::Right),
        ("Kolmogorov-Smirnov", Align::Right),
        ("p50", Align::Right),
        ("p90", Align::Right),
        ("p99", Align::Right),
        ("status mix", Align::Right),
    ]);
    for phase in &pair.phases {
        table.row([vec![phase.phase.clone()], distance_cells(phase)].concat());
    }
    table
}

/// Returns the cells of the distances of a phase, without the name of the phase.
pub(crate) fn distance_cells(phase: &PhasePair) -> Vec<String> {
    let distances = phase.distances;
    vec![
        optional_duration(distances.wasserstein_1_s),
        shown(distances.kolmogorov_smirnov, share),
        shown(distances.p50_relative, signed_percent),
        shown(distances.p90_relative, signed_percent),
        shown(distances.p99_relative, signed_percent),
        shown(distances.total_variation, share),
    ]
}

pub(crate) fn share(value: f64) -> String {
    format!("{value:.3}")
}

fn signed_percent(share: f64) -> String {
    if share == 0.0 {
        return "0 %".to_owned();
    }
    // Of a difference that rounds to nothing the sign would be noise.
    let percent = (share * 1e3).round() / 10.0;
    if percent == 0.0 { "0.0 %".to_owned() } else { format!("{percent:+.1} %") }
}

/// Returns a difference of a metric with a sign and a unit.
fn signed(metric: Metric, difference: f64) -> String {
    let size = difference.abs();
    let text = match metric.unit() {
        // A difference of shares is in percentage points.
        Unit::Share => format!("{} pp", count((size * 1e4).round() / 100.0)),
        _ => quantity(Some(metric), size),
    };
    match difference {
        0.0 => text,
        less if less < 0.0 => format!("-{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_rounds_to_nothing_has_no_sign() {
        assert_eq!(
            [0.0, -0.0004, 0.0004, -0.0006, 0.125].map(signed_percent),
            ["0 %", "0.0 %", "0.0 %", "-0.1 %", "+12.5 %"]
        );
    }
}
