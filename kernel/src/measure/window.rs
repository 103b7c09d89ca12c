//! The 1 s windows of a run.

use super::{SECOND_US, requests::Request, span::Span};

/// A whole second of the run, counted from its start, with the requests that are intended in it. A second without
/// requests has no window.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) start_us: u64,
    /// The requests, of which there is at least one.
    pub(super) requests: &'a [Request],
}

/// Returns the windows of `requests`, which are ascending by `intended_us`; a request belongs to the window of that time.
/// Those of a phase that begins or ends inside of a second make a window there that holds only the phase's own.
pub(super) fn windows(requests: &[Request]) -> impl Iterator<Item = Window<'_>> {
    let seconds = requests.chunk_by(|a, b| second(a) == second(b));
    seconds.map(|requests| Window { start_us: second(&requests[0]) * SECOND_US, requests })
}

/// Returns the whole seconds that pass until `request` is intended.
fn second(request: &Request) -> u64 {
    request.intended_us / SECOND_US
}

impl Window<'_> {
    pub(super) fn end_us(&self) -> u64 {
        self.start_us.saturating_add(SECOND_US)
    }

    pub(super) fn successes(&self) -> u64 {
        self.requests.iter().filter(|request| request.is_success()).count() as u64
    }
}

/// The windows of a phase, counted by whether the service was available in them.
#[derive(Default)]
pub(super) struct Uptime {
    /// Number of windows with offered load.
    pub(super) offered: u64,
    /// Number of those with at least one success.
    pub(super) available: u64,
    /// Time inside of the phase of those without any success, in microseconds.
    pub(super) unavailable_us: u64,
}

impl Uptime {
    /// Counts the windows of `span`, too, whose offered load is `requests`.
    pub(super) fn and_of(self, requests: &[Request], span: Span) -> Self {
        windows(requests).fold(self, |uptime, window| uptime.and(window, span))
    }

    fn and(mut self, window: Window<'_>, span: Span) -> Self {
        self.add(window.start_us, window.requests.iter().any(Request::is_success), span);
        self
    }

    /// Counts the window that starts at `start_us`.
    fn add(&mut self, start_us: u64, is_available: bool, span: Span) {
        self.offered += 1;
        if is_available {
            self.available += 1;
        } else {
            let end_us = start_us.saturating_add(SECOND_US).min(span.end_us);
            self.unavailable_us += end_us.saturating_sub(start_us.max(span.start_us));
        }
    }
}

/// The seconds in which requests are intended, collected from requests that come in any order.
#[derive(Default)]
pub(super) struct OfferedSeconds {
    /// Each second, times two, and one more if a request of it succeeded. Requests mostly come in the order of time, so there
    /// are hardly more entries than seconds.
    seconds: Vec<u64>,
    last: Option<u64>,
}

impl OfferedSeconds {
    pub(super) fn add(&mut self, request: &Request) {
        let entry = second(request) << 1 | u64::from(request.is_success());
        if self.last != Some(entry) {
            self.last = Some(entry);
            self.seconds.push(entry);
        }
    }

    /// Counts the windows of the run `span`.
    pub(super) fn uptime(mut self, span: Span) -> Uptime {
        self.seconds.sort_unstable();
        let mut uptime = Uptime::default();
        for entries in self.seconds.chunk_by(|a, b| a >> 1 == b >> 1) {
            uptime.add((entries[0] >> 1) * SECOND_US, entries.iter().any(|entry| entry & 1 == 1), span);
        }
        uptime
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{failed, ok};

    #[test]
    fn windows_begin_at_whole_seconds_and_seconds_without_load_have_none() {
        let rows = [ok(0, 1), ok(999_999, 1), ok(1_000_000, 1), ok(5_500_000, 1)];
        let rows: Vec<_> = rows.iter().map(Request::from).collect();
        let found: Vec<(u64, usize)> = windows(&rows).map(|window| (window.start_us, window.requests.len())).collect();
        assert_eq!(found, [(0, 2), (1_000_000, 1), (5_000_000, 1)]);
    }

    #[test]
    fn a_window_is_available_with_one_success_and_counts_only_with_load() {
        // Second 0: a failure and a success. Second 1: two failures. Second 2: nothing. Second 3: a failure.
        let rows = [failed(0, 1), ok(900_000, 1), failed(1_000_000, 1), failed(1_500_000, 1), failed(3_000_000, 1)];
        let rows: Vec<_> = rows.iter().map(Request::from).collect();
        let uptime = Uptime::default().and_of(&rows, Span { start_us: 0, end_us: 4_000_000 });
        assert_eq!((uptime.offered, uptime.available, uptime.unavailable_us), (3, 1, 2_000_000));
    }

    #[test]
    fn a_window_cut_by_the_phase_counts_for_the_part_inside() {
        // The phase is 0.7 s to 2.2 s: 0.3 s of second 0, all of second 1, 0.2 s of second 2.
        let rows = [failed(800_000, 1), failed(1_500_000, 1), failed(2_100_000, 1)];
        let rows: Vec<_> = rows.iter().map(Request::from).collect();
        let uptime = Uptime::default().and_of(&rows, Span { start_us: 700_000, end_us: 2_200_000 });
        assert_eq!((uptime.offered, uptime.available, uptime.unavailable_us), (3, 0, 1_500_000));
    }
}
