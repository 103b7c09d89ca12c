//! All that the dashboard shows, as rows tell it. Bounded, however long the run.

use std::collections::VecDeque;

use kernel::record::{Event, EventRow, Name, RequestRow, Row};

use super::{
    About, Sight,
    news::{self, News},
    servers::Server,
    tally::{Recent, Tally},
    timeline::Timeline,
};

/// News that are kept: as many as a tall terminal has lines.
const NEWS_MAX: usize = 100;

/// The state of a run, for someone who watches.
#[derive(Debug, Clone)]
pub(super) struct Board {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) duration_us: u64,
    pub(super) servers: Vec<Server>,
    pub(super) overall: Tally,
    pub(super) recent: Recent,
    pub(super) timeline: Timeline,
    pub(super) retries: u64,
    /// In the order in which they began.
    pub(super) faults: Vec<Fault>,
    /// The latest last.
    pub(super) news: VecDeque<News>,
    /// Someone wants the run to end.
    pub(super) interrupted: bool,
}

/// A fault that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    index: usize,
    pub(super) kind: String,
    pub(super) start_us: u64,
    /// When it was last lifted from a target; `None` as long as it lasts on all.
    pub(super) end_us: Option<u64>,
}

impl Board {
    pub(super) fn new(about: &About) -> Self {
        let duration_us = u64::try_from(about.duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            name: about.name.clone(),
            seed: about.seed,
            duration_us,
            servers: about.servers.iter().map(|name| Server::new(name)).collect(),
            overall: Tally::default(),
            recent: Recent::new(about.servers.len()),
            timeline: Timeline::new(duration_us),
            retries: 0,
            faults: Vec::new(),
            news: VecDeque::new(),
            interrupted: false,
        }
    }

    /// Takes in what there is to be seen.
    pub(super) fn see(&mut self, sight: Sight) {
        match sight {
            Sight::Row(Row::Request(row)) => self.request(&row),
            Sight::Row(Row::Event(row)) => self.event(&row),
            Sight::Row(Row::Attempt(_)) => {}
            Sight::Process { server, pid } => {
                if let Some(server) = self.server(&server) {
                    server.pid = pid;
                }
            }
            Sight::Interrupted => self.interrupted = true,
        }
    }

    fn request(&mut self, row: &RequestRow) {
        // A dropped request ends when it is intended.
        let at_us = row.done_us.unwrap_or(row.intended_us);
        let answered = |name: &Name| self.servers.iter().position(|server| *name == server.name);
        let server = row.server.as_ref().and_then(answered);
        self.overall.add(row);
        self.recent.add(at_us, row, server);
        self.timeline.add(at_us, row);
    }

    fn event(&mut self, row: &EventRow) {
        self.retries += u64::from(row.event == Event::Backoff);
        if let Some(server) = row.target.as_deref().and_then(|target| self.server(target)) {
            server.observe(row);
        }
        match (row.event, row.fault) {
            (Event::FaultStart, Some(index)) => self.begin(index, row),
            (Event::FaultEnd, Some(index)) => {
                if let Some(fault) = self.faults.iter_mut().find(|fault| fault.index == index) {
                    fault.end_us = Some(row.at_us);
                }
            }
            _ => {}
        }
        if let Some(news) = news::of(row) {
            self.news.push_back(news);
            self.news.drain(..self.news.len().saturating_sub(NEWS_MAX));
        }
    }

    /// One fault, however many its targets.
    fn begin(&mut self, index: usize, row: &EventRow) {
        if !self.faults.iter().any(|fault| fault.index == index) {
            let kind = row.cause.clone().unwrap_or_default();
            self.faults.push(Fault { index, kind, start_us: row.at_us, end_us: None });
        }
    }

    fn server(&mut self, name: &str) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.name == name)
    }
}

/// Rows for tests, and a story.
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
            attempt: None,
            duration_us: None,
        }
    }

    pub(in crate::live) fn fault(at_us: u64, kind: Event, index: usize, target: &str, cause: &str) -> EventRow {
        EventRow { fault: Some(index), ..event(at_us, "nemesis", kind, target, cause) }
    }

    /// An answer of `server-1`.
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
        }
    }

    /// 47 s of a run of 90 s: of two replicas one has been killed at 25 s, and the other stands still since 45 s.
    pub(in crate::live) fn story() -> (Board, u64) {
        const S: u64 = 1_000_000;
        let servers = ["server-0", "server-1"].map(str::to_owned);
        let about = About {
            name: "crash_then_freeze".to_owned(),
            seed: 42,
            duration: Duration::from_secs(90),
            servers: servers.to_vec(),
        };
        let mut board = Board::new(&about);
        for (server, pid) in servers.into_iter().zip([4_711, 4_712]) {
            board.see(Sight::Process { server, pid: Some(pid) });
        }
        for id in 0..45 * 5 {
            let (slow, failed) = (id % 50 == 49, id == 130);
            let row = request(id, id * S / 5, if slow { 900_000 } else { 250_000 + id * 50 });
            let status = if failed { Outcome::Status(Code::Unavailable) } else { row.status };
            board.see(Sight::Row(Row::Request(RequestRow { status, ..row })));
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
        rows.into_iter().for_each(|row| board.see(Sight::Row(Row::Event(row))));
        (board, 47 * S + 300_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{board::sample::story, servers::Condition};

    #[test]
    fn a_story_leaves_its_servers_and_faults_as_they_are() {
        let (board, _) = story();
        assert_eq!([0, 1].map(|server| board.servers[server].condition()), [Condition::Crashed, Condition::Frozen]);
        assert_eq!([0, 1].map(|server| board.servers[server].pid), [None, Some(4_712)]);
        let faults: Vec<_> = board.faults.iter().map(|fault| (&*fault.kind, fault.start_us, fault.end_us)).collect();
        assert_eq!(faults, [("crash", 25_000_000, Some(25_000_000)), ("freeze", 45_000_000, None)]);
        assert_eq!((board.overall.ended, board.overall.succeeded), (225, 224));
    }

    #[test]
    fn news_are_the_latest_only() {
        let (mut board, _) = story();
        for at_us in 0..1_000 {
            board.see(Sight::Row(Row::Event(sample::event(at_us, "client", Event::Healthy, "server-0", ""))));
        }
        assert_eq!((board.news.len(), board.news[NEWS_MAX - 1].at_us), (NEWS_MAX, 999));
    }
}
