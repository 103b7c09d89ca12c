//! What there is to see on standard error while a run goes on: a line for each thing that happens, and one every few
//! seconds for how it goes.

use std::{
    io::{self, Write},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use kernel::{
    record::{Event, EventRow, RequestRow, Row},
    time::Instant,
};

use crate::clock::Clock;

/// Between two lines on how it goes.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Lines about single requests within that time; an overload has thousands.
const REQUEST_LINES: usize = 20;

/// Shows rows on a thread of its own: a terminal that is stopped must not stop the run.
pub(crate) struct Live {
    /// `None` once it has ended.
    rows: Option<Sender<Row>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Begins to show a run.
    pub(crate) fn start(clock: Clock) -> io::Result<Self> {
        let (rows, shown) = mpsc::channel();
        let thread = thread::Builder::new().name("live".to_owned()).spawn(move || show(clock, &shown))?;
        Ok(Self { rows: Some(rows), thread: Some(thread) })
    }

    /// Shows a row, if it is of those that are shown.
    pub(crate) fn show(&self, row: &Row) {
        let shown = match row {
            Row::Request(_) => true,
            Row::Event(row) => line(row).is_some() || row.event == Event::Backoff,
            Row::Attempt(_) => false,
        };
        if let (true, Some(rows)) = (shown, &self.rows) {
            // It ends after the last row.
            let _ = rows.send(row.clone());
        }
    }
}

impl Drop for Live {
    /// Shows what there is to show first.
    fn drop(&mut self) {
        self.rows = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(clock: Clock, rows: &Receiver<Row>) {
    let mut status = Status::default();
    let mut due = Instant::START + STATUS_INTERVAL;
    loop {
        let left = due.since(clock.now());
        if left.is_zero() {
            say(due.as_micros(), &status.line(STATUS_INTERVAL));
            status = Status::default();
            due += STATUS_INTERVAL;
            continue;
        }
        match rows.recv_timeout(left) {
            Ok(Row::Request(row)) => status.count(row),
            Ok(Row::Event(row)) => {
                status.retries += usize::from(row.event == Event::Backoff);
                let Some(line) = line(&row) else { continue };
                status.request_lines += usize::from(row.request.is_some());
                if row.request.is_none() || status.request_lines <= REQUEST_LINES {
                    say(row.at_us, &line);
                }
            }
            Ok(Row::Attempt(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn say(at_us: u64, line: &str) {
    // Nobody may be watching.
    let _ = writeln!(io::stderr(), "[{:7.3} s] {line}", at_us as f64 / 1e6);
}

/// What an event says to someone who watches; `None` if it is a detail.
fn line(row: &EventRow) -> Option<String> {
    let source = &row.source;
    let target = row.target.as_deref().unwrap_or_default();
    let cause = row.cause.as_deref().unwrap_or_default();
    let request = row.request.unwrap_or_default();
    Some(match row.event {
        Event::FaultStart => format!("{source}: {cause} {target}"),
        Event::FaultEnd => format!("{source}: {cause} {target} is over"),
        Event::NoEffect => format!("{source}: no effect on {target}: {cause}"),
        Event::Restart => format!("{source}: restart {target}"),
        Event::Listening => format!("{source}: listens"),
        Event::Unhealthy => format!("{source}: {target} is unhealthy: {cause}"),
        Event::Healthy => format!("{source}: {target} is healthy"),
        Event::Failover => format!("{source}: request {request} fails over to {target}"),
        Event::BreakerOpened if target.is_empty() => format!("{source}: the breaker opens: {cause}"),
        Event::BreakerOpened => format!("{source}: the breaker to {target} opens: {cause}"),
        Event::BreakerClosed if target.is_empty() => format!("{source}: the breaker closes"),
        Event::BreakerClosed => format!("{source}: the breaker to {target} closes"),
        Event::Ejected => format!("{source}: {target} is ejected: {cause}"),
        Event::Unejected => format!("{source}: {target} is let in again"),
        Event::GiveUp => format!("{source}: request {request} is given up: {cause}"),
        _ => return None,
    })
}

/// How it has gone since the last line that said so.
#[derive(Default)]
struct Status {
    /// In microseconds, of those that succeeded.
    latencies: Vec<u64>,
    ended: usize,
    retries: usize,
    request_lines: usize,
}

impl Status {
    fn count(&mut self, row: RequestRow) {
        self.ended += 1;
        if let Some(latency) = row.latency_us.filter(|_| row.status.is_success()) {
            self.latencies.push(latency);
        }
    }

    fn line(&mut self, interval: Duration) -> String {
        let rate = self.ended as f64 / interval.as_secs_f64();
        let failed = self.ended - self.latencies.len();
        self.latencies.sort_unstable();
        let at = |share: f64| self.latencies.get(((self.latencies.len() as f64 * share) as usize).saturating_sub(1));
        let ms = |share| at(share).map_or("-".to_owned(), |us| format!("{:.1} ms", *us as f64 / 1e3));
        let unsaid = self.request_lines.saturating_sub(REQUEST_LINES);
        let more = if unsaid > 0 { format!(", {unsaid} lines left out") } else { String::new() };
        format!(
            "{rate:.1} answers/s, {failed} failed, {} retries, p50 {}, p95 {}{more}",
            self.retries,
            ms(0.5),
            ms(0.95)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(source: &str, event: Event, target: &str, cause: &str) -> EventRow {
        EventRow {
            at_us: 25_000_000,
            source: source.to_owned(),
            event,
            target: Some(target.to_owned()),
            cause: Some(cause.to_owned()),
            fault: None,
            request: None,
            attempt: None,
            duration_us: None,
        }
    }

    #[test]
    fn faults_and_beliefs_are_lines_and_picks_are_not() {
        let said = |source, kind, cause| line(&event(source, kind, "server-0", cause));
        assert_eq!(said("nemesis", Event::FaultStart, "crash").as_deref(), Some("nemesis: crash server-0"));
        assert_eq!(
            said("client", Event::Unhealthy, "connection reset").as_deref(),
            Some("client: server-0 is unhealthy: connection reset")
        );
        assert_eq!(said("client", Event::Pick, ""), None);
    }

    #[test]
    fn a_status_without_answers_has_no_percentiles() {
        let mut status = Status { ended: 2, ..Status::default() };
        assert_eq!(status.line(Duration::from_secs(5)), "0.4 answers/s, 2 failed, 0 retries, p50 -, p95 -");
    }
}
