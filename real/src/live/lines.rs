//! The view of a run as lines: one for each event, and one with figures every few seconds.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use kernel::{
    measure::quantity,
    record::{Event, EventRow, Row},
    time::Instant,
};

use super::{LiveUpdate, news, tally::RequestTally};
use crate::clock::Clock;

/// Time between two lines with figures.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Number of lines about single requests within that time; an overload would have thousands.
const REQUEST_LINES: usize = 20;

/// Shows the run until its end.
pub(super) fn show(clock: Clock, updates: &Receiver<LiveUpdate>) {
    let mut status = Status::default();
    let mut due = Instant::START + STATUS_INTERVAL;
    loop {
        let left = due.since(clock.now());
        if left.is_zero() {
            print_line(due.as_micros(), &status.line(STATUS_INTERVAL));
            status = Status::default();
            due += STATUS_INTERVAL;
            continue;
        }
        match updates.recv_timeout(left) {
            Ok(LiveUpdate::Row(Row::Request(row))) => status.tally.add(&row),
            Ok(LiveUpdate::Row(Row::Event(row))) => {
                if let Some(line) = status.line_of(&row) {
                    print_line(row.at_us, &line);
                }
            }
            Ok(LiveUpdate::Alarm(alarm)) => print_line(alarm.at_us, &news::alarm(&alarm).line),
            Ok(LiveUpdate::Interrupted) => {
                print_line(clock.now().as_micros(), "interrupted: the calls under way are cancelled")
            }
            Ok(LiveUpdate::Row(Row::Attempt(_) | Row::Call(_)) | LiveUpdate::Process { .. } | LiveUpdate::Lost)
            | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn print_line(at_us: u64, line: &str) {
    // A closed standard error must not end the run.
    let _ = writeln!(io::stderr(), "[{:7.3} s] {line}", at_us as f64 / 1e6);
}

/// Figures since the last line with figures.
#[derive(Default)]
struct Status {
    tally: RequestTally,
    retries: usize,
    request_lines: usize,
}

impl Status {
    /// The line about an event, if it has one and the limit for lines about requests allows it.
    fn line_of(&mut self, row: &EventRow) -> Option<String> {
        self.retries += usize::from(row.event == Event::Backoff);
        let news = news::news(row)?;
        self.request_lines += usize::from(row.request.is_some());
        (row.request.is_none() || self.request_lines <= REQUEST_LINES).then_some(news.line)
    }

    fn line(&self, interval: Duration) -> String {
        let Self { tally, retries, .. } = self;
        let rate = quantity::rate(tally.ended as f64 / interval.as_secs_f64());
        let failed = tally.ended - tally.succeeded;
        let [p50, p95] = [500, 950].map(|per_mille| tally.latency(per_mille));
        let omitted = self.request_lines.saturating_sub(REQUEST_LINES);
        let more = if omitted > 0 { format!(", {omitted} lines left out") } else { String::new() };
        format!("{rate} answered, {failed} failed, {retries} retries, p50 {p50}, p95 {p95}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::{event, request};

    #[test]
    fn a_status_line_has_the_number_and_the_latencies_of_requests() {
        let mut status = Status::default();
        (0..10).for_each(|id| status.tally.add(&request(id, 0, 50_000 + id)));
        assert_eq!(
            status.line(Duration::from_secs(5)),
            "2.00/s answered, 0 failed, 0 retries, p50 50.2 ms, p95 50.2 ms"
        );
        assert_eq!(
            Status::default().line(Duration::from_secs(5)),
            "0.00/s answered, 0 failed, 0 retries, p50 -, p95 -"
        );
    }

    #[test]
    fn an_overload_has_a_limited_number_of_lines_about_requests() {
        let mut status = Status::default();
        let give_up = EventRow { request: Some(1), ..event(0, "client", Event::GiveUp, "", "UNAVAILABLE") };
        let said = (0..50).filter(|_| status.line_of(&give_up).is_some()).count();
        assert_eq!(said, REQUEST_LINES);
        assert!(status.line_of(&event(0, "nemesis", Event::FaultStart, "server-0", "crash")).is_some());
        assert!(status.line(Duration::from_secs(5)).ends_with(", 30 lines left out"));
    }
}
