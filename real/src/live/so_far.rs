//! The verdict so far: what the expectations would say if the run ended now.

use kernel::{
    measure::quantity,
    scenario::{Expectation, Metric},
};

use super::{board::Board, tally::SECOND_US};

/// How an expectation stands while the run is under way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    Holds,
    Fails(f64),
    /// It is about a phase, or about a metric that only the whole record gives.
    Open,
}

/// Returns the verdict so far, in a line.
pub(super) fn so_far(board: &Board, now_us: u64) -> String {
    let all = board.expectations.len();
    if all == 0 {
        return "nothing is expected".to_owned();
    }
    let standings: Vec<Standing> =
        board.expectations.iter().map(|expectation| standing(expectation, board, now_us)).collect();
    let count = |wanted: fn(&Standing) -> bool| standings.iter().filter(|standing| wanted(standing)).count();
    let held = count(|standing| *standing == Standing::Holds);
    let open = count(|standing| *standing == Standing::Open);
    let failing = board.expectations.iter().zip(&standings).find_map(|(expectation, standing)| match standing {
        Standing::Fails(value) => Some(format!(
            "; {} fails: {}",
            expectation.metric.name(),
            quantity::quantity(Some(expectation.metric), *value)
        )),
        _ => None,
    });
    format!("{held} of {all} expectations hold, {open} open{}", failing.unwrap_or_default())
}

fn standing(expectation: &Expectation, board: &Board, now_us: u64) -> Standing {
    let value = if expectation.during.is_none() { value(expectation.metric, board, now_us) } else { None };
    let Some(value) = value else { return Standing::Open };
    let holds = expectation.min.is_none_or(|min| value >= min) && expectation.max.is_none_or(|max| value <= max);
    if holds { Standing::Holds } else { Standing::Fails(value) }
}

/// Returns the metric so far; none if the dashboard does not count what it needs.
fn value(metric: Metric, board: &Board, now_us: u64) -> Option<f64> {
    let overall = &board.overall;
    let latency = |per_mille| overall.latencies.percentile(per_mille).map(|us| us as f64 / SECOND_US as f64);
    let per_second = |count: u64| (now_us > 0).then(|| count as f64 * SECOND_US as f64 / now_us as f64);
    match metric {
        Metric::SuccessRate => (overall.ended > 0).then(|| overall.succeeded as f64 / overall.ended as f64),
        Metric::Goodput => per_second(overall.succeeded),
        Metric::Throughput => per_second(overall.ended - board.dropped),
        Metric::LatencyP50 => latency(500),
        Metric::LatencyP90 => latency(900),
        Metric::LatencyP95 => latency(950),
        Metric::LatencyP99 => latency(990),
        Metric::LatencyP999 => latency(999),
        Metric::LatencyMax => latency(1000),
        Metric::Retries => Some(board.retries as f64),
        Metric::Failovers => Some(board.failovers as f64),
        Metric::Ejections => Some(board.ejections as f64),
        Metric::Dropped => Some(board.dropped as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kernel::scenario::Phase;

    use super::*;
    use crate::live::board::sample::sample_run;

    #[test]
    fn what_can_be_counted_holds_or_fails_and_the_rest_is_open() {
        let (mut board, now_us) = sample_run();
        assert_eq!(so_far(&board, now_us), "nothing is expected");
        let expect = |metric, min, max, during| Expectation { metric, during, min, max };
        board.expectations = vec![
            expect(Metric::SuccessRate, Some(0.9), None, None),
            expect(Metric::Failovers, None, Some(1.0), None),
            expect(Metric::RecoveryTime, None, Some(5.0), None),
            expect(Metric::LatencyP95, None, Some(5.0), Some(Phase::Fault(0))),
        ];
        assert_eq!(so_far(&board, now_us), "2 of 4 expectations hold, 2 open");
        board.expectations[0].min = Some(1.0);
        assert_eq!(so_far(&board, now_us), "1 of 4 expectations hold, 2 open; success_rate fails: 99.56 %");
    }
}
