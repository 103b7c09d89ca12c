//! The summary of a log that has requests and nothing else, in bounded memory.

use super::{
    GroupedValues, Lateness, Metrics, PhaseSummary, RunLabel, Summary,
    expectation::Phase,
    lateness::{PERCENTILES, late_send_us},
    metrics::{LATENCIES, RequestSums, UNCORRECTED},
    requests::{Request, Requests},
    span::Span,
    summary::{self, statuses},
    window::OfferedSeconds,
};
use crate::record::RequestRow;

/// The requests of a log, which can be visited any number of times. Their order does not matter.
pub type VisitRequests<'a> = dyn Fn(&mut dyn FnMut(&RequestRow)) + 'a;

impl Summary {
    /// Computes the summary of a log of requests without attempts and events, with this number of servers, whose load ends
    /// at `load_end_us`: what [`compute`](Self::compute) returns for it, but in memory that does not depend on its length.
    ///
    /// The requests are visited seven times, or sixteen times if their latencies do not fit in 256 MiB.
    pub fn of_log(label: RunLabel<'_>, servers: usize, load_end_us: u64, each: &VisitRequests<'_>) -> Self {
        let mut counts = Requests::none(load_end_us);
        let mut sums = RequestSums::default();
        let mut offered = OfferedSeconds::default();
        each(&mut |row| {
            let request = Request::from(row);
            counts.count(row);
            counts.sends.count(row);
            sums = std::mem::take(&mut sums).and(&request);
            offered.add(&request);
        });
        let span = Span { start_us: 0, end_us: counts.end_us() };
        let metrics = Metrics::new(&sums, &offered.uptime(span)).with_rates(&sums, span.length_us()).with_percentiles(
            percentiles(each, LATENCIES, |row| Request::from(row).latency_us()),
            percentiles(each, UNCORRECTED, |row| Request::from(row).since_sent_us()),
        );
        let succeeded = metrics.succeeded;
        let whole = PhaseSummary {
            phase: Phase::Before.to_string(),
            start_us: 0,
            end_us: span.end_us,
            metrics: metrics.clone(),
        };
        Self {
            scenario: label.scenario.to_owned(),
            seed: label.seed,
            world: label.world.to_owned(),
            duration_us: load_end_us,
            end_us: span.end_us,
            overall: metrics,
            phases: vec![whole],
            faults: Vec::new(),
            statuses: statuses(&counts),
            servers: summary::servers(&counts, servers),
            expectations: Vec::new(),
            pass: succeeded > 0,
            stopped: None,
            lateness: Lateness::of_log(&counts.sends, percentiles(each, PERCENTILES, late_send_us)),
            trusted: true,
            profile: label.profile.map(|profile| profile.name().to_owned()),
        }
    }
}

/// Returns the percentiles of a value of all requests that have it.
fn percentiles<const N: usize>(
    each: &VisitRequests<'_>,
    per_mille: [u32; N],
    value: fn(&RequestRow) -> Option<u64>,
) -> [Option<u64>; N] {
    let values = |visit: &mut dyn FnMut(usize, u64)| {
        each(&mut |row| value(row).into_iter().for_each(|value| visit(0, value)));
    };
    GroupedValues { groups: 1, each: &values }.percentiles(per_mille).pop().unwrap_or([None; N])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::sample::{LABEL, Sample, dropped, failed, ok};

    proptest! {
        #[test]
        fn a_log_has_the_summary_of_a_run_without_events(
            drawn in prop::collection::vec((0..40_u64, 0..9_000_000_u64, 0..5_u8), 0..60),
        ) {
            let rows = drawn.into_iter().map(|(half_seconds, latency, kind)| match kind {
                0 => dropped(half_seconds * 500_000),
                1 => failed(half_seconds * 500_000, latency),
                _ => ok(half_seconds * 500_000, latency),
            });
            let sample = Sample::of_seconds(15).requests(rows);
            let each = |visit: &mut dyn FnMut(&RequestRow)| sample.records.requests.iter().for_each(visit);
            prop_assert_eq!(Summary::of_log(LABEL, 2, 15_000_000, &each), sample.summary(&[]));
        }
    }
}
