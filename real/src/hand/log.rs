//! Lines for people on standard error, each with the time of day.

use std::{
    fmt::Display,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kernel::{
    record::{Event, EventRow, Row, Sink},
    time::Instant,
};

/// Of requests that a server did not do, a line in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Says `line`. Colours are left out where nobody would see them, or `NO_COLOR` wants none.
pub(super) fn say(line: impl Display) {
    // Nobody may be watching.
    let _ = writeln!(anstream::stderr().lock(), "[{}] {line}", time_of_day());
}

/// Such as `21:35:00`, where the user is.
pub(super) fn time_of_day() -> impl Display {
    jiff::Zoned::now().strftime("%H:%M:%S")
}

/// A server's log: what it does with requests, counted, and what goes wrong with them, now and then.
#[derive(Default)]
pub(super) struct ServerLog {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    finished: u64,
    refused: u64,
    skipped: u64,
    /// When the last complaint was made, and the refused and skipped until then.
    complained: Option<(Instant, u64)>,
}

impl ServerLog {
    /// What it has done.
    pub(super) fn account(&self) -> String {
        let Counts { finished, refused, skipped, .. } = *self.counts();
        format!("{finished} requests done, {refused} refused, {skipped} dropped because nobody waited any more")
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for ServerLog {
    fn take(&self, row: Row) {
        if let Row::Event(row) = row
            && let Some(line) = self.counts().count(&row)
        {
            say(line);
        }
    }
}

impl Counts {
    /// Counts what the row tells of, and says what is to be said about it.
    fn count(&mut self, row: &EventRow) -> Option<String> {
        let what = match row.event {
            Event::Finished => {
                self.finished += 1;
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
        let (now, undone) = (Instant::from_nanos(row.at_us * 1_000), self.refused + self.skipped);
        let unsaid = match self.complained {
            Some((last, _)) if now.since(last) < COMPLAINT_INTERVAL => return None,
            Some((_, said)) => undone - said - 1,
            None => 0,
        };
        self.complained = Some((now, undone));
        let (request, cause) = (row.request.unwrap_or_default(), row.cause.as_deref().unwrap_or_default());
        let more = if unsaid > 0 { format!(" (and {unsaid} more since the last line)") } else { String::new() };
        Some(format!("{} {what} request #{request}: {cause}{more}", row.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_come_once_a_second_and_count_those_that_were_not_said() {
        let row = |at_us, event| EventRow {
            at_us,
            source: "server-0".into(),
            event,
            target: None,
            cause: Some("full".to_owned()),
            fault: None,
            request: Some(7),
            attempt: None,
            duration_us: None,
        };
        let mut counts = Counts::default();
        assert_eq!(counts.count(&row(0, Event::Finished)), None);
        assert_eq!(counts.count(&row(0, Event::Refused)).as_deref(), Some("server-0 refused request #7: full"));
        assert_eq!(counts.count(&row(900_000, Event::Refused)), None);
        let later = counts.count(&row(1_000_000, Event::Skipped));
        assert_eq!(later.as_deref(), Some("server-0 dropped request #7: full (and 1 more since the last line)"));
        assert_eq!((counts.finished, counts.refused, counts.skipped), (1, 2, 1));
    }
}
