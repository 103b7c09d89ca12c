//! One direction of one connection: segments on their way, in order.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;

use super::{
    Link,
    retransmission::{RTO, Retransmission},
    shape::{Shape, Way},
};
use crate::{time::Instant, world::Sleep};

/// The largest piece that is lost or paced as one: a full segment on the loopback device, whose MTU is 64 KiB.
const SEGMENT_BYTES: usize = 64 * 1024;

/// The queue of one direction. What enters gets its time of arrival at once and never overtakes.
pub(super) struct Lane {
    way: Way,
    rng: ChaCha8Rng,
    queue: VecDeque<Segment>,
    /// Data bytes in `queue`.
    queued: usize,
    /// No segment arrives before the one ahead of it.
    last_arrival: Instant,
    /// What was sent last.
    burst: Option<Burst>,
    /// While something is held: when TCP first sent it in vain.
    stuck_since: Option<Instant>,
    /// While something is held and the way is not cut: when TCP tries again.
    retry_at: Option<Instant>,
    /// The timer of the segment at the head, and the time it arrives or is tried again.
    timer: Option<(Instant, Sleep)>,
}

/// What is sent at one instant travels together, as segments that leave back to back do.
struct Burst {
    sent: Instant,
    shape: Shape,
    delay: Duration,
}

struct Segment {
    payload: Payload,
    /// `None` while a cut holds it, and then until TCP tries again.
    arrival: Option<Instant>,
}

/// What travels.
pub(super) enum Payload {
    Data(Bytes),
    /// The end of the stream.
    End,
    Failure(io::Error),
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::End | Self::Failure(_) => 0,
        }
    }
}

impl Lane {
    pub(super) fn new(way: Way, rng: ChaCha8Rng) -> Self {
        Self {
            way,
            rng,
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: Instant::START,
            burst: None,
            stuck_since: None,
            retry_at: None,
            timer: None,
        }
    }

    /// Data bytes on their way.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the last of what was sent off has arrived.
    pub(super) fn has_arrived(&self, now: Instant) -> bool {
        self.queue.back().is_none_or(|segment| segment.arrival.is_some_and(|arrival| arrival <= now))
    }

    /// Takes back all that is on its way.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        (self.queued, self.stuck_since, self.retry_at, self.timer) = (0, None, None, None);
    }

    /// Sends `payload` off.
    pub(super) fn push(&mut self, link: &Link, payload: Payload) {
        let splits = link.state().shape.splits();
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

    /// The payload at the head, once it has arrived.
    pub(super) fn poll_arrival(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<&mut Payload> {
        loop {
            self.release_if_healed(link);
            let arrival = self.queue.front().and_then(|segment| segment.arrival);
            let Some(due) = arrival.or(self.retry_at) else {
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

    /// `bytes` have been taken off the head, which is done with once it is empty.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.queued -= bytes;
        if self.queue.front().is_some_and(|segment| segment.payload.len() == 0) {
            self.queue.pop_front();
        }
    }

    fn push_segment(&mut self, link: &Link, payload: Payload) {
        self.release_if_healed(link);
        let now = link.world.now();
        let arrival = if link.state().shape.cuts(self.way) {
            self.stuck_since.get_or_insert(now);
            None
        } else {
            // What is stuck ahead goes first, at a time that is not known yet.
            self.stuck_since.is_none().then(|| self.arrival(link, now, payload.len()))
        };
        self.queued += payload.len();
        self.queue.push_back(Segment { payload, arrival });
    }

    /// What was held leaves with TCP's first retransmission since the cut was lifted, unless that falls into another.
    fn release_if_healed(&mut self, link: &Link) {
        let Some(stuck_since) = self.stuck_since else { return };
        let (is_cut, cut, healed) = {
            let (state, way) = (link.state(), self.way);
            (state.shape.cuts(way), state.cut[way as usize], state.healed[way as usize])
        };
        let sent = Retransmission::of(RTO).first_at_or_after(stuck_since, healed);
        self.retry_at = (!is_cut).then_some(sent);
        let leaves = if is_cut { sent < cut } else { sent <= link.world.now() };
        if !leaves {
            return;
        }
        (self.stuck_since, self.retry_at) = (None, None);
        let first_held = self.queue.partition_point(|segment| segment.arrival.is_some());
        for position in first_held..self.queue.len() {
            let arrival = self.arrival(link, sent, self.queue[position].payload.len());
            self.queue[position].arrival = Some(arrival);
        }
    }

    /// When `bytes` sent at `sent` arrive.
    fn arrival(&mut self, link: &Link, sent: Instant, bytes: usize) -> Instant {
        let mut state = link.state();
        let shape = state.shape;
        let mut left = sent;
        if shape.bandwidth.is_some() {
            left = sent.max(state.busy_until[self.way as usize]) + shape.serialization(bytes);
            state.busy_until[self.way as usize] = left;
        }
        drop(state);
        let delay = match &self.burst {
            Some(burst) if burst.sent == sent && burst.shape == shape => burst.delay,
            _ => shape.delay(&mut self.rng),
        };
        self.burst = Some(Burst { sent, shape, delay });
        let arrival = left + delay + shape.retransmissions(RTO, &mut self.rng);
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}
