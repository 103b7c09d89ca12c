//! The requests of a run in order of their intended time, so that any stretch of the run is a slice of them.

use std::collections::BTreeMap;

use super::{
    RunRows,
    extent::{Extent, Interval, Intervals},
    lateness::SendTimes,
    span::Span,
    streams::{Stream, Streams},
};
use crate::{
    record::{Answer, Name, RequestRow},
    status::Outcome,
};

/// The part of a request that the figures need: 40 bytes, where its row takes some hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) intended_us: u64,
    latency_us: u64,
    since_sent_us: u64,
    pub(super) attempts: u32,
    pub(super) failovers: u32,
    pub(super) hedges: u32,
    flags: u8,
}

impl Request {
    const SUCCEEDED: u8 = 1;
    const DROPPED: u8 = 1 << 1;
    const COMPLETED: u8 = 1 << 2;
    const REJECTED: u8 = 1 << 3;
    const HAS_LATENCY: u8 = 1 << 4;
    const WAS_SENT: u8 = 1 << 5;
    const CACHED: u8 = 1 << 6;
    const DEGRADED: u8 = 1 << 7;

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_success(&self) -> bool {
        self.has(Self::SUCCEEDED)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.has(Self::DROPPED)
    }

    /// Returns whether it ended with a status, whatever it is.
    pub(super) fn is_completed(&self) -> bool {
        self.has(Self::COMPLETED)
    }

    /// Returns whether a policy rejected one of its attempts.
    pub(super) fn is_rejected(&self) -> bool {
        self.has(Self::REJECTED)
    }

    /// Returns whether the cache answered it.
    pub(super) fn is_cached(&self) -> bool {
        self.has(Self::CACHED)
    }

    /// Returns whether its answer is degraded.
    pub(super) fn is_degraded(&self) -> bool {
        self.has(Self::DEGRADED)
    }

    pub(super) fn latency_us(&self) -> Option<u64> {
        self.has(Self::HAS_LATENCY).then_some(self.latency_us)
    }

    /// Returns the time from when its call began to when it ended.
    pub(super) fn since_sent_us(&self) -> Option<u64> {
        self.has(Self::WAS_SENT).then_some(self.since_sent_us)
    }
}

impl Interval for Request {
    fn start_us(&self) -> u64 {
        self.intended_us
    }

    /// Returns when its call ended. A dropped request is over at once.
    fn end_us(&self) -> u64 {
        self.intended_us.saturating_add(self.latency_us)
    }
}

impl From<&RequestRow> for Request {
    fn from(row: &RequestRow) -> Self {
        let since_sent_us = row.done_us.zip(row.sent_us).map(|(done_us, sent_us)| done_us.saturating_sub(sent_us));
        let flags = [
            (Self::SUCCEEDED, row.status.is_success()),
            (Self::DROPPED, row.status == Outcome::Dropped),
            (Self::COMPLETED, row.done_us.is_some()),
            (Self::REJECTED, row.rejected),
            (Self::HAS_LATENCY, row.latency_us.is_some()),
            (Self::WAS_SENT, since_sent_us.is_some()),
            (Self::CACHED, matches!(row.answer, Some(Answer::Cached | Answer::Stale)) && row.attempts == 0),
            (Self::DEGRADED, row.answer.is_some_and(Answer::is_degraded)),
        ];
        Self {
            intended_us: row.intended_us,
            latency_us: row.latency_us.unwrap_or_default(),
            since_sent_us: since_sent_us.unwrap_or_default(),
            attempts: row.attempts,
            failovers: row.failovers,
            hedges: row.hedges,
            flags: flags.into_iter().filter(|(_, is_set)| *is_set).fold(0, |flags, (flag, _)| flags | flag),
        }
    }
}

/// Every request of a run, ascending by `intended_us`. No figure depends on the order of requests that are intended at
/// the same microsecond.
pub(super) struct Requests {
    requests: Intervals<Request>,
    /// The replies that streamed.
    pub(super) streams: Streams,
    end_us: u64,
    /// Number of requests by how they ended.
    pub(super) statuses: BTreeMap<Outcome, u64>,
    /// Number of requests by the server that gave the final answer.
    pub(super) servers: BTreeMap<Name, u64>,
    /// The lateness of their sends.
    pub(super) sends: SendTimes,
}

impl Requests {
    pub(super) fn sorted(run: &RunRows<'_>) -> Self {
        let mut counts = Self::none(run.duration_us());
        let mut requests = Vec::new();
        let mut streams = Vec::new();
        run.rows.each_request(&mut |row| {
            requests.push(Request::from(row));
            streams.extend(Stream::of_request(row));
            counts.count(row);
            counts.sends.keep(row);
        });
        Self { requests: Intervals::new(requests), streams: Streams::new(streams), ..counts }
    }

    /// Returns no requests of a run whose load ends at `load_end_us`.
    pub(super) fn none(load_end_us: u64) -> Self {
        // The run ends after the load, and after the last call.
        Self {
            requests: Intervals::new(Vec::new()),
            streams: Streams::new(Vec::new()),
            end_us: load_end_us,
            statuses: BTreeMap::new(),
            servers: BTreeMap::new(),
            sends: SendTimes::default(),
        }
    }

    /// Counts a request, without keeping it.
    pub(super) fn count(&mut self, row: &RequestRow) {
        self.end_us = row.done_us.map_or(self.end_us, |done_us| done_us.max(self.end_us));
        *self.statuses.entry(row.status).or_default() += 1;
        // Looked up first: a name is one of few, and is in most rows.
        match row.server.as_ref().map(|server| (server, self.servers.get_mut(server))) {
            Some((_, Some(count))) => *count += 1,
            Some((server, None)) => {
                self.servers.insert(server.clone(), 1);
            }
            None => {}
        }
    }

    pub(super) fn all(&self) -> &[Request] {
        self.requests.all()
    }

    /// Returns when the run ends.
    pub(super) fn end_us(&self) -> u64 {
        self.end_us
    }

    /// Returns the requests that are intended at `at_us` or later.
    pub(super) fn since(&self, at_us: u64) -> &[Request] {
        self.requests.beginning_in(Span { start_us: at_us, end_us: u64::MAX })
    }

    /// Returns the requests that are intended from the span's start to just before its end. A span that reaches the end
    /// of the run holds those at its very end, too, so that no request is lost between the phases.
    pub(super) fn intended_in(&self, span: Span) -> &[Request] {
        let end_us = if span.end_us >= self.end_us { u64::MAX } else { span.end_us };
        self.requests.beginning_in(Span { end_us, ..span })
    }

    /// Returns the requests that count in a phase.
    pub(super) fn within<'a>(&'a self, extent: &'a Extent) -> impl Iterator<Item = &'a Request> + Clone {
        self.requests.within(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::{Sample, ok};

    #[test]
    fn a_span_holds_its_start_and_not_its_end_unless_the_run_ends_there() {
        let sample = Sample::of_seconds(3).requests([2_000_000, 0, 1_000_000, 3_000_000].map(|at| ok(at, 0)));
        let requests = Requests::sorted(&sample.run());
        let intended = |start_us, end_us| -> Vec<u64> {
            requests.intended_in(Span { start_us, end_us }).iter().map(|row| row.intended_us).collect()
        };
        assert_eq!(intended(0, 2_000_000), [0, 1_000_000]);
        assert_eq!(intended(1_000_000, 3_000_000), [1_000_000, 2_000_000, 3_000_000]);
        assert!(intended(1_000_000, 1_000_000).is_empty());
    }

    #[test]
    fn the_run_ends_with_its_last_call_or_its_load_whichever_is_later() {
        // Intended at 2 s and answered 2.5 s later: over at 4.5 s, although the load ended at 3 s.
        let slow = Sample::of_seconds(3).requests([ok(2_000_000, 2_500_000)]);
        assert_eq!(Requests::sorted(&slow.run()).end_us(), 4_500_000);
        let quick = Sample::of_seconds(3).requests([ok(2_000_000, 1_000)]);
        assert_eq!(Requests::sorted(&quick.run()).end_us(), 3_000_000);
    }
}
