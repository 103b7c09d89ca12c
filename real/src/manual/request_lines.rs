//! The output of `real load`: a line for each attempt that failed and each request that ended.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use kernel::{
    record::{AttemptRow, Event, EventRow, RequestRow, Row},
    status::Outcome,
    visible::Visible,
};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const BETTER: Style = AnsiColor::Yellow.on_default();
const NEWS: Style = AnsiColor::Cyan.on_default();

/// Turns rows into lines.
#[derive(Debug)]
pub(super) struct RequestLines {
    /// Attempts that failed, by request, until the next row tells if a retry follows.
    failed: BTreeMap<u64, AttemptRow>,
    /// Requests that succeeded at the first attempt have no line.
    quiet: bool,
}

impl RequestLines {
    /// Lines about every request; with `quiet`, only about those that did not succeed at the first attempt.
    pub(super) fn new(quiet: bool) -> Self {
        Self { failed: BTreeMap::new(), quiet }
    }

    /// The line for `row`, if it has one. Rows must come in the order of their times.
    pub(super) fn line(&mut self, row: &Row) -> Option<String> {
        match row {
            Row::Attempt(row) => {
                if row.cause.is_some() {
                    self.failed.insert(row.request, row.clone());
                }
                None
            }
            Row::Event(row) => self.event(row),
            Row::Call(_) => None,
            Row::Request(row) => {
                let failure = self.failed.remove(&row.id);
                let is_plain = row.status == Outcome::OK && row.attempts == 1;
                (!self.quiet || !is_plain).then(|| request(row, failure.as_ref()))
            }
        }
    }

    fn event(&mut self, row: &EventRow) -> Option<String> {
        let target = row.target.as_deref().unwrap_or_default();
        let cause = row.cause.as_deref().unwrap_or_default().visible();
        match row.event {
            Event::Backoff => {
                let failed = self.failed.remove(&row.request?)?;
                let wait = ms(row.duration_us.unwrap_or_default());
                Some(format!("{} - retrying in {wait}", failure(failed.request, &failed)))
            }
            Event::Unhealthy => Some(format!("{NEWS}! {target} is unhealthy: {cause}{NEWS:#}")),
            Event::FaultStart => {
                let fault = row.fault.unwrap_or_default();
                Some(format!("{NEWS}! fault-{fault} begins on {target}: {cause}{NEWS:#}"))
            }
            Event::FaultEnd => {
                let fault = row.fault.unwrap_or_default();
                Some(format!("{NEWS}! fault-{fault} is lifted from {target}{NEWS:#}"))
            }
            Event::Healthy => Some(format!("{NEWS}! {target} is healthy again{NEWS:#}")),
            _ => None,
        }
    }
}

fn request(row: &RequestRow, failed: Option<&AttemptRow>) -> String {
    let id = row.id;
    let server = row.server.as_deref().unwrap_or("no server");
    let latency = ms(row.latency_us.unwrap_or_default());
    match (row.status, row.attempts) {
        (Outcome::OK, 1) => format!("{GOOD}✓{GOOD:#} Request #{id} → {server} OK (latency: {latency})"),
        (Outcome::OK, attempts) => format!(
            "{GOOD}✓{GOOD:#} Request #{id} → {BETTER}RETRY SUCCESS{BETTER:#} on {server} after {} failure(s) (latency: \
             {latency})",
            attempts - 1
        ),
        (Outcome::Dropped, _) => format!("{BAD}✗{BAD:#} Request #{id} DROPPED: too many are in flight"),
        (status, attempts) => {
            let what = failed.map_or_else(
                || format!("{BAD}✗{BAD:#} Request #{id} → {server} FAILED ({})", status.name()),
                |failed| failure(id, failed),
            );
            format!("{what} - given up after {attempts} attempt(s) (latency: {latency})")
        }
    }
}

fn failure(id: u64, row: &AttemptRow) -> String {
    let cause = row.cause.as_deref().unwrap_or_default().visible();
    format!("{BAD}✗{BAD:#} Request #{id} → {} {BAD}FAILED{BAD:#} ({}: {cause})", row.server, row.status)
}

fn ms(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use kernel::{record::Name, status::Code};

    use super::*;

    fn attempt(server: &str, code: Code, cause: &str) -> Row {
        Row::Attempt(AttemptRow {
            request: 50,
            attempt: 1,
            server: server.into(),
            start_us: 0,
            end_us: 1,
            status: code,
            cause: (code != Code::Ok).then(|| cause.to_owned()),
            committed_us: None,
        })
    }

    fn event(event: Event, target: Option<&str>, cause: Option<&str>) -> Row {
        Row::Event(EventRow {
            at_us: 0,
            source: "client".into(),
            event,
            target: target.map(Name::from),
            cause: cause.map(str::to_owned),
            fault: None,
            request: Some(50),
            call: None,
            attempt: Some(1),
            duration_us: Some(100_000),
        })
    }

    fn ended(status: Outcome, server: Option<&str>, attempts: u32) -> Row {
        Row::Request(RequestRow {
            id: 50,
            intended_us: 0,
            sent_us: Some(0),
            done_us: Some(4_670),
            latency_us: Some(4_670),
            status,
            server: server.map(Name::from),
            attempts,
            failovers: 0,
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
            size: "8x8".to_owned(),
        })
    }

    fn lines(quiet: bool, rows: &[Row]) -> Vec<String> {
        let mut lines = RequestLines::new(quiet);
        rows.iter().filter_map(|row| lines.line(row)).map(|line| strip_str(&line).to_string()).collect()
    }

    #[test]
    fn a_request_with_a_retry_shows_the_failure_and_then_the_success() {
        let rows = [
            attempt("a", Code::Unavailable, "connection refused"),
            event(Event::Unhealthy, Some("a"), Some("connection refused")),
            event(Event::Backoff, None, None),
            attempt("b", Code::Ok, ""),
            ended(Outcome::OK, Some("b"), 2),
        ];
        let wanted = [
            "! a is unhealthy: connection refused",
            "✗ Request #50 → a FAILED (UNAVAILABLE: connection refused) - retrying in 100.00 ms",
            "✓ Request #50 → RETRY SUCCESS on b after 1 failure(s) (latency: 4.67 ms)",
        ];
        assert_eq!(lines(false, &rows), wanted);
        assert_eq!(lines(true, &rows), wanted);
    }

    #[test]
    fn a_success_at_the_first_attempt_has_a_line_unless_quiet() {
        let rows = [attempt("a", Code::Ok, ""), ended(Outcome::OK, Some("a"), 1)];
        assert_eq!(lines(false, &rows), ["✓ Request #50 → a OK (latency: 4.67 ms)"]);
        assert_eq!(lines(true, &rows), [""; 0]);
    }

    #[test]
    fn the_last_failure_of_a_request_says_that_no_attempt_follows() {
        let rows = [
            attempt("a", Code::DeadlineExceeded, "attempt timeout"),
            event(Event::GiveUp, None, Some("DEADLINE_EXCEEDED")),
            ended(Outcome::Status(Code::DeadlineExceeded), None, 3),
            ended(Outcome::Dropped, None, 0),
        ];
        let wanted = [
            "✗ Request #50 → a FAILED (DEADLINE_EXCEEDED: attempt timeout) - given up after 3 attempt(s) (latency: 4.67 ms)",
            "✗ Request #50 DROPPED: too many are in flight",
        ];
        assert_eq!(lines(true, &rows), wanted);
    }
}
