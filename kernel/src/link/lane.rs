//! One direction of one connection: segments on their way, in order.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Link, PartialShape,
    burst::LossChain,
    retransmission::{GIVE_UP, RTO, Retransmission},
    shape::{Shape, Way},
    stream::{Connection, Effect, bursts},
};
use crate::{entropy::RandomStream, time::Instant, world::Sleep};

/// Largest piece of data that is lost or paced as one: a full segment on the loopback device, whose MTU is 64 KiB.
const SEGMENT_BYTES: usize = 64 * 1024;

/// The queue of one direction. A segment gets its time of arrival when it enters, and never overtakes the one ahead.
///
/// A segment that enters during a cut is held: it has no time of arrival until TCP retransmits it after the cut. If the cut is too long,
/// TCP gives the connection up.
pub(super) struct Lane {
    way: Way,
    connection: Arc<Connection>,
    rng: RandomStream,
    /// The states of the faults that lose segments in bursts.
    chains: Vec<LossChain>,
    queue: VecDeque<Segment>,
    /// Number of data bytes in `queue`.
    queued: usize,
    /// Latest time of arrival so far. The next segment does not arrive before it.
    last_arrival: Instant,
    /// The segments that were sent last, back to back.
    burst: Option<Burst>,
    /// Time at which TCP first sent the held segments; `None` while no segment is held.
    stuck_since: Option<Instant>,
    /// Time of TCP's next retransmission of the held segments, or, during a cut, at which it gives up; `None` while no segment is held.
    held_until: Option<Instant>,
    /// True once TCP has given up. What is left to send then, a reset, answers the peer's packets, which has no limit in time.
    has_given_up: bool,
    /// The timer of the segment at the head, with the time at which that arrives or is retransmitted.
    timer: Option<(Instant, Sleep)>,
}

/// Segments that leave back to back: all until [`World::segment_gap`](crate::world::World::segment_gap) after the first one. They share one
/// delay.
struct Burst {
    /// Time of the first one.
    sent: Instant,
    shape: Shape,
    delay: Duration,
}

/// A segment in the queue.
struct Segment {
    payload: Payload,
    /// Time of arrival; `None` from a cut until TCP's next retransmission after it.
    arrival: Option<Instant>,
}

/// The content of a segment.
pub(super) enum Payload {
    /// Bytes of the stream.
    Data(Bytes),
    /// The end of the stream.
    End,
    /// The failure of the connection.
    Failure(io::Error),
    /// The end of the sender's patience: TCP has given up, as nothing has acknowledged what was sent before.
    GivenUp,
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::End | Self::Failure(_) | Self::GivenUp => 0,
        }
    }
}

impl Lane {
    /// Creates an empty lane of `connection` in the direction `way`, which draws delays and losses from `rng`.
    pub(super) fn new(connection: Arc<Connection>, way: Way, rng: RandomStream) -> Self {
        Self {
            way,
            connection,
            rng,
            chains: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: Instant::START,
            burst: None,
            stuck_since: None,
            held_until: None,
            has_given_up: false,
            timer: None,
        }
    }

    /// Returns its direction.
    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// Returns the number of data bytes on their way.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns true if no segment is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns true if every segment has arrived.
    pub(super) fn has_arrived(&self, now: Instant) -> bool {
        self.queue.back().is_none_or(|segment| segment.arrival.is_some_and(|arrival| arrival <= now))
    }

    /// Removes all segments.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.stuck_since = None;
        self.held_until = None;
        self.timer = None;
    }

    /// Sends `payload`, in segments if their size matters.
    pub(super) fn push(&mut self, link: &Link, payload: Payload) {
        let splits = self.connection.effect(self.way).splits();
        match payload {
            Payload::Data(mut bytes) if splits => {
                while bytes.len() > SEGMENT_BYTES {
                    let segment = bytes.split_to(SEGMENT_BYTES);
                    self.push_segment(link, Payload::Data(segment));
                }
                self.push_segment(link, Payload::Data(bytes));
            }
            payload => self.push_segment(link, payload),
        }
    }

    /// Returns the payload at the head when it has arrived.
    pub(super) fn poll_arrival(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<&mut Payload> {
        loop {
            self.release_if_healed(link);
            let arrival = self.queue.front().and_then(|segment| segment.arrival);
            let Some(due) = arrival.or(self.held_until) else {
                self.timer = None;
                return Poll::Pending;
            };
            if link.world.now() < due {
                let timer = match &mut self.timer {
                    Some((at, timer)) if *at == due => timer,
                    timer => &mut timer.insert((due, link.world.sleep_until(due))).1,
                };
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            self.timer = None;
            if arrival.is_some() {
                return Poll::Ready(&mut self.queue.front_mut().expect("a segment was at the head").payload);
            }
        }
    }

    /// Counts `bytes` as consumed, which the caller has taken from the payload at the head, and removes the payload if it is
    /// empty.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.queued -= bytes;
        if self.queue.front().is_some_and(|segment| segment.payload.len() == 0) {
            self.queue.pop_front();
        }
    }

    /// Sends one segment.
    fn push_segment(&mut self, link: &Link, payload: Payload) {
        self.release_if_healed(link);
        let now = link.world.now();
        let arrival = if self.connection.effect(self.way).shape.cuts(self.way) {
            self.stuck_since.get_or_insert(now);
            None
        } else {
            // Segments that are held leave first, at a time that is not known yet, so this one waits behind them.
            self.stuck_since.is_none().then(|| self.arrival(link, now, payload.len()))
        };
        self.queued += payload.len();
        self.queue.push_back(Segment { payload, arrival });
    }

    /// Gives held segments their times of arrival, once TCP has retransmitted them. That is its first retransmission after the
    /// end of the cut, unless it falls into the next cut, or TCP has given up before.
    fn release_if_healed(&mut self, link: &Link) {
        let Some(stuck_since) = self.stuck_since else { return };
        let cut = self.connection.cut(self.way);
        let now = link.world.now();
        let sent = Retransmission::new(RTO).first_at_or_after(stuck_since, cut.ended);
        let patience = self.connection.user_timeout(self.way).unwrap_or(GIVE_UP);
        let gives_up = if self.has_given_up { Instant::NEVER } else { stuck_since + patience };
        // During a cut, a retransmission before its beginning has passed: this lane was not polled in between.
        let leaves = if cut.lasts { sent < cut.began } else { sent <= now };
        if sent < gives_up && leaves {
            self.release(link, sent);
        } else if gives_up <= now {
            self.clear();
            self.has_given_up = true;
            self.queue.push_back(Segment { payload: Payload::GivenUp, arrival: Some(gives_up) });
        } else {
            self.held_until = Some(if cut.lasts { gives_up } else { sent.min(gives_up) });
        }
    }

    /// Gives held segments, which TCP retransmits at `sent`, their times of arrival.
    fn release(&mut self, link: &Link, sent: Instant) {
        self.stuck_since = None;
        self.held_until = None;
        let first_held = self.queue.partition_point(|segment| segment.arrival.is_some());
        for position in first_held..self.queue.len() {
            let arrival = self.arrival(link, sent, self.queue[position].payload.len());
            self.queue[position].arrival = Some(arrival);
        }
    }

    /// Computes the time at which a segment of `bytes`, sent at `sent`, arrives.
    fn arrival(&mut self, link: &Link, sent: Instant, bytes: usize) -> Instant {
        let Effect { shape, partial } = self.connection.effect(self.way);
        // All connections of the link share its bandwidth, so a segment leaves after those of the others.
        let left = if shape.bandwidth.is_some() { link.pace(&partial, self.way, sent, bytes) } else { sent };
        let gap = link.world.segment_gap();
        let delay = match &self.burst {
            Some(burst) if burst.shape == shape && (burst.sent..=burst.sent + gap).contains(&sent) => burst.delay,
            _ => {
                let delay = shape.delay(&mut self.rng);
                self.burst = Some(Burst { sent, shape, delay });
                delay
            }
        };
        self.follow(link, &partial);
        let arrival = left + delay + shape.retransmissions(RTO, &mut self.rng, &mut self.chains);
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// Keeps the states of the faults among `partial` that lose segments in bursts, and begins those of new ones.
    fn follow(&mut self, link: &Link, partial: &[PartialShape]) {
        self.chains.retain(|chain| bursts(partial).any(|(fault, burst)| chain.belongs_to(fault, &burst)));
        for (fault, burst) in bursts(partial) {
            if !self.chains.iter().any(|chain| chain.belongs_to(fault, &burst)) {
                let number = self.connection.id().number;
                self.chains.push(link.loss_chain("link.burst", number, self.way, fault, burst));
            }
        }
    }
}

// The host that they run on comes with the feature.
#[cfg(all(test, feature = "service"))]
mod tests;
