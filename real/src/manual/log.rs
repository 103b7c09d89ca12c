//! Lines for people on standard error, with the time of day.

use std::{
    fmt::Display,
    io::Write,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use kernel::{
    record::{Event, EventRow, Row, Sink},
    sync::lock,
    time::Instant,
    visible::Visible,
};

/// Least time between two lines about requests that a server did not process; an overloaded server has thousands.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Prints `line`. Colours are left out unless standard error is a terminal, or if `NO_COLOR` is set.
pub(super) fn log_line(line: impl Display) {
    // A closed terminal must not end a server.
    let _ = writeln!(anstream::stderr().lock(), "[{}] {line}", time_of_day());
}

/// The local time, such as `21:35:00`.
pub(super) fn time_of_day() -> impl Display {
    jiff::Zoned::now().strftime("%H:%M:%S")
}

/// The log of a server: it counts requests by outcome, and prints a line about failed ones once a second at most.
#[derive(Default)]
pub(super) struct ServerLog {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    finished: u64,
    refused: u64,
    skipped: u64,
    cancelled: u64,
    /// Time of the last line, and the number of refused and skipped requests up to it.
    complained: Option<(Instant, u64)>,
}

impl ServerLog {
    /// A summary of all requests.
    pub(super) fn report(&self) -> String {
        let Counts { finished, refused, skipped, cancelled, .. } = *self.counts();
        let dropped = skipped + cancelled;
        format!("{finished} requests done, {refused} refused, {dropped} dropped because the client had cancelled")
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }
}

impl Sink for ServerLog {
    fn take(&self, row: Row) {
        if let Row::Event(row) = row
            && let Some(line) = self.counts().count(&row)
        {
            log_line(line);
        }
    }
}

impl Counts {
    /// Counts the row. Returns the line about it, if it is about a failed request and the last line is old enough.
    fn count(&mut self, row: &EventRow) -> Option<String> {
        let what = match row.event {
            Event::Finished => {
                self.finished += 1;
                return None;
            }
            // The client has chosen to leave, and there may be thousands: they are counted.
            Event::Cancelled => {
                self.cancelled += 1;
                return None;
            }
            Event::Refused => {
                self.refused += 1;
                "refused"
            }
            Event::Skipped => {
                self.skipped += 1;
                "dropped"
            }
            _ => return None,
        };
        let now = Instant::from_nanos(row.at_us * 1_000);
        let failed = self.refused + self.skipped;
        let omitted = match self.complained {
            Some((last, _)) if now.since(last) < COMPLAINT_INTERVAL => return None,
            Some((_, until_then)) => failed - until_then - 1,
            None => 0,
        };
        self.complained = Some((now, failed));
        let request = row.request.unwrap_or_default();
        let cause = row.cause.as_deref().unwrap_or_default().visible();
        let more = if omitted > 0 { format!(" (and {omitted} more since the last line)") } else { String::new() };
        Some(format!("{} {what} request #{request}: {cause}{more}", row.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_us: u64, event: Event) -> EventRow {
        EventRow {
            at_us,
            source: "server-0".into(),
            event,
            target: None,
            cause: Some("full".to_owned()),
            fault: None,
            request: Some(7),
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    #[test]
    fn failed_requests_have_a_line_once_a_second_which_counts_those_without_one() {
        let mut counts = Counts::default();
        assert_eq!(counts.count(&row(0, Event::Finished)), None);
        assert_eq!(counts.count(&row(0, Event::Refused)).as_deref(), Some("server-0 refused request #7: full"));
        assert_eq!(counts.count(&row(900_000, Event::Refused)), None);
        let later = counts.count(&row(1_000_000, Event::Skipped));
        assert_eq!(later.as_deref(), Some("server-0 dropped request #7: full (and 1 more since the last line)"));
        assert_eq!((counts.finished, counts.refused, counts.skipped), (1, 2, 1));
    }

    #[test]
    fn requests_that_were_dropped_before_and_during_their_work_are_in_the_report() {
        let log = ServerLog::default();
        for event in [Event::Finished, Event::Skipped, Event::Cancelled, Event::Cancelled] {
            log.take(Row::Event(row(0, event)));
        }
        assert_eq!(log.report(), "1 requests done, 0 refused, 3 dropped because the client had cancelled");
    }
}
