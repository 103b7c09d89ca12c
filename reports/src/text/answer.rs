//! The answer of a comparison in a sentence.

use kernel::{
    measure::text::quantity::{count, quantity},
    scenario::Metric,
};

use crate::compare::{MetricPair, PhasePair, SidePair, WHOLE};

/// The least relative difference of p95 that the answer calls a difference.
const LATENCY_MIN: f64 = 0.05;

/// The least difference of success rates that the answer calls a difference: half a thousandth.
const SUCCESS_MIN: f64 = 0.000_5;

/// Returns whether the success rates differ, then which side is slower, where and by how much. Success comes first: latencies are
/// those of all calls, so a side whose calls fail early is fast.
pub(crate) fn answer(pair: &SidePair) -> String {
    format!("{}; {}.", success(pair), latency(pair))
}

fn success(pair: &SidePair) -> String {
    let SidePair { side, reference, .. } = pair;
    match greatest(pair, Metric::SuccessRate, |values| values.difference) {
        None => format!("{side} and {reference} have no success rate in common"),
        Some((_, values)) if values.difference.unwrap_or(0.0).abs() < SUCCESS_MIN => {
            format!("The success rates of {side} and {reference} do not differ")
        }
        Some((phase, values)) => {
            let word = if values.difference.unwrap_or(0.0) > 0.0 { "more" } else { "fewer" };
            let both = both(Metric::SuccessRate, values);
            format!("With {side}, {word} calls succeed {} ({both})", during(&phase.phase))
        }
    }
}

fn latency(pair: &SidePair) -> String {
    let Some((phase, values)) = greatest(pair, Metric::LatencyP95, |values| values.relative) else {
        return "there is no latency in common".to_owned();
    };
    let relative = values.relative.unwrap_or(0.0);
    if relative.abs() < LATENCY_MIN {
        return "p95 differs by less than 5 % in every phase".to_owned();
    }
    let word = if relative > 0.0 { "higher" } else { "lower" };
    let percent = count((relative.abs() * 100.0).round());
    let both = both(Metric::LatencyP95, values);
    let fails_early = relative < 0.0 && difference(phase, Metric::SuccessRate).is_some_and(|less| less <= -SUCCESS_MIN);
    let why = if fails_early { ", with the calls that failed" } else { "" };
    format!("the p95 of {} is {percent} % {word} {} ({both}{why})", pair.side, during(&phase.phase))
}

/// Returns the difference of a metric in a phase; `None` if one of the sides does not have it.
fn difference(phase: &PhasePair, metric: Metric) -> Option<f64> {
    phase.metrics.iter().find(|(found, _)| *found == metric).and_then(|(_, values)| values.difference)
}

/// Returns the phase in which the sides differ most, the first of equals; `None` if no phase has the metric on both sides.
fn greatest(pair: &SidePair, metric: Metric, size: fn(&MetricPair) -> Option<f64>) -> Option<(&PhasePair, MetricPair)> {
    let mut greatest: Option<(&PhasePair, MetricPair)> = None;
    for phase in &pair.phases {
        let Some((_, values)) = phase.metrics.iter().find(|(found, _)| *found == metric) else { continue };
        let Some(found) = size(values).map(f64::abs).filter(|found| found.is_finite()) else { continue };
        if greatest.is_none_or(|(_, best)| size(&best).unwrap_or(0.0).abs() < found) {
            greatest = Some((phase, *values));
        }
    }
    greatest
}

fn during(phase: &str) -> String {
    match phase {
        WHOLE => "over the whole run".to_owned(),
        "before" => "before the first fault".to_owned(),
        "after" => "after the last fault".to_owned(),
        "between" => "between the faults".to_owned(),
        fault => format!("during {fault}"),
    }
}

/// Returns the value of the side against that of the reference.
fn both(metric: Metric, values: MetricPair) -> String {
    let [side, reference] = [values.side, values.reference]
        .map(|value| quantity(Some(metric), value.map_or(f64::NAN, |value| value.median)));
    format!("{side} against {reference}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{MedianRange, PhaseDistances, SeriesPair};

    fn values(reference: f64, side: f64) -> MetricPair {
        let alone = |value| Some(MedianRange { median: value, min: value, max: value });
        MetricPair {
            reference: alone(reference),
            side: alone(side),
            difference: Some(side - reference),
            relative: Some((side - reference) / reference),
        }
    }

    fn phase(name: &str, p95: MetricPair, success: MetricPair) -> PhasePair {
        PhasePair {
            phase: name.to_owned(),
            metrics: vec![(Metric::SuccessRate, success), (Metric::LatencyP95, p95)],
            distances: PhaseDistances {
                wasserstein_1_s: None,
                kolmogorov_smirnov: None,
                total_variation: None,
                p50_relative: None,
                p90_relative: None,
                p99_relative: None,
            },
        }
    }

    fn pair(phases: Vec<PhasePair>) -> SidePair {
        let series = SeriesPair { nrmse: None, lag_s: None, window_s: 1.0 };
        SidePair { reference: "A".into(), side: "B".into(), phases, goodput: series, latency_p95: series }
    }

    #[test]
    fn the_answer_names_the_phase_with_the_greatest_difference() {
        let same = values(1.0, 1.0);
        let slower = pair(vec![phase("before", values(0.02, 0.02), same), phase("fault-0", values(0.223, 0.25), same)]);
        assert_eq!(
            answer(&slower),
            "The success rates of B and A do not differ; the p95 of B is 12 % higher during fault-0 (250 ms against 223 ms)."
        );
        let alike = pair(vec![phase("fault-0", values(0.2, 0.201), values(1.0, 0.9))]);
        assert_eq!(
            answer(&alike),
            "With B, fewer calls succeed during fault-0 (90.00 % against 100 %); p95 differs by less than 5 % in every phase."
        );
        let fails_early = pair(vec![phase("fault-0", values(9.0, 0.3), values(1.0, 0.1))]);
        assert!(
            answer(&fails_early).ends_with("lower during fault-0 (300 ms against 9.00 s, with the calls that failed).")
        );
        assert!(answer(&pair(Vec::new())).contains("no latency in common"));
    }
}
