//! The inner calls of a run, by edge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Latencies, RunRows, ratio, seconds};
use crate::{record::Name, status::Outcome};

/// The calls of all processes of one service to another service. Times named `_s` are seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeSummary {
    /// The service that called.
    pub from: String,
    /// The service that was called.
    pub to: String,
    /// Number of calls.
    pub calls: u64,
    /// Number of calls with the status OK.
    pub succeeded: u64,
    /// Share of the calls with the status OK; null without a call.
    pub success_rate: Option<f64>,
    /// Number of attempts of all calls.
    pub attempts: u64,
    /// Attempts per call; null without a call.
    pub attempts_per_call: Option<f64>,
    /// Attempts per request of the load that was sent: how much of the load arrives, with all retries on the way. Null without a request.
    pub amplification: Option<f64>,
    /// Median of the time that a call took, whatever its end; null without a call.
    pub latency_p50_s: Option<f64>,
    /// 99th percentile of that time; null without a call.
    pub latency_p99_s: Option<f64>,
}

#[derive(Default)]
struct Edge {
    succeeded: u64,
    attempts: u64,
    latencies_us: Vec<u64>,
}

/// Returns the edges with calls, by name.
pub(super) fn edges(run: &RunRows<'_>, sent: u64) -> Vec<EdgeSummary> {
    let mut edges: BTreeMap<(String, Name), Edge> = BTreeMap::new();
    for row in run.rows.calls() {
        let from = row.caller.rsplit_once('-').map_or(&*row.caller, |(service, _)| service);
        let edge = edges.entry((from.to_owned(), row.service.clone())).or_default();
        edge.succeeded += u64::from(row.status == Outcome::OK);
        edge.attempts += row.attempts.len() as u64;
        edge.latencies_us.push(row.done_us.saturating_sub(row.sent_us));
    }
    let summary = |((from, to), edge): ((String, Name), Edge)| {
        let calls = edge.latencies_us.len() as u64;
        let latencies = Latencies::new(edge.latencies_us.into_iter());
        EdgeSummary {
            from,
            to: to.as_str().to_owned(),
            calls,
            succeeded: edge.succeeded,
            success_rate: ratio(edge.succeeded, calls),
            attempts: edge.attempts,
            attempts_per_call: ratio(edge.attempts, calls),
            amplification: ratio(edge.attempts, sent),
            latency_p50_s: latencies.percentile(500).map(seconds),
            latency_p99_s: latencies.percentile(990).map(seconds),
        }
    };
    edges.into_iter().map(summary).collect()
}
