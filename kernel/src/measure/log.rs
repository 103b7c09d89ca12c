//! The summary of a log that has requests and nothing else, in bounded memory.

use super::{
    GroupedValues, Lateness, Metrics, PhaseSummary, RunLabel, Summary,
    expectation::Phase,
    lateness::{PERCENTILES, late_send_us},
    metrics::{LATENCIES, RequestSums, UNCORRECTED},
    requests::{Request, Requests},
    span::Span,
    streams::{Stream, Streams},
    summary::{self, statuses},
    window::OfferedSeconds,
};
use crate::record::RequestRow;

/// The requests of a log, which can be visited any number of times. Their order does not matter.
pub type VisitRequests<'a> = dyn Fn(&mut dyn FnMut(&RequestRow)) + 'a;

impl Summary {
    /// Computes the summary of a log of requests without attempts and events, with this number of servers, whose load ends
    /// at `load_end_us`: what [`compute`](Self::compute) returns for it, but in memory that does not depend on its length, apart from some
    /// bytes for each reply that streams.
    ///
    /// The requests are visited three times, or up to fourteen times if their times do not fit in 256 MiB.
    pub fn of_log(label: RunLabel<'_>, servers: usize, load_end_us: u64, each: &VisitRequests<'_>) -> Self {
        let mut counts = Requests::none(load_end_us);
        let mut sums = RequestSums::default();
        let mut streams = Vec::new();
        let mut offered = OfferedSeconds::default();
        each(&mut |row| {
            let request = Request::from(row);
            counts.count(row);
            streams.extend(Stream::of_request(row));
            counts.sends.count(row);
            sums = std::mem::take(&mut sums).and(&request);
            offered.add(&request);
        });
        let span = Span { start_us: 0, end_us: counts.end_us() };
        let values = Percentiles::of_log(each);
        let metrics = Metrics::new(&sums, &offered.uptime(span))
            .with_rates(&sums, span.length_us())
            .with_percentiles(values.latencies, ranked(&values.uncorrected, UNCORRECTED));
        let metrics = Streams::new(streams).add_all(metrics);
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
            servers: summary::servers(&counts, servers, &[]),
            expectations: Vec::new(),
            pass: succeeded > 0,
            stopped: None,
            lateness: Lateness::of_log(&counts.sends, ranked(&values.late, PERCENTILES)),
            trusted: true,
            profile: label.profile.map(|profile| profile.name().to_owned()),
            changes: Vec::new(),
            wrong_results: Vec::new(),
            first_failure: None,
            edges: Vec::new(),
        }
    }
}

/// The percentiles of [`LATENCIES`] of each time of the requests, in microseconds.
struct Percentiles {
    latencies: [Option<u64>; 7],
    uncorrected: [Option<u64>; 7],
    late: [Option<u64>; 7],
}

impl Percentiles {
    /// Measures all times at once, as each visit of millions of requests takes time.
    fn of_log(each: &VisitRequests<'_>) -> Self {
        let values = |visit: &mut dyn FnMut(usize, u64)| {
            each(&mut |row| {
                let request = Request::from(row);
                let times = [request.latency_us(), request.since_sent_us(), late_send_us(row)];
                for (group, time) in times.into_iter().enumerate() {
                    time.into_iter().for_each(|time| visit(group, time));
                }
            });
        };
        let mut groups = GroupedValues { groups: 3, each: &values }.percentiles(LATENCIES).into_iter();
        let mut next = || groups.next().unwrap_or([None; 7]);
        Self { latencies: next(), uncorrected: next(), late: next() }
    }
}

/// Returns those of the percentiles of [`LATENCIES`] that are `wanted`.
fn ranked<const N: usize>(found: &[Option<u64>; 7], wanted: [u32; N]) -> [Option<u64>; N] {
    wanted.map(|wanted| LATENCIES.iter().position(|rank| *rank == wanted).and_then(|place| found[place]))
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
