use std::{sync::Arc, task::Waker};

use bytes::Buf;

use super::{
    super::{BurstLoss, LinkEffect, LinkShape},
    *,
};
use crate::{
    entropy::Entropy,
    fuzzing::host::{MemoryHost, SharedHost},
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A lane to a server, on a host whose clock the test sets.
struct Fixture {
    host: Arc<MemoryHost>,
    link: Arc<Link>,
    lane: Lane,
}

/// The result of a poll of the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Taken {
    Data(Vec<u8>),
    End,
    Failure,
    GivenUp,
}

impl Fixture {
    fn new(shape: Shape) -> Self {
        let host = MemoryHost::new().0;
        let link = Link::new(Arc::new(SharedHost(host.clone())), Entropy::new(1), "server-0");
        link.set_shape(shape);
        let lane = lane(&link);
        Self { host, link, lane }
    }

    fn advance_to(&self, millis: u32) {
        self.host.advance_to(at(millis));
    }

    fn cut(&self, cut_to: bool) {
        let shape = Shape { cut_to, ..self.link.state().shape.all };
        self.link.set_shape(shape);
    }

    fn send(&mut self, bytes: &'static [u8]) {
        self.lane.push(&self.link, Payload::Data(Bytes::from_static(bytes)));
    }

    /// Takes what is at the head of the lane, whole.
    fn take(&mut self) -> Option<Taken> {
        take(&mut self.lane, &self.link)
    }

    /// Takes everything that arrives until `end`, with the millisecond of its arrival.
    fn arrivals_until(&mut self, end: u32) -> Vec<(u32, Taken)> {
        let start = (self.link.world.now().as_nanos() / 1_000_000) as u32;
        let mut arrivals = Vec::new();
        for millis in start..=end {
            self.advance_to(millis);
            while let Some(taken) = self.take() {
                arrivals.push((millis, taken));
            }
        }
        arrivals
    }
}

/// Returns a lane of a new connection of `link`.
fn lane(link: &Link) -> Lane {
    Lane::new(link.add_connection(1), Way::To, Entropy::new(1).stream("lane"))
}

fn at(millis: u32) -> Instant {
    Instant::START + MILLISECOND * millis
}

fn take(lane: &mut Lane, link: &Link) -> Option<Taken> {
    let Poll::Ready(payload) = lane.poll_arrival(link, &mut Context::from_waker(Waker::noop())) else { return None };
    let taken = match payload {
        Payload::Data(bytes) => Taken::Data(std::mem::take(bytes).to_vec()),
        Payload::End => Taken::End,
        Payload::Failure(_) => Taken::Failure,
        Payload::GivenUp => Taken::GivenUp,
    };
    lane.consumed(if let Taken::Data(bytes) = &taken { bytes.len() } else { 0 });
    Some(taken)
}

fn data(bytes: &[u8]) -> Taken {
    Taken::Data(bytes.to_vec())
}

#[test]
fn a_segment_arrives_after_the_latency_and_not_before() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 5, ..Shape::default() });
    assert!(fixture.lane.is_empty() && fixture.lane.has_arrived(at(0)));
    fixture.send(b"abc");
    assert_eq!(fixture.lane.queued(), 3);
    assert!(!fixture.lane.is_empty());
    assert!(!fixture.lane.has_arrived(at(4)) && fixture.lane.has_arrived(at(5)));
    assert_eq!(fixture.arrivals_until(9), [(5, data(b"abc"))]);
    assert!(fixture.lane.is_empty() && fixture.lane.queued() == 0);
}

#[test]
fn everything_arrives_in_the_order_in_which_it_was_sent() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 5, ..Shape::default() });
    fixture.send(b"a");
    fixture.lane.push(&fixture.link, Payload::End);
    fixture.lane.push(&fixture.link, Payload::Failure(io::ErrorKind::ConnectionReset.into()));
    let taken = fixture.arrivals_until(5).into_iter().map(|(_, taken)| taken);
    assert_eq!(taken.collect::<Vec<_>>(), [data(b"a"), Taken::End, Taken::Failure]);
}

#[test]
fn a_segment_does_not_overtake_one_with_a_longer_delay() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 20, ..Shape::default() });
    fixture.send(b"slow");
    fixture.link.set_shape(Shape { latency: MILLISECOND, ..Shape::default() });
    fixture.send(b"fast");
    assert!(!fixture.lane.has_arrived(at(19)));
    assert_eq!(fixture.arrivals_until(30), [(20, data(b"slow")), (20, data(b"fast"))]);
}

#[test]
fn what_is_consumed_in_parts_stays_at_the_head_until_it_is_empty() {
    let mut fixture = Fixture::new(Shape::default());
    fixture.send(b"abc");
    fixture.send(b"d");
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Payload::Data(bytes)) = fixture.lane.poll_arrival(&fixture.link, &mut cx) else {
        panic!("nothing has arrived");
    };
    bytes.advance(2);
    fixture.lane.consumed(2);
    assert_eq!(fixture.lane.queued(), 2);
    assert_eq!(fixture.take(), Some(data(b"c")));
    assert_eq!(fixture.take(), Some(data(b"d")));
    assert_eq!(fixture.take(), None);
}

#[test]
fn bandwidth_paces_segments_over_all_connections_of_a_link() {
    // A byte a millisecond.
    let mut fixture = Fixture::new(Shape { bandwidth: Some(8_000), latency: MILLISECOND, ..Shape::default() });
    let mut other = lane(&fixture.link);
    fixture.send(b"0123456789");
    other.push(&fixture.link, Payload::Data(Bytes::from_static(b"01234")));
    fixture.send(b"01");
    assert_eq!(fixture.arrivals_until(15), [(11, data(b"0123456789"))]);
    assert_eq!(take(&mut other, &fixture.link), None);
    fixture.advance_to(16);
    assert_eq!(take(&mut other, &fixture.link), Some(data(b"01234")));
    assert_eq!(fixture.arrivals_until(20), [(18, data(b"01"))]);
}

#[test]
fn data_is_split_into_segments_only_where_their_size_matters() {
    static LARGE: [u8; 2 * SEGMENT_BYTES + 1] = [7; 2 * SEGMENT_BYTES + 1];
    let sizes = |shape| {
        let mut fixture = Fixture::new(shape);
        fixture.send(&LARGE);
        assert_eq!(fixture.lane.queued(), LARGE.len());
        let segments = fixture.lane.queue.iter().map(|segment| segment.payload.len());
        segments.collect::<Vec<_>>()
    };
    assert_eq!(sizes(Shape::default()), [LARGE.len()]);
    assert_eq!(sizes(Shape { bandwidth: Some(1), ..Shape::default() }), [SEGMENT_BYTES, SEGMENT_BYTES, 1]);
    assert_eq!(sizes(Shape { loss: 0.1, ..Shape::default() }), [SEGMENT_BYTES, SEGMENT_BYTES, 1]);
}

#[test]
fn segments_of_one_instant_share_their_delay_and_later_ones_draw_their_own() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 50, jitter: MILLISECOND * 40, ..Shape::default() });
    fixture.send(b"a");
    fixture.send(b"b");
    let delays: Vec<_> = fixture.lane.queue.iter().map(|segment| segment.arrival).collect();
    assert_eq!(delays[0], delays[1]);
    let mut draws = Vec::new();
    for millis in 0..20 {
        fixture.lane.clear();
        fixture.lane.last_arrival = Instant::START;
        fixture.advance_to(1_000 * millis);
        fixture.send(b"c");
        draws.extend(fixture.lane.queue[0].arrival.map(|arrival| arrival.since(at(1_000 * millis))));
    }
    draws.sort();
    draws.dedup();
    assert!(draws.len() > 15, "{draws:?}");
}

#[test]
fn segments_within_the_gap_of_a_host_share_the_delay_of_the_first() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 50, jitter: MILLISECOND * 40, ..Shape::default() });
    fixture.host.set_segment_gap(MILLISECOND * 2);
    for millis in 0..6 {
        fixture.advance_to(millis);
        fixture.lane.last_arrival = Instant::START;
        fixture.send(b"a");
    }
    let arrivals = fixture
        .lane
        .queue
        .iter()
        .zip(0..)
        .map(|(segment, sent)| segment.arrival.map(|arrival| arrival.since(at(sent))));
    let delays: Vec<_> = arrivals.collect();
    // The gap counts from the first segment of a burst, so that a stream whose segments follow closely has more than one.
    assert!(delays[1..3].iter().all(|delay| *delay == delays[0]), "{delays:?}");
    assert!(delays[4..].iter().all(|delay| *delay == delays[3]), "{delays:?}");
    assert_ne!(delays[0], delays[3]);
    // Another shape has another delay at once.
    fixture.link.set_shape(Shape { latency: MILLISECOND, ..Shape::default() });
    fixture.lane.last_arrival = Instant::START;
    fixture.send(b"b");
    assert_eq!(fixture.lane.queue.back().unwrap().arrival, Some(at(6)));
}

#[test]
fn what_is_sent_before_a_cut_arrives_during_it() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 10, ..Shape::default() });
    fixture.send(b"before");
    fixture.cut(true);
    fixture.send(b"during");
    assert_eq!(fixture.arrivals_until(100), [(10, data(b"before"))]);
    assert!(!fixture.lane.has_arrived(at(100)));
}

#[test]
fn a_cut_holds_segments_until_the_next_retransmission_after_it() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 10, cut_to: true, ..Shape::default() });
    fixture.send(b"held");
    fixture.advance_to(250);
    assert_eq!(fixture.take(), None);
    fixture.cut(false);
    // It waits behind the held one, and both leave at the second retransmission.
    fixture.send(b"behind");
    assert_eq!(fixture.arrivals_until(1_000), [(610, data(b"held")), (610, data(b"behind"))]);
    fixture.send(b"free");
    assert_eq!(fixture.arrivals_until(1_100), [(1_010, data(b"free"))]);
}

#[test]
fn a_retransmission_that_falls_into_the_next_cut_is_lost() {
    let mut fixture = Fixture::new(Shape { cut_to: true, ..Shape::default() });
    fixture.send(b"held");
    fixture.advance_to(250);
    fixture.cut(false);
    fixture.advance_to(500);
    fixture.cut(true);
    fixture.advance_to(700);
    assert_eq!(fixture.take(), None);
    fixture.cut(false);
    assert_eq!(fixture.arrivals_until(2_000), [(1_400, data(b"held"))]);
}

#[test]
fn a_retransmission_at_the_beginning_of_the_next_cut_is_lost() {
    let mut fixture = Fixture::new(Shape { cut_to: true, ..Shape::default() });
    fixture.send(b"held");
    fixture.advance_to(100);
    fixture.cut(false);
    fixture.advance_to(200);
    fixture.cut(true);
    assert_eq!(fixture.take(), None);
    fixture.advance_to(300);
    fixture.cut(false);
    assert_eq!(fixture.arrivals_until(1_000), [(600, data(b"held"))]);
}

#[test]
fn a_retransmission_before_the_next_cut_is_not_lost_although_the_lane_was_not_polled() {
    let mut fixture = Fixture::new(Shape { latency: MILLISECOND * 10, cut_to: true, ..Shape::default() });
    fixture.send(b"held");
    fixture.advance_to(100);
    fixture.cut(false);
    fixture.advance_to(300);
    fixture.cut(true);
    assert_eq!(fixture.arrivals_until(400), [(300, data(b"held"))]);
}

#[test]
fn the_other_direction_of_a_cut_link_is_open() {
    let mut fixture = Fixture::new(Shape { cut_from: true, ..Shape::default() });
    fixture.send(b"to");
    assert_eq!(fixture.take(), Some(data(b"to")));
}

#[test]
fn a_cleared_lane_is_as_a_new_one() {
    let mut fixture = Fixture::new(Shape { cut_to: true, latency: MILLISECOND, ..Shape::default() });
    fixture.send(b"held");
    assert_eq!(fixture.take(), None);
    fixture.advance_to(100);
    fixture.cut(false);
    // Computes the time of the retransmission, and sets the timer.
    assert_eq!(fixture.take(), None);
    fixture.lane.clear();
    assert!(fixture.lane.is_empty() && fixture.lane.queued() == 0 && fixture.lane.has_arrived(at(100)));
    assert!(fixture.lane.timer.is_none());
    fixture.send(b"new");
    assert_eq!(fixture.arrivals_until(150), [(101, data(b"new"))]);
    assert_eq!(fixture.arrivals_until(1_000), []);
}

#[test]
fn a_lost_segment_delays_those_behind_it() {
    let mut fixture = Fixture::new(Shape { loss: 0.5, ..Shape::default() });
    let mut delayed = 0;
    for millis in 0..100 {
        fixture.advance_to(millis * 1_000_000);
        fixture.send(b"x");
        let first = fixture.lane.queue.back().and_then(|segment| segment.arrival);
        fixture.send(b"y");
        let second = fixture.lane.queue.back().and_then(|segment| segment.arrival);
        assert!(first <= second);
        delayed += u32::from(first > Some(at(millis * 1_000_000)));
        fixture.lane.clear();
    }
    assert!((30..=70).contains(&delayed), "{delayed} of 100 segments were lost at least once");
}

#[test]
fn data_is_split_into_full_segments_and_what_is_left() {
    let mut fixture = Fixture::new(Shape { bandwidth: Some(1_000_000_000), ..Shape::default() });
    for (bytes, segments) in [(1, 1), (SEGMENT_BYTES, 1), (SEGMENT_BYTES + 1, 2), (2 * SEGMENT_BYTES, 2)] {
        fixture.lane.push(&fixture.link, Payload::Data(vec![7; bytes].into()));
        assert_eq!(fixture.lane.queue.len(), segments, "{bytes} bytes");
        fixture.lane.clear();
    }
}

/// Returns how many of these segments, a second apart, are late in a new connection of `link`.
fn late(link: &Arc<Link>, host: &MemoryHost, number: u64, segments: u32) -> Vec<bool> {
    let mut lane = Lane::new(link.add_connection(number), Way::To, Entropy::new(1).stream("lane"));
    let begun = link.world.now();
    let sends = (1..=segments).map(|second| {
        host.advance_to(begun + Duration::from_secs(1) * second);
        lane.clear();
        lane.last_arrival = Instant::START;
        lane.push(link, Payload::Data(Bytes::from_static(b"x")));
        lane.queue[0].arrival.is_some_and(|arrival| arrival > link.world.now())
    });
    sends.collect()
}

#[test]
fn losses_in_bursts_have_a_state_for_each_connection_which_the_seed_decides() {
    let Fixture { host, link, .. } = Fixture::new(Shape::default());
    let burst = BurstLoss { enter: 0.1, exit: 0.4, loss_in_burst: 1.0, loss_outside: 0.0 };
    let mut shape = LinkShape::default();
    shape.add(2, LinkEffect { burst: Some(burst), way: Some(Way::To), ..LinkEffect::default() });
    link.set_shape(shape.clone());
    let first = late(&link, &host, 1, 400);
    // Every lost try is the next segment of the chain. A burst has been left when a segment arrives, so that the share of segments that
    // are late is the odds to enter one: 400 x 0.1, give or take five times sqrt(400 x 0.1 x 0.9) = 6.
    let count = first.iter().filter(|late| **late).count();
    assert!((10..=70).contains(&count), "{count}");
    assert_ne!(first, late(&link, &host, 2, 400));
    assert_eq!(first, late(&link, &host, 1, 400));
    link.set_shape(Shape::default());
    assert_eq!(late(&link, &host, 1, 50), [false; 50]);
}
