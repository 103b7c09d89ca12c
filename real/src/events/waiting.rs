//! Rows that wait to be sent.

use std::sync::Mutex;

use kernel::{record::Row, sync::lock};

/// Bytes of rows that may wait, those that are being sent included.
const BYTES_MAX: usize = 64 << 20;

/// A request that no row is of.
const NO_REQUEST: u64 = u64::MAX;

/// Rows on their way to a topic. What takes them never waits for that.
#[derive(Debug)]
pub struct Waiting {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    /// Bytes of the rows that have been taken and not yet delivered.
    sending: usize,
    /// Rows so far, those that were dropped included.
    taken: u64,
    dropped: u64,
}

/// Rows, each with what its message needs.
#[derive(Debug, Default)]
pub(super) struct Rows {
    lines: Vec<u8>,
    heads: Vec<Head>,
}

/// The facts about a row beside its line.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Position among all rows of the run.
    number: u64,
    request: u64,
    /// End of its line.
    end: usize,
    file: File,
}

/// The file of a run's folder that a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Requests,
    Attempts,
    Events,
    Calls,
}

/// A row that waits until it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter<'a> {
    /// Position among all rows of the run, from 0.
    pub(super) number: u64,
    pub(super) file: File,
    /// The request that it is of, if it is of one.
    pub(super) request: Option<u64>,
    /// Its line, without the line break.
    pub(super) line: &'a [u8],
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// All so far, those that were dropped included.
    pub(super) taken: u64,
    pub(super) dropped: u64,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { state: Mutex::default(), bytes_max: BYTES_MAX }
    }
}

impl Waiting {
    /// Takes a row with its line of the run's folder, or drops and counts it if there is no room.
    pub fn push(&self, row: &Row, line: &[u8]) {
        let (file, request) = match row {
            Row::Request(row) => (File::Requests, row.id),
            Row::Attempt(row) => (File::Attempts, row.request),
            Row::Event(row) => (File::Events, row.request.unwrap_or(NO_REQUEST)),
            Row::Call(row) => (File::Calls, row.request.unwrap_or(NO_REQUEST)),
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut state = lock(&self.state);
        let number = state.taken;
        state.taken += 1;
        if state.rows.bytes() + state.sending + line.len() + size_of::<Head>() > self.bytes_max {
            state.dropped += 1;
            return;
        }
        let Rows { lines, heads } = &mut state.rows;
        lines.extend_from_slice(line);
        heads.push(Head { number, request, end: lines.len(), file });
    }

    /// Moves the rows that wait to `rows`, whose own have been delivered.
    pub(super) fn take(&self, rows: &mut Rows) {
        rows.lines.clear();
        rows.heads.clear();
        let mut state = lock(&self.state);
        std::mem::swap(rows, &mut state.rows);
        state.sending = rows.bytes();
    }

    /// Returns the number of bytes that wait and are not being sent.
    pub(super) fn bytes(&self) -> usize {
        lock(&self.state).rows.bytes()
    }

    pub(super) fn counts(&self) -> Counts {
        let state = lock(&self.state);
        Counts { taken: state.taken, dropped: state.dropped }
    }
}

impl Rows {
    fn bytes(&self) -> usize {
        self.lines.len() + self.heads.len() * size_of::<Head>()
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Returns a row by its index.
    pub(super) fn get(&self, index: usize) -> Waiter<'_> {
        let Head { number, request, end, file } = self.heads[index];
        let start = index.checked_sub(1).map_or(0, |before| self.heads[before].end);
        let request = (request != NO_REQUEST).then_some(request);
        Waiter { number, file, request, line: &self.lines[start..end] }
    }
}

impl File {
    /// Its name without `.jsonl`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Attempts => "attempts",
            Self::Events => "events",
            Self::Calls => "calls",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use kernel::{
        record::{AttemptRow, Event, EventRow},
        status::Code,
    };

    use super::*;

    pub(in super::super) fn attempt(request: u64) -> Row {
        Row::Attempt(AttemptRow {
            request,
            attempt: 1,
            server: "server-0".into(),
            start_us: 0,
            end_us: 1,
            status: Code::Ok,
            cause: None,
            committed_us: None,
        })
    }

    #[test]
    fn rows_keep_their_order_their_numbers_and_their_requests() {
        let waiting = Waiting::default();
        let event = EventRow {
            at_us: 0,
            source: "nemesis".into(),
            event: Event::FaultStart,
            target: None,
            cause: None,
            fault: Some(0),
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        };
        waiting.push(&attempt(7), b"a\n");
        waiting.push(&Row::Event(event), b"bc\n");
        let mut rows = Rows::default();
        waiting.take(&mut rows);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.get(0), Waiter { number: 0, file: File::Attempts, request: Some(7), line: b"a" });
        assert_eq!(rows.get(1), Waiter { number: 1, file: File::Events, request: None, line: b"bc" });
        waiting.push(&attempt(8), b"d\n");
        waiting.take(&mut rows);
        assert_eq!(rows.get(0), Waiter { number: 2, file: File::Attempts, request: Some(8), line: b"d" });
        assert_eq!(waiting.counts(), Counts { taken: 3, dropped: 0 });
    }

    #[test]
    fn without_room_rows_are_dropped_and_counted_until_there_is_room_again() {
        let line = b"0123456789";
        let waiting = Waiting { bytes_max: 2 * (line.len() + size_of::<Head>()), ..Waiting::default() };
        let push = || waiting.push(&attempt(1), line);
        (0..5).for_each(|_| push());
        assert_eq!(waiting.counts(), Counts { taken: 5, dropped: 3 });
        let mut rows = Rows::default();
        waiting.take(&mut rows);
        assert_eq!(rows.len(), 2);
        // What is being sent takes its room until it has been delivered.
        push();
        assert_eq!(waiting.counts(), Counts { taken: 6, dropped: 4 });
        waiting.take(&mut rows);
        assert_eq!(rows.len(), 0);
        push();
        waiting.take(&mut rows);
        assert_eq!(rows.get(0).number, 6, "a gap in the numbers says what was dropped");
    }
}
