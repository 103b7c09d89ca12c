//! The state behind the dashboard, which rows update. Its size has a bound for runs of any duration.

use std::collections::VecDeque;

use kernel::{
    record::{Answer, Event, EventRow, Name, RequestRow, Row},
    scenario::Expectation,
};

use super::{
    LiveUpdate, RunOverview,
    in_flight::InFlight,
    news::{self, News},
    servers::{Breaker, Condition, Server},
    tally::{Recent, RequestTally},
    timeline::Timeline,
};

/// Number of news that are kept: as many as a tall terminal has lines.
const NEWS_MAX: usize = 100;

/// The state of a run, as the dashboard shows it.
#[derive(Debug, Clone)]
pub(super) struct Board {
    /// Name of the scenario.
    pub(super) name: String,
    /// Seed of the run.
    pub(super) seed: u64,
    /// Duration of the load.
    pub(super) duration_us: u64,
    /// The replicas, by index.
    pub(super) servers: Vec<Server>,
    /// Requests of the whole run.
    pub(super) overall: RequestTally,
    /// Requests of the last seconds.
    pub(super) recent: Recent,
    /// Requests over time.
    pub(super) timeline: Timeline,
    /// The calls under way.
    pub(super) in_flight: InFlight,
    /// The expectations of the scenario.
    pub(super) expectations: Vec<Expectation>,
    /// Number of retries.
    pub(super) retries: u64,
    /// Number of attempts that went to another server than the one before.
    pub(super) failovers: u64,
    /// Number of ejections.
    pub(super) ejections: u64,
    /// Number of dropped requests.
    pub(super) dropped: u64,
    /// State of the circuit breaker of the service.
    pub(super) breaker: Breaker,
    /// Faults in the order in which they started.
    pub(super) faults: Vec<FaultSpan>,
    /// News in the order of their times.
    pub(super) news: VecDeque<News>,
    /// A signal has asked the run to end.
    pub(super) interrupted: bool,
}

/// The time span of a fault that has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultSpan {
    /// Its index in the scenario.
    pub(super) index: usize,
    /// Kind of the fault, such as `crash`.
    pub(super) kind: String,
    /// Time of its start.
    pub(super) start_us: u64,
    /// Time of its latest end on a target; `None` while it lasts on all targets.
    pub(super) end_us: Option<u64>,
}

impl Board {
    /// The state before the first update.
    pub(super) fn new(overview: &RunOverview) -> Self {
        let duration_us = u64::try_from(overview.duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            name: overview.name.clone(),
            seed: overview.seed,
            duration_us,
            servers: overview.servers.iter().map(|name| Server::new(name)).collect(),
            overall: RequestTally::default(),
            recent: Recent::new(overview.servers.len()),
            timeline: Timeline::new(duration_us),
            in_flight: InFlight::default(),
            expectations: overview.expectations.clone(),
            retries: 0,
            failovers: 0,
            ejections: 0,
            dropped: 0,
            breaker: Breaker::Closed,
            faults: Vec::new(),
            news: VecDeque::new(),
            interrupted: false,
        }
    }

    /// Applies an update.
    pub(super) fn update(&mut self, update: LiveUpdate) {
        match update {
            LiveUpdate::Row(Row::Request(row)) => self.request(&row),
            LiveUpdate::Row(Row::Event(row)) => self.event(&row),
            LiveUpdate::Row(Row::Attempt(_) | Row::Call(_)) => {}
            LiveUpdate::Process { server, pid } => {
                if let Some(server) = self.server(&server) {
                    server.pid = pid;
                }
            }
            LiveUpdate::Alarm(alarm) => self.add_news(news::alarm(&alarm)),
            LiveUpdate::Interrupted => self.interrupted = true,
            LiveUpdate::Lost => self.in_flight.forget(),
        }
    }

    fn request(&mut self, row: &RequestRow) {
        // A dropped request has no end of its own: it ends at its intended time.
        let at_us = row.done_us.unwrap_or(row.intended_us);
        let server = row.server.as_ref().and_then(|name: &Name| self.servers.iter().position(|s| *name == s.name));
        self.in_flight.end(row.id, row.answer == Some(Answer::Stale));
        self.dropped += u64::from(row.sent_us.is_none());
        self.overall.add(row);
        self.recent.add(at_us, row, server);
        self.timeline.add(at_us, row);
    }

    fn event(&mut self, row: &EventRow) {
        self.retries += u64::from(row.event == Event::Backoff);
        self.failovers += u64::from(row.event == Event::Failover);
        self.ejections += u64::from(row.event == Event::Ejected);
        if let (Event::Pick | Event::Queued, Some(request)) = (row.event, row.request) {
            self.in_flight.begin(request, row.at_us);
        }
        if row.target.as_deref().unwrap_or_default().is_empty() {
            self.breaker = Breaker::after(row.event).unwrap_or(self.breaker);
        }
        if let Some(server) = row.target.as_deref().and_then(|target| self.server(target)) {
            server.observe(row);
        }
        match (row.event, row.fault) {
            (Event::FaultStart, Some(index)) => self.begin(index, row),
            // A crash that nothing will restart is lifted at once, and the server is down all the same.
            (Event::FaultEnd, Some(_)) if self.is_down(row) => {}
            (Event::FaultEnd, Some(index)) => {
                if let Some(fault) = self.faults.iter_mut().find(|fault| fault.index == index) {
                    fault.end_us = Some(row.at_us);
                }
            }
            _ => {}
        }
        if let Some(news) = news::news(row) {
            self.add_news(news);
        }
    }

    fn add_news(&mut self, news: News) {
        self.news.push_back(news);
        self.news.drain(..self.news.len().saturating_sub(NEWS_MAX));
    }

    fn is_down(&mut self, row: &EventRow) -> bool {
        let target = row.target.as_deref().and_then(|target| self.server(target));
        target.is_some_and(|server| server.condition() == Condition::Crashed)
    }

    /// Adds a fault. Every target has a row of its own, and only the first one adds the fault.
    fn begin(&mut self, index: usize, row: &EventRow) {
        if !self.faults.iter().any(|fault| fault.index == index) {
            let kind = row.cause.clone().unwrap_or_default();
            self.faults.push(FaultSpan { index, kind, start_us: row.at_us, end_us: None });
        }
    }

    fn server(&mut self, name: &str) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.name == name)
    }
}

/// Rows for tests, and a sample run.
#[cfg(test)]
pub(super) mod sample {
    use std::time::Duration;

    use kernel::status::{Code, Outcome};

    use super::*;

    pub(in crate::live) fn event(at_us: u64, source: &str, event: Event, target: &str, cause: &str) -> EventRow {
        EventRow {
            at_us,
            source: source.into(),
            event,
            target: Some(target.into()),
            cause: Some(cause.to_owned()),
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    pub(in crate::live) fn fault(at_us: u64, kind: Event, index: usize, target: &str, cause: &str) -> EventRow {
        EventRow { fault: Some(index), ..event(at_us, "nemesis", kind, target, cause) }
    }

    /// A successful request to `server-1`.
    pub(in crate::live) fn request(id: u64, intended_us: u64, latency_us: u64) -> RequestRow {
        RequestRow {
            id,
            intended_us,
            sent_us: Some(intended_us),
            done_us: Some(intended_us + latency_us),
            latency_us: Some(latency_us),
            status: Outcome::OK,
            server: Some("server-1".into()),
            attempts: 1,
            failovers: 0,
            size: "256x256".to_owned(),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
        }
    }

    /// The first 47 s of a run of 90 s with two replicas: one was killed at 25 s, and the other is frozen since 45 s.
    pub(in crate::live) fn sample_run() -> (Board, u64) {
        const S: u64 = 1_000_000;
        let servers = ["server-0", "server-1"].map(str::to_owned);
        let overview = RunOverview {
            name: "crash_then_freeze".to_owned(),
            seed: 42,
            duration: Duration::from_secs(90),
            servers: servers.to_vec(),
            expectations: Vec::new(),
        };
        let mut board = Board::new(&overview);
        for (server, pid) in servers.into_iter().zip([4_711, 4_712]) {
            board.update(LiveUpdate::Process { server, pid: Some(pid) });
        }
        for id in 0..45 * 5 {
            let is_slow = id % 50 == 49;
            let row = request(id, id * S / 5, if is_slow { 900_000 } else { 250_000 + id * 50 });
            let status = if id == 130 { Outcome::Status(Code::Unavailable) } else { row.status };
            board.update(LiveUpdate::Row(Row::Request(RequestRow { status, ..row })));
        }
        for id in 225..235 {
            let pick = EventRow {
                request: Some(id),
                attempt: Some(1),
                ..event(id * S / 5, "client", Event::Pick, "server-1", "")
            };
            board.update(LiveUpdate::Row(Row::Event(pick)));
        }
        let rows = [
            fault(25 * S, Event::FaultStart, 0, "server-0", "crash"),
            fault(25 * S, Event::FaultEnd, 0, "server-0", "crash"),
            event(25 * S + 210, "client", Event::Unhealthy, "server-0", "connection reset"),
            EventRow { request: Some(124), ..event(25 * S + 100_000, "client", Event::Failover, "server-1", "") },
            EventRow { request: Some(130), ..event(26 * S + 250_000, "client", Event::GiveUp, "", "UNAVAILABLE") },
            fault(45 * S, Event::FaultStart, 1, "server-1", "freeze"),
            event(46 * S + 2_000, "client", Event::Unhealthy, "server-1", "health check timeout"),
        ];
        rows.into_iter().for_each(|row| board.update(LiveUpdate::Row(Row::Event(row))));
        (board, 47 * S + 300_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::sample_run;

    #[test]
    fn rows_update_the_servers_and_the_faults() {
        let (board, _) = sample_run();
        assert_eq!([0, 1].map(|server| board.servers[server].condition()), [Condition::Crashed, Condition::Frozen]);
        assert_eq!([0, 1].map(|server| board.servers[server].pid), [None, Some(4_712)]);
        let faults: Vec<_> = board.faults.iter().map(|fault| (&*fault.kind, fault.start_us, fault.end_us)).collect();
        assert_eq!(faults, [("crash", 25_000_000, None), ("freeze", 45_000_000, None)], "the crashed server is down");
        assert_eq!((board.overall.ended, board.overall.succeeded), (225, 224));
    }

    #[test]
    fn only_the_latest_news_are_kept() {
        let (mut board, _) = sample_run();
        for at_us in 0..1_000 {
            board.update(LiveUpdate::Row(Row::Event(sample::event(at_us, "client", Event::Healthy, "server-0", ""))));
        }
        assert_eq!((board.news.len(), board.news[NEWS_MAX - 1].at_us), (NEWS_MAX, 999));
    }
}
