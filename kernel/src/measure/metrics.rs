//! The figures of one stretch of a run.

use serde::{Deserialize, Serialize};

use super::{
    SECOND_US,
    attempts::Attempts,
    extent::Extent,
    ranks::percentiles,
    ratio,
    requests::{Request, Requests},
    seconds,
    window::Uptime,
};
use crate::scenario::Metric;

/// The metrics of the whole run or of one phase, under the names that expectations use.
///
/// Shares are 0 to 1, times are seconds, rates are per second. Null, which is `None`, is what cannot be computed.
///
/// A request lasts from its intended time to its end, an attempt from when it was sent to its end. It counts in the phase of each fault
/// that it overlaps, and otherwise where it lies: before the first fault, after the last phase, or between two. So a request may
/// count in several phases. What has one instant counts where that is: a retry, a hedge or a failover where its attempt was
/// sent, duplicated work where the server finished it, an ejection where it happened. Throughput, goodput, availability and
/// `unavailable_for` are of the requests that are *intended* in the phase, so that rates can be compared with the offered load.
///
/// Latencies are those of every request that was not dropped, whatever its status, from when it was intended to be sent,
/// so that a stalled client does not hide its stall, to when its call ended. Their percentiles are nearest-rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of requests, dropped ones included.
    pub requests: u64,
    /// Number of requests that ended with a status, whatever it is.
    pub completed: u64,
    /// Number of requests that ended OK. The client enforces the deadline, so that OK is within it.
    pub succeeded: u64,
    /// Share of requests that succeeded: `succeeded / requests`. A dropped request is no success.
    pub success_rate: Option<f64>,
    /// Share of the 1 s windows with offered load that hold at least one success.
    pub availability: Option<f64>,
    /// Completed requests per second of the phase in which they are intended, or of the run, whose length includes the drain.
    pub throughput: Option<f64>,
    /// Succeeded requests per second, of the same length.
    pub goodput: Option<f64>,
    /// 50th percentile of the latency.
    pub latency_p50: Option<f64>,
    /// 75th percentile of the latency.
    pub latency_p75: Option<f64>,
    /// 90th percentile of the latency.
    pub latency_p90: Option<f64>,
    /// 95th percentile of the latency.
    pub latency_p95: Option<f64>,
    /// 99th percentile of the latency.
    pub latency_p99: Option<f64>,
    /// 99.9th percentile of the latency.
    pub latency_p999: Option<f64>,
    /// The longest latency.
    pub latency_max: Option<f64>,
    /// 50th percentile of the latency from when the call began, as a closed-loop client measures it; for comparison only.
    pub uncorrected_p50: Option<f64>,
    /// 95th percentile of the same.
    pub uncorrected_p95: Option<f64>,
    /// 99th percentile of the same.
    pub uncorrected_p99: Option<f64>,
    /// Mean number of attempts per call: the attempts of the phase over its requests that were not dropped.
    pub attempts_per_call: Option<f64>,
    /// Number of attempts beyond a call's first that followed a failed one; `grpc.client.call.retries`.
    pub retries: u64,
    /// Number of attempts that were sent to another server than the call's previous attempt.
    pub failovers: u64,
    /// Recovery time of the phase's fault; for the run, the longest. It is null for the run if one fault has none, since
    /// that one may have been the worst, and null for other phases.
    pub recovery_time: Option<f64>,
    /// Time until the client detected the phase's fault; for the run, the longest, and null if one was not detected.
    pub time_to_detect: Option<f64>,
    /// Time in 1 s windows with offered load and no success; of a window that the phase cuts, the part inside. It is null
    /// without offered load, which shows nothing.
    pub unavailable_for: Option<f64>,
    /// Number of requests that were never sent because too many were in flight.
    pub dropped: u64,
    /// Number of attempts whose work a server finished though the call had ended or moved on.
    pub duplicates: u64,
    /// Number of attempts beyond a call's first that did not wait for the one before them; `grpc.client.call.hedges`.
    /// This and the next two are left out where they are 0: most clients have no such policy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hedges: u64,
    /// Number of calls of which a policy of the client rejected an attempt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
    /// Number of ejections of servers within the phase, whichever requests they affected;
    /// `grpc.lb.outlier_detection.ejections_enforced`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ejections: u64,
    /// Number of replies with the status OK whose content was wrong; left out where it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wrong_results: u64,
    /// Number of calls that the cache answered; left out where it is 0, as are the next two.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Number of calls with a degraded answer: a stale one, or one of a fallback, whether it counts as a success or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub degraded: u64,
    /// Share of the messages of partial answers that had come, as far as it is known how many there should have been; left out without
    /// partial answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_share: Option<f64>,
    /// Number of look-ups in the store of the cache and of writes that failed within the phase.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub store_failures: u64,
    /// Number of messages of replies that stream, as far as they arrived. This and the next ones are left out where no reply streams.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages: u64,
    /// 50th percentile of the time from when a request was intended to be sent to the first message of its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_message_p50: Option<f64>,
    /// 95th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_message_p95: Option<f64>,
    /// The longest such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_message_max: Option<f64>,
    /// 95th percentile of the longest time between two messages of a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_gap_p95: Option<f64>,
    /// The longest time between two messages of a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_gap_max: Option<f64>,
    /// Number of messages that are missing of replies that failed behind their headers, as far as it is known how many there should have
    /// been.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages_lost: u64,
    /// Number of attempts of calls between services, at the edge with the most, over the requests of the run that were not dropped; left out for
    /// phases, and where services make no calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplification: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Metrics {
    /// Computes the metrics of the phase with this extent, as far as requests determine them: `duplicates`, `ejections`,
    /// `recovery_time` and `time_to_detect` are missing, and attempts count where their requests do.
    pub(super) fn compute(requests: &Requests, extent: &Extent) -> Self {
        let members = requests.within(extent);
        let sums = members.clone().fold(RequestSums::default(), RequestSums::and);
        let latencies = percentiles(members.clone().filter_map(Request::latency_us).collect(), LATENCIES);
        let uncorrected = percentiles(members.filter_map(Request::since_sent_us).collect(), UNCORRECTED);
        let mut offered = RequestSums::default();
        let mut uptime = Uptime::default();
        for span in extent.spans() {
            let intended = requests.intended_in(*span);
            offered = intended.iter().fold(offered, RequestSums::and);
            uptime = uptime.and_of(intended, *span);
        }
        let metrics = Self::new(&sums, &uptime).with_rates(&offered, extent.length_us());
        requests.streams.add_within(extent, metrics.with_percentiles(latencies, uncorrected))
    }

    /// Returns the metrics that follow from sums.
    pub(super) fn new(sums: &RequestSums, uptime: &Uptime) -> Self {
        Self {
            requests: sums.requests,
            completed: sums.completed,
            succeeded: sums.succeeded,
            success_rate: ratio(sums.succeeded, sums.requests),
            availability: ratio(uptime.available, uptime.offered),
            attempts_per_call: ratio(sums.attempts, sums.requests - sums.dropped),
            retries: sums.retries,
            failovers: sums.failovers,
            unavailable_for: (uptime.offered > 0).then(|| seconds(uptime.unavailable_us)),
            dropped: sums.dropped,
            hedges: sums.hedges,
            rejected: sums.rejected,
            cached: sums.cached,
            degraded: sums.degraded,
            ..Self::default()
        }
    }

    /// Adds the rates of the requests that are intended within a time of this length.
    pub(super) fn with_rates(self, offered: &RequestSums, length_us: u64) -> Self {
        Self {
            throughput: per_second(offered.completed, length_us),
            goodput: per_second(offered.succeeded, length_us),
            ..self
        }
    }

    /// Adds the percentiles of [`LATENCIES`] and [`UNCORRECTED`], in microseconds.
    pub(super) fn with_percentiles(self, latencies_us: [Option<u64>; 7], uncorrected_us: [Option<u64>; 3]) -> Self {
        let [latency_p50, latency_p75, latency_p90, latency_p95, latency_p99, latency_p999, latency_max] =
            latencies_us.map(|us| us.map(seconds));
        let [uncorrected_p50, uncorrected_p95, uncorrected_p99] = uncorrected_us.map(|us| us.map(seconds));
        Self {
            latency_p50,
            latency_p75,
            latency_p90,
            latency_p95,
            latency_p99,
            latency_p999,
            latency_max,
            uncorrected_p50,
            uncorrected_p95,
            uncorrected_p99,
            ..self
        }
    }

    /// Replaces the figures of attempts, which are those of whole requests, by those of the attempts of a phase.
    pub(super) fn with_attempts(self, attempts: &Attempts, extent: &Extent) -> Self {
        Self {
            attempts_per_call: ratio(attempts.within(extent), self.requests - self.dropped),
            retries: attempts.retries_within(extent),
            hedges: attempts.hedges_within(extent),
            failovers: attempts.failovers_within(extent),
            ..self
        }
    }

    /// Returns the figure that an expectation names, in the metric's base unit; none if it could not be computed.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::SuccessRate => self.success_rate,
            Metric::Availability => self.availability,
            Metric::Throughput => self.throughput,
            Metric::Goodput => self.goodput,
            Metric::LatencyP50 => self.latency_p50,
            Metric::LatencyP90 => self.latency_p90,
            Metric::LatencyP95 => self.latency_p95,
            Metric::LatencyP99 => self.latency_p99,
            Metric::LatencyP999 => self.latency_p999,
            Metric::LatencyMax => self.latency_max,
            Metric::AttemptsPerCall => self.attempts_per_call,
            Metric::Retries => Some(self.retries as f64),
            Metric::Failovers => Some(self.failovers as f64),
            Metric::RecoveryTime => self.recovery_time,
            Metric::TimeToDetect => self.time_to_detect,
            Metric::UnavailableFor => self.unavailable_for,
            Metric::Dropped => Some(self.dropped as f64),
            Metric::Duplicates => Some(self.duplicates as f64),
            Metric::Hedges => Some(self.hedges as f64),
            Metric::Rejected => Some(self.rejected as f64),
            Metric::Ejections => Some(self.ejections as f64),
            Metric::WrongResults => Some(self.wrong_results as f64),
            Metric::Cached => Some(self.cached as f64),
            Metric::Degraded => Some(self.degraded as f64),
            Metric::PartShare => self.part_share,
            Metric::StoreFailures => Some(self.store_failures as f64),
            Metric::FirstMessageP50 => self.first_message_p50,
            Metric::FirstMessageP95 => self.first_message_p95,
            Metric::FirstMessageMax => self.first_message_max,
            Metric::MessageGapP95 => self.message_gap_p95,
            Metric::MessageGapMax => self.message_gap_max,
            // Without a stream there is nothing that could be lost.
            Metric::MessagesLost => (self.messages + self.messages_lost > 0).then_some(self.messages_lost as f64),
            Metric::Amplification => self.amplification,
        }
    }
}

/// The percentiles of latency that are metrics, in thousandths; the last one is the greatest value.
pub(super) const LATENCIES: [u32; 7] = [500, 750, 900, 950, 990, 999, 1000];

/// The percentiles of the latency since the call began that are metrics, in thousandths.
pub(super) const UNCORRECTED: [u32; 3] = [500, 950, 990];

/// Sums over requests.
#[derive(Default)]
pub(super) struct RequestSums {
    requests: u64,
    completed: u64,
    succeeded: u64,
    dropped: u64,
    attempts: u64,
    retries: u64,
    failovers: u64,
    hedges: u64,
    rejected: u64,
    cached: u64,
    degraded: u64,
}

impl RequestSums {
    /// Returns the sums with `request`.
    pub(super) fn and(self, request: &Request) -> Self {
        Self {
            requests: self.requests + 1,
            completed: self.completed + u64::from(request.is_completed()),
            succeeded: self.succeeded + u64::from(request.is_success()),
            dropped: self.dropped + u64::from(request.is_dropped()),
            attempts: self.attempts + u64::from(request.attempts),
            retries: self.retries + u64::from(request.attempts.saturating_sub(1 + request.hedges)),
            failovers: self.failovers + u64::from(request.failovers),
            hedges: self.hedges + u64::from(request.hedges),
            rejected: self.rejected + u64::from(request.is_rejected()),
            cached: self.cached + u64::from(request.is_cached()),
            degraded: self.degraded + u64::from(request.is_degraded()),
        }
    }
}

/// Returns how many there are per second; none if they take no time. Up to nine thousand million are exact.
fn per_second(count: u64, length_us: u64) -> Option<f64> {
    ratio(count * SECOND_US, length_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{
            sample::{Sample, dropped, failed, ok},
            span::Span,
        },
        record::RequestRow,
    };

    const MS: u64 = 1_000;
    const S: u64 = 1_000_000;

    fn metrics(rows: &[RequestRow], seconds: u64) -> Metrics {
        let sample = Sample::of_seconds(seconds).requests(rows.to_vec());
        let whole = Extent::without_fault(vec![Span { start_us: 0, end_us: seconds * S }], seconds * S);
        Metrics::compute(&Requests::sorted(&sample.run()), &whole)
    }

    #[test]
    fn dropped_requests_are_intended_but_neither_completed_nor_successful() {
        // 2 OK, 1 failed, 1 dropped in 2 s: 2/4 succeed, 3 complete = 1.5/s, 2 succeed = 1/s.
        let metrics = metrics(&[ok(0, MS), ok(S, MS), failed(S, MS), dropped(S)], 2);
        assert_eq!((metrics.requests, metrics.completed, metrics.succeeded, metrics.dropped), (4, 3, 2, 1));
        assert_eq!(metrics.success_rate, Some(0.5));
        assert_eq!((metrics.throughput, metrics.goodput), (Some(1.5), Some(1.0)));
    }

    #[test]
    fn latencies_count_failures_and_not_drops() {
        // 10, 20 and 900 ms (failed): p50 is rank 2, p95 rank 3.
        let metrics = metrics(&[ok(0, 10 * MS), ok(0, 20 * MS), failed(0, 900 * MS), dropped(0)], 1);
        assert_eq!((metrics.latency_p50, metrics.latency_p95, metrics.latency_max), (Some(0.02), Some(0.9), Some(0.9)));
    }

    #[test]
    fn latency_begins_when_intended_and_the_uncorrected_when_sent() {
        // Intended at 0, sent 300 ms late, done at 500 ms.
        let late = RequestRow { sent_us: Some(300 * MS), ..ok(0, 500 * MS) };
        let metrics = metrics(&[late], 1);
        assert_eq!((metrics.latency_p50, metrics.uncorrected_p50), (Some(0.5), Some(0.2)));
    }

    #[test]
    fn attempts_are_averaged_over_the_calls_made() {
        // 1, 3 and 1 attempts: 5/3 a call, 2 retries of which 1 went elsewhere; the dropped one made no call.
        let retried = RequestRow { attempts: 3, failovers: 1, ..ok(0, MS) };
        let metrics = metrics(&[ok(0, MS), retried, failed(0, MS), dropped(0)], 1);
        assert_eq!(metrics.attempts_per_call, Some(5.0 / 3.0));
        assert_eq!((metrics.retries, metrics.failovers), (2, 1));
    }

    #[test]
    fn hedges_are_no_retries() {
        // 3 attempts of which 1 hedged: 1 retry is left.
        let hedged = RequestRow { attempts: 3, hedges: 1, ..ok(0, MS) };
        let turned_down = RequestRow { attempts: 0, rejected: true, ..failed(0, 0) };
        let metrics = metrics(&[hedged, turned_down], 1);
        assert_eq!((metrics.retries, metrics.hedges, metrics.rejected), (1, 1, 1));
    }

    #[test]
    fn of_no_requests_only_counts_and_rates_are_known() {
        let none = metrics(&[], 2);
        let rates = Metrics { throughput: Some(0.0), goodput: Some(0.0), ..Metrics::default() };
        assert_eq!(none, rates);
        assert_eq!(metrics(&[], 0), Metrics::default());
    }

    #[test]
    fn of_dropped_requests_only_there_is_no_latency() {
        let metrics = metrics(&[dropped(0)], 1);
        assert_eq!(
            (metrics.success_rate, metrics.availability, metrics.unavailable_for),
            (Some(0.0), Some(0.0), Some(1.0))
        );
        assert_eq!((metrics.latency_p50, metrics.uncorrected_p50, metrics.attempts_per_call), (None, None, None));
    }
}
