//! Properties of the summary of any run.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    Extent, Metrics, Summary,
    sample::{
        Sample, attempt, dropped, event, expect, failed, fault_end, fault_start, finished, healthy, ok, unhealthy,
    },
};
use crate::{
    measure::expectation::{Expectation, Phase},
    measure::metric::Metric,
    record::{AttemptRow, Event, EventRow, RequestRow},
    status::Code,
};

const S: u64 = 1_000_000;
const RUN_S: u64 = 20;
const SERVERS: [&str; 2] = ["server-0", "server-1"];
/// Returns times in steps of half a second, which is as fine as they need to be to fall on and beside every boundary.
fn time() -> impl Strategy<Value = u64> {
    (0..2 * RUN_S).prop_map(|half_seconds| half_seconds * S / 2)
}

fn request() -> impl Strategy<Value = RequestRow> {
    let sent = (time(), 0..30_000u64, 1..4u32, 0..8u8).prop_map(|(at, latency, attempts, kind)| RequestRow {
        attempts,
        failovers: attempts / 2,
        ..if kind == 0 { failed(at, latency * 100) } else { ok(at, latency) }
    });
    prop_oneof![12 => sent, 1 => time().prop_map(dropped)]
}

/// Returns a fault's start and, usually, its end.
fn fault(index: usize) -> impl Strategy<Value = Vec<EventRow>> {
    (time(), 0..10u64, 0..4u8, 0..2usize).prop_map(move |(at, seconds, kind, server)| {
        let kind_name = if kind == 0 { "crash" } else { "freeze" };
        let start = fault_start(index, kind_name, SERVERS[server], at);
        let end = fault_end(index, SERVERS[server], at + seconds * S);
        if kind == 1 { vec![start] } else { vec![start, end] }
    })
}

fn other_event() -> impl Strategy<Value = EventRow> {
    (time(), 0..2usize, 0..4u8, 0..80u64).prop_map(|(at, server, kind, request)| match kind {
        0 => unhealthy(SERVERS[server], at),
        1 => healthy(SERVERS[server], at),
        2 => event(at, SERVERS[server], Event::Listening, None),
        _ => finished(request, 1, at),
    })
}

fn sample(faults: usize) -> impl Strategy<Value = Sample> {
    let faults: Vec<_> = (0..faults).map(fault).collect();
    let ends = vec((time(), any::<bool>(), 1..3_u32), 0..60);
    (vec(request(), 0..80), faults, vec(other_event(), 0..40), ends).prop_map(|(requests, faults, others, ends)| {
        let attempts = ends.into_iter().zip(0..).map(|((end, is_ok, number), request)| AttemptRow {
            start_us: end.saturating_sub(S),
            ..attempt(request, number, end, if is_ok { Code::Ok } else { Code::Unavailable })
        });
        let events = faults.into_iter().flatten().chain(others);
        Sample::of_seconds(RUN_S).requests(requests).attempts(attempts).events(events)
    })
}

/// Returns an expectation on every metric, of the run and of every phase that there may be.
fn every_expectation() -> Vec<Expectation> {
    let phases = [
        None,
        Some(Phase::Before),
        Some(Phase::Fault(0)),
        Some(Phase::Fault(1)),
        Some(Phase::Between),
        Some(Phase::After),
    ];
    phases
        .into_iter()
        .flat_map(|during| {
            Metric::ALL.map(move |metric| Expectation { during, ..expect(metric, Some(0.123_456), Some(98.765)) })
        })
        .collect()
}

fn every_metrics(summary: &Summary) -> impl Iterator<Item = &Metrics> {
    std::iter::once(&summary.overall).chain(summary.phases.iter().map(|phase| &phase.metrics))
}

fn json(summary: &Summary) -> String {
    serde_json::to_string(summary).expect("a summary is plain data")
}

proptest! {
    #[test]
    fn the_order_of_the_rows_changes_nothing(
        sample in (0..3usize).prop_flat_map(sample),
        picks in vec(any::<Index>(), 200),
    ) {
        let mut picks = picks.into_iter().cycle();
        let shuffled = sample.clone().shuffled(|left| picks.next().map_or(0, |index| index.index(left)));
        let expectations = every_expectation();
        prop_assert_eq!(json(&sample.summary(&expectations)), json(&shuffled.summary(&expectations)));
    }

    #[test]
    fn every_figure_is_finite_and_in_range(sample in (0..3usize).prop_flat_map(sample)) {
        let summary = sample.summary(&[]);
        for metrics in every_metrics(&summary) {
            for value in Metric::ALL.into_iter().filter_map(|metric| metrics.get(metric)) {
                prop_assert!(value.is_finite() && value >= 0.0);
            }
            for share in [metrics.success_rate, metrics.availability].into_iter().flatten() {
                prop_assert!(share <= 1.0);
            }
            prop_assert!(metrics.latency_p50 <= metrics.latency_p75 && metrics.latency_p75 <= metrics.latency_p90);
            prop_assert!(metrics.latency_p90 <= metrics.latency_p95 && metrics.latency_p95 <= metrics.latency_p99);
            prop_assert!(metrics.latency_p99 <= metrics.latency_p999 && metrics.latency_p999 <= metrics.latency_max);
        }
    }

    #[test]
    fn counts_add_up(sample in (0..3usize).prop_flat_map(sample)) {
        let summary = sample.summary(&[]);
        let overall = &summary.overall;
        prop_assert_eq!(overall.requests, sample.records.requests.len() as u64);
        prop_assert_eq!(overall.requests, overall.completed + overall.dropped);
        prop_assert_eq!(overall.requests, summary.statuses.values().sum::<u64>());
        prop_assert_eq!(overall.succeeded, summary.statuses.get("OK").copied().unwrap_or(0));
        prop_assert!(summary.servers.values().sum::<u64>() <= overall.completed);
    }

    #[test]
    fn one_fault_divides_the_run_in_three(sample in sample(1)) {
        let summary = sample.summary(&[]);
        let mut at_us = 0;
        for phase in &summary.phases {
            prop_assert_eq!(phase.start_us, at_us);
            at_us = phase.end_us;
        }
        prop_assert_eq!(at_us, summary.end_us);
        let sum = |count: fn(&Metrics) -> u64| summary.phases.iter().map(|phase| count(&phase.metrics)).sum::<u64>();
        prop_assert_eq!(sum(|metrics| metrics.requests), summary.overall.requests);
        prop_assert_eq!(sum(|metrics| metrics.succeeded), summary.overall.succeeded);
        prop_assert_eq!(sum(|metrics| metrics.duplicates), summary.overall.duplicates);
        if !summary.faults.is_empty() {
            let retries = sample.records.attempts.iter().filter(|row| row.attempt > 1).count();
            prop_assert_eq!(sum(|metrics| metrics.retries), retries as u64);
        }
    }

    #[test]
    fn every_request_is_in_a_phase_and_in_several_only_if_they_are_of_faults(sample in sample(2)) {
        let summary = sample.summary(&[]);
        let extents = summary.extents();
        for row in &sample.records.requests {
            let held = |extent: &&Extent| extent.holds(row.intended_us, row.done_us.unwrap_or(row.intended_us));
            let names: Vec<&str> = extents.iter().zip(&summary.phases).filter(|(extent, _)| held(extent)).map(|(_, phase)| phase.phase.as_str()).collect();
            prop_assert!(!names.is_empty());
            prop_assert!(names.len() == 1 || names.iter().all(|name| name.starts_with("fault-")), "{:?}", names);
        }
    }

    #[test]
    fn phases_lie_in_the_run_and_after_all_faults(sample in sample(2)) {
        let summary = sample.summary(&[]);
        for phase in &summary.phases {
            prop_assert!(phase.start_us <= phase.end_us && phase.end_us <= summary.end_us);
        }
        for after in summary.phases.iter().filter(|phase| phase.phase == "after") {
            prop_assert!(summary.phases.iter().all(|phase| phase.phase == "after" || phase.end_us <= after.start_us));
        }
        for fault in &summary.faults {
            prop_assert_eq!(fault.recovery_time_s.is_some(), fault.recovered == Some(true));
        }
    }

    #[test]
    fn the_text_fits_100_columns_and_explains_what_is_missing(sample in (0..3usize).prop_flat_map(sample)) {
        let summary = sample.summary(&every_expectation());
        for checked in &summary.expectations {
            prop_assert_eq!(checked.actual.is_none(), checked.text.is_some());
            prop_assert!(checked.text.as_deref() != Some("no data"));
        }
        for line in summary.render().lines() {
            prop_assert!(line.chars().count() <= 100, "{}", line);
        }
    }
}
