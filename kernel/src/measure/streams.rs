//! The messages of replies that stream.

use super::{
    extent::{Extent, Interval, Intervals},
    metrics::Metrics,
    ranks::percentiles,
    ratio, seconds,
};
use crate::record::{Answer, RequestRow};

/// The part of a reply that streamed that the figures need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    intended_us: u64,
    done_us: u64,
    messages: u64,
    /// Time from when the request was intended to be sent.
    first_us: Option<u64>,
    gap_us: Option<u64>,
    lost: u64,
    /// It has failed, and what had come is the answer.
    is_partial: bool,
}

impl Stream {
    /// Returns the reply to a request; none if it did not stream.
    pub(super) fn of_request(row: &RequestRow) -> Option<Self> {
        let stream = row.stream.as_ref()?;
        Some(Self {
            intended_us: row.intended_us,
            done_us: row.done_us.unwrap_or(row.intended_us),
            messages: stream.messages,
            first_us: stream.first_us.map(|first_us| first_us.saturating_sub(row.intended_us)),
            gap_us: stream.gap_us,
            lost: stream.lost.unwrap_or_default(),
            is_partial: row.answer == Some(Answer::Partial),
        })
    }
}

impl Interval for Stream {
    fn start_us(&self) -> u64 {
        self.intended_us
    }

    fn end_us(&self) -> u64 {
        self.done_us
    }
}

/// The replies of a run that streamed, in the order of their requests.
#[derive(Debug)]
pub(super) struct Streams(Intervals<Stream>);

impl Streams {
    pub(super) fn new(streams: Vec<Stream>) -> Self {
        Self(Intervals::new(streams))
    }

    /// Adds the figures of the replies that count in a phase to the metrics of that.
    pub(super) fn add_within(&self, extent: &Extent, metrics: Metrics) -> Metrics {
        if self.0.all().is_empty() {
            return metrics;
        }
        let members: Vec<Stream> = self.0.within(extent).copied().collect();
        add(&members, metrics)
    }

    /// Does the same with all replies.
    pub(super) fn add_all(&self, metrics: Metrics) -> Metrics {
        add(self.0.all(), metrics)
    }
}

/// The percentiles that are metrics, in thousandths; the last one is the greatest value.
const RANKS: [u32; 3] = [500, 950, 1000];

fn add(streams: &[Stream], metrics: Metrics) -> Metrics {
    let values = |value: fn(&Stream) -> Option<u64>| {
        percentiles(streams.iter().filter_map(value).collect(), RANKS).map(|us| us.map(seconds))
    };
    let [first_message_p50, first_message_p95, first_message_max] = values(|stream| stream.first_us);
    let [_, message_gap_p95, message_gap_max] = values(|stream| stream.gap_us);
    let partial = || streams.iter().filter(|stream| stream.is_partial);
    let parts: u64 = partial().map(|stream| stream.messages).sum();
    let all: u64 = partial().map(|stream| stream.messages + stream.lost).sum();
    Metrics {
        part_share: ratio(parts, all),
        messages: streams.iter().map(|stream| stream.messages).sum(),
        first_message_p50,
        first_message_p95,
        first_message_max,
        message_gap_p95,
        message_gap_max,
        messages_lost: streams.iter().map(|stream| stream.lost).sum(),
        ..metrics
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        measure::sample::{Sample, failed, fault_end, fault_start, ok},
        record::{RequestRow, StreamFigures},
    };

    const S: u64 = 1_000_000;

    fn streamed(row: RequestRow, first_us: u64, gap_us: u64, lost: Option<u64>) -> RequestRow {
        let first_us = Some(row.intended_us + first_us);
        RequestRow { stream: Some(StreamFigures { messages: 4, first_us, gap_us: Some(gap_us), lost }), ..row }
    }

    #[test]
    fn streams_are_measured_from_when_they_were_intended_and_in_their_phase() {
        let rows = [
            streamed(ok(0, S), 100_000, 200_000, None),
            streamed(failed(4 * S, 2 * S), 300_000, 1_500_000, Some(6)),
            streamed(ok(8 * S, S), 200_000, 250_000, None),
            ok(9 * S, 1_000),
        ];
        let fault = [fault_start(0, "freeze", "server-0", 5 * S), fault_end(0, "server-0", 6 * S)];
        let summary = Sample::of_seconds(10).requests(rows).events(fault).summary(&[]);
        let overall = &summary.overall;
        assert_eq!((overall.messages, overall.messages_lost), (12, 6));
        assert_eq!((overall.first_message_p50, overall.first_message_p95), (Some(0.2), Some(0.3)));
        assert_eq!((overall.message_gap_p95, overall.message_gap_max), (Some(1.5), Some(1.5)));
        let phase = |name: &str| &summary.phases.iter().find(|phase| phase.phase == name).unwrap().metrics;
        assert_eq!((phase("fault-0").messages_lost, phase("fault-0").messages), (6, 4));
        assert_eq!((phase("before").messages_lost, phase("before").message_gap_max), (0, Some(0.2)));
        assert!(summary.render().contains("12 messages in streams, 6 lost"), "{}", summary.render());
        let written = serde_json::to_value(Sample::of_seconds(1).requests([ok(0, 1)]).summary(&[])).unwrap();
        assert!(written["overall"].get("messages").is_none() && written["overall"].get("first_message_p50").is_none());
    }
}
