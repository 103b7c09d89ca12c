//! Rows for tests: short ways to write them, and one complete example.

use std::time::Duration;

use super::{RunLabel, RunRows, Script, Summary};
use crate::{
    client::settings::Profile,
    measure::expectation::{Expectation, Phase},
    measure::metric::Metric,
    record::{AttemptRow, Event, EventRow, Name, Records, RequestRow},
    status::{Code, Outcome},
};

pub(super) const LABEL: RunLabel<'static> =
    RunLabel { scenario: "crash_then_freeze", seed: 42, world: "sim", profile: Some(Profile::Resilient) };

/// The rows of a run of two servers, owned.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    duration: Duration,
    pub(super) records: Records,
}

impl Sample {
    pub(super) fn of_seconds(seconds: u64) -> Self {
        Self { duration: Duration::from_secs(seconds), ..Self::default() }
    }

    /// Adds the requests, with ids from 0 in the order given.
    pub(super) fn requests(mut self, rows: impl IntoIterator<Item = RequestRow>) -> Self {
        self.records.requests = rows.into_iter().zip(0..).map(|(row, id)| RequestRow { id, ..row }).collect();
        self
    }

    pub(super) fn attempts(mut self, rows: impl IntoIterator<Item = AttemptRow>) -> Self {
        self.records.attempts = rows.into_iter().collect();
        self
    }

    pub(super) fn events(mut self, rows: impl IntoIterator<Item = EventRow>) -> Self {
        self.records.events = rows.into_iter().collect();
        self
    }

    pub(super) fn run(&self) -> RunRows<'_> {
        RunRows::new(2, self.duration, &self.records)
    }

    pub(super) fn summary(&self, expectations: &[Expectation]) -> Summary {
        self.summary_by(&Script { expectations, ..Script::default() })
    }

    pub(super) fn summary_by(&self, script: &Script<'_>) -> Summary {
        Summary::compute(LABEL, &self.run(), script)
    }

    /// Returns the same rows in the order that `pick` chooses them: given how many are left, the next one's place.
    pub(super) fn shuffled(mut self, mut pick: impl FnMut(usize) -> usize) -> Self {
        shuffle(&mut self.records.requests, &mut pick);
        shuffle(&mut self.records.attempts, &mut pick);
        shuffle(&mut self.records.events, &mut pick);
        self
    }
}

fn shuffle<T>(rows: &mut [T], pick: &mut impl FnMut(usize) -> usize) {
    for left in (1..=rows.len()).rev() {
        rows.swap(left - 1, pick(left));
    }
}

/// Returns a request that server-0 answers OK on the first attempt.
pub(super) fn ok(intended_us: u64, latency_us: u64) -> RequestRow {
    RequestRow {
        id: 0,
        intended_us,
        sent_us: Some(intended_us),
        done_us: Some(intended_us + latency_us),
        latency_us: Some(latency_us),
        status: Outcome::OK,
        server: Some("server-0".into()),
        attempts: 1,
        failovers: 0,
        size: "256x256".into(),
        hedges: 0,
        rejected: false,
        answer: None,
        kind: None,
        user: None,
        stream: None,
    }
}

/// Returns a request that fails with UNAVAILABLE after one attempt.
pub(super) fn failed(intended_us: u64, latency_us: u64) -> RequestRow {
    RequestRow { status: Outcome::Status(Code::Unavailable), server: None, ..ok(intended_us, latency_us) }
}

pub(super) fn dropped(intended_us: u64) -> RequestRow {
    let status = Outcome::Dropped;
    let row = failed(intended_us, 0);
    RequestRow { status, sent_us: None, done_us: None, latency_us: None, attempts: 0, ..row }
}

pub(super) fn attempt(request: u64, attempt: u32, end_us: u64, status: Code) -> AttemptRow {
    AttemptRow {
        request,
        attempt,
        server: "server-0".into(),
        start_us: 0,
        end_us,
        status,
        cause: None,
        committed_us: None,
    }
}

pub(super) fn event(at_us: u64, source: &str, event: Event, target: Option<&str>) -> EventRow {
    EventRow {
        at_us,
        source: source.into(),
        event,
        target: target.map(Name::from),
        cause: None,
        fault: None,
        request: None,
        call: None,
        attempt: None,
        duration_us: None,
    }
}

pub(super) fn fault_start(fault: usize, kind: &str, target: &str, at_us: u64) -> EventRow {
    let row = event(at_us, "nemesis", Event::FaultStart, Some(target));
    EventRow { fault: Some(fault), cause: Some(kind.into()), ..row }
}

pub(super) fn fault_end(fault: usize, target: &str, at_us: u64) -> EventRow {
    EventRow { fault: Some(fault), ..event(at_us, "nemesis", Event::FaultEnd, Some(target)) }
}

pub(super) fn unhealthy(target: &str, at_us: u64) -> EventRow {
    event(at_us, "client", Event::Unhealthy, Some(target))
}

pub(super) fn healthy(target: &str, at_us: u64) -> EventRow {
    event(at_us, "client", Event::Healthy, Some(target))
}

pub(super) fn finished(request: u64, attempt: u32, at_us: u64) -> EventRow {
    let row = event(at_us, "server-0", Event::Finished, None);
    EventRow { request: Some(request), attempt: Some(attempt), ..row }
}

pub(super) fn expect(metric: Metric, min: Option<f64>, max: Option<f64>) -> Expectation {
    Expectation { metric, during: None, min, max }
}

/// Five requests a second for 90 s on two servers in turn, 1.5 ms and 5.25 ms long. server-0 is killed at 25 s: the two
/// requests on it in that second (25.2 and 25.6 s) are retried on server-1 after 100 ms; it is marked unhealthy 0.4 s
/// in and listens again at 27.4 s. server-1 is frozen from 45 s to 55 s: of the first two seconds, the five requests
/// on it wait 9.9 s for an attempt to time out, then three are answered by server-0 and two give up; the mark
/// comes after 3 s, and server-0 serves alone until the end.
pub(super) fn crash_then_freeze() -> Sample {
    let sample = Sample::of_seconds(90).requests((0..450).map(example_request));
    let attempts: Vec<AttemptRow> = sample.records.requests.iter().flat_map(example_attempts).collect();
    let failovers = attempts.iter().filter(|row| row.attempt > 1).map(failover).collect::<Vec<_>>();
    sample.attempts(attempts).events(failovers.into_iter().chain([
        fault_start(0, "crash", "server-0", 25_000_000),
        unhealthy("server-0", 25_400_000),
        fault_end(0, "server-0", 27_400_000),
        healthy("server-0", 30_000_000),
        fault_start(1, "freeze", "server-1", 45_000_000),
        unhealthy("server-1", 48_000_000),
        fault_end(1, "server-1", 55_000_000),
    ]))
}

/// Returns the attempts of a request: the one that it has, or one that fails at the end of its wait and one that takes as long
/// as a request usually does.
fn example_attempts(row: &RequestRow) -> Vec<AttemptRow> {
    let done_us = row.done_us.unwrap_or(row.intended_us);
    let last = AttemptRow { start_us: row.intended_us, ..attempt(row.id, row.attempts, done_us, Code::Ok) };
    if row.attempts == 1 {
        return vec![last];
    }
    let retried_us = done_us - 1_500;
    let first = AttemptRow { start_us: row.intended_us, ..attempt(row.id, 1, retried_us, Code::Unavailable) };
    vec![first, AttemptRow { start_us: retried_us, ..last }]
}

fn failover(row: &AttemptRow) -> EventRow {
    let event = event(row.start_us, "client", Event::Failover, Some("server-0"));
    EventRow { request: Some(row.request), attempt: Some(row.attempt), ..event }
}

fn example_request(id: u64) -> RequestRow {
    let at_us = id * 200_000;
    match (id % 2, at_us / 1_000_000) {
        (0, 25) => on_server_1(retried(at_us, 102_250)),
        (0, 26..30) => on_server_1(ok(at_us, 5_250)),
        (1, 45..47) if id % 5 < 2 => RequestRow { attempts: 2, failovers: 1, ..failed(at_us, 10_003_750) },
        (1, 45..47) => retried(at_us, 9_941_500),
        (1, 47..) | (0, _) => ok(at_us, 1_500),
        _ => on_server_1(ok(at_us, 5_250)),
    }
}

fn retried(at_us: u64, latency_us: u64) -> RequestRow {
    RequestRow { attempts: 2, failovers: 1, ..ok(at_us, latency_us) }
}

fn on_server_1(row: RequestRow) -> RequestRow {
    RequestRow { server: Some("server-1".into()), ..row }
}

/// Returns the expectations that a scenario of this run could have.
pub(super) fn example_expectations() -> [Expectation; 3] {
    let recovery =
        |index, max| Expectation { during: Some(Phase::Fault(index)), ..expect(Metric::RecoveryTime, None, Some(max)) };
    [expect(Metric::SuccessRate, Some(0.98), None), recovery(0, 5.0), recovery(1, 15.0)]
}
