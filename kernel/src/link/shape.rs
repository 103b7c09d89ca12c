//! The shape of a link: what it does to the bytes that pass.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{
    burst::{BurstLoss, LossChain},
    retransmission::{RETRIES_MAX, Retransmission},
};
use crate::{entropy::unit, time::Instant};

/// A direction of a link, as seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Client to server.
    To = 0,
    /// Server to client.
    From = 1,
}

impl Way {
    /// Returns the opposite direction.
    pub(super) fn back(self) -> Self {
        match self {
            Self::To => Self::From,
            Self::From => Self::To,
        }
    }
}

/// The effect of a link on the bytes that pass, in each direction. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Delay that is added to every segment.
    pub latency: Duration,
    /// Largest deviation from `latency`, drawn uniformly in both directions. A delay is never negative, and segments stay in
    /// order.
    pub jitter: Duration,
    /// Bandwidth in bits per second; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// Probability that a segment is lost, so that it arrives one or more retransmission timeouts later.
    pub loss: f64,
    /// True if no byte passes to the server.
    pub cut_to: bool,
    /// True if no byte passes from the server.
    pub cut_from: bool,
    /// True if every connection is reset: one that is open at once, and one that is made later as soon as it is open.
    #[serde(default)]
    pub resets: bool,
}

impl Shape {
    /// Returns the composition of two shapes: delays add up, the narrower bandwidth applies, losses are independent, and
    /// either shape can cut a direction or reset connections.
    pub fn and(self, other: Self) -> Self {
        Self {
            latency: self.latency + other.latency,
            jitter: self.jitter + other.jitter,
            bandwidth: [self.bandwidth, other.bandwidth].into_iter().flatten().min(),
            loss: 1.0 - (1.0 - self.loss) * (1.0 - other.loss),
            cut_to: self.cut_to || other.cut_to,
            cut_from: self.cut_from || other.cut_from,
            resets: self.resets || other.resets,
        }
    }

    /// Returns true if the shape does nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if no byte passes in the direction `way`.
    pub fn cuts(&self, way: Way) -> bool {
        match way {
            Way::To => self.cut_to,
            Way::From => self.cut_from,
        }
    }

    /// Returns true if data has to be split into segments, because a segment's size matters.
    pub(super) fn splits(&self) -> bool {
        self.bandwidth.is_some() || self.loss > 0.0
    }

    /// Draws the delay of one segment.
    pub(super) fn delay(&self, rng: &mut impl Rng) -> Duration {
        // Without jitter nothing is drawn, so that the other draws of the stream stay the same.
        if self.jitter.is_zero() {
            return self.latency;
        }
        let jitter = self.jitter.as_nanos() as f64 * (2.0 * unit(rng) - 1.0);
        Duration::from_nanos((self.latency.as_nanos() as f64 + jitter).max(0.0) as u64)
    }

    /// Draws the time until a try is not lost, where `timeout` is that of the first retransmission. Each try passes all `chains`,
    /// which draw from their own streams.
    pub(super) fn retransmissions(&self, timeout: Duration, rng: &mut impl Rng, chains: &mut [LossChain]) -> Duration {
        let mut is_lost = || {
            // Without loss nothing is drawn, so that the other draws of the stream stay the same.
            let plain = self.loss > 0.0 && unit(rng) < self.loss;
            // Every chain has its turn: what one of them loses is a segment for the others, too.
            chains.iter_mut().fold(plain, |lost, chain| chain.loses() || lost)
        };
        // The try after the last loss arrives, as TCP would give up otherwise.
        let losses = (0..RETRIES_MAX).take_while(|_| is_lost()).count();
        Retransmission::new(timeout).take(losses).last().unwrap_or_default()
    }

    /// Sends `bytes` at the link's bandwidth, behind what was sent before. Returns the time at which they have left, which is that of
    /// `busy_until` from then on.
    pub(super) fn leave(&self, busy_until: &mut Instant, sent: Instant, bytes: usize) -> Instant {
        *busy_until = sent.max(*busy_until) + self.serialization(bytes);
        *busy_until
    }

    /// Returns the time in which `bytes` leave at the link's bandwidth.
    fn serialization(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bandwidth else { return Duration::ZERO };
        // 128 bits: the product overflows 64 bits from about 2 GB on.
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

/// The effects of a link on its connections: on all of them, and on some or in one direction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkShape {
    /// The effect on every connection, in both directions.
    pub all: Shape,
    /// The effects of faults on some connections or in one direction, in addition.
    pub partial: Vec<PartialShape>,
}

/// The effect of a fault on some connections of a link or in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PartialShape {
    /// Identifies the fault among those of the link, also when the link gets another shape. The share of the connections that it
    /// applies to is drawn for it.
    pub fault: u64,
    /// The effect.
    pub effect: LinkEffect,
}

/// The effect of a fault on a link. The default does nothing to all connections.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkEffect {
    /// The effect on the connections that it applies to.
    pub shape: Shape,
    /// Losses in bursts, in addition to those of the shape.
    pub burst: Option<BurstLoss>,
    /// The connections that it applies to.
    pub connections: Selection,
    /// The direction that it applies to; `None` for both.
    pub way: Option<Way>,
}

/// The connections that a fault applies to: by default all of them, those included that are made while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Only those that are open when the fault begins.
    pub open_at_start: bool,
    /// Share of the connections, over 0 and at most 1. Each connection is drawn, from a random stream of its own.
    pub share: f64,
}

impl Default for Selection {
    fn default() -> Self {
        Self { open_at_start: false, share: 1.0 }
    }
}

impl From<Shape> for LinkShape {
    fn from(all: Shape) -> Self {
        Self { all, partial: Vec::new() }
    }
}

impl From<Shape> for LinkEffect {
    fn from(shape: Shape) -> Self {
        Self { shape, ..Self::default() }
    }
}

impl LinkEffect {
    /// Returns the shape, if that is the effect on every connection, in both directions.
    fn on_all(&self) -> Option<Shape> {
        let is_partial = self.burst.is_some() || self.way.is_some() || self.connections != Selection::default();
        (!is_partial).then_some(self.shape)
    }

    /// Returns whether it applies to the direction `way`.
    pub(super) fn is_on(&self, way: Way) -> bool {
        self.way.is_none_or(|only| only == way)
    }
}

impl LinkShape {
    /// Returns true if the link does nothing to any connection, now and later.
    pub fn is_none(&self) -> bool {
        self.all.is_none() && self.partial.is_empty()
    }

    /// Adds the effect of a fault.
    pub fn add(&mut self, fault: u64, effect: LinkEffect) {
        match effect.on_all() {
            Some(shape) => self.all = self.all.and(shape),
            None => self.partial.push(PartialShape { fault, effect }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{entropy::Entropy, link::retransmission::RTO};

    #[test]
    fn faults_on_one_link_compose() {
        let millis = Duration::from_millis;
        let slow =
            Shape { latency: millis(5), jitter: millis(3), bandwidth: Some(1_000), loss: 0.5, ..Shape::default() };
        let cut = Shape { latency: millis(1), jitter: millis(2), loss: 0.5, cut_to: true, ..Shape::default() };
        let both = slow.and(cut);
        assert_eq!((both.latency, both.jitter), (millis(6), millis(5)));
        assert_eq!(both.bandwidth, Some(1_000));
        assert_eq!(both.loss, 0.75);
        assert!(both.cuts(Way::To) && !both.cuts(Way::From));
    }

    #[test]
    fn either_shape_can_cut_either_direction() {
        let cuts = |to, from| Shape { cut_to: to, cut_from: from, ..Shape::default() };
        let none = Shape::default();
        for (to, from) in [(true, false), (false, true), (true, true), (false, false)] {
            for both in [cuts(to, from).and(none), none.and(cuts(to, from))] {
                assert_eq!((both.cuts(Way::To), both.cuts(Way::From)), (to, from));
                assert_eq!(both.is_none(), !to && !from);
            }
        }
    }

    #[test]
    fn the_share_of_lost_segments_is_the_probability_of_a_loss() {
        let mut rng = Entropy::new(1).stream("loss");
        let shape = Shape { loss: 0.1, ..Shape::default() };
        let lost = (0..1_000).filter(|_| !shape.retransmissions(RTO, &mut rng, &mut []).is_zero()).count();
        // Binomial: 100, with a tolerance of five times sqrt(1000 x 0.1 x 0.9) = 9.5.
        assert!((53..=147).contains(&lost), "{lost}");
    }

    #[test]
    fn a_try_is_lost_if_the_shape_or_a_chain_loses_it() {
        let burst = |loss_in_burst| BurstLoss { enter: 1.0, exit: 0.5, loss_in_burst, loss_outside: loss_in_burst };
        let chain = |loss| LossChain::new(0, burst(loss), Entropy::new(1).stream("chain"));
        let delay = |loss, chains: &mut [LossChain]| {
            let shape = Shape { loss, ..Shape::default() };
            shape.retransmissions(RTO, &mut Entropy::new(1).stream("loss"), chains)
        };
        let given_up = Retransmission::new(RTO).nth(RETRIES_MAX - 1).unwrap();
        assert_eq!(delay(0.0, &mut [chain(1.0), chain(0.0)]), given_up);
        assert_eq!(delay(0.0, &mut [chain(0.0), chain(1.0)]), given_up);
        assert_eq!(delay(0.0, &mut [chain(0.0), chain(0.0)]), Duration::ZERO);
        assert_eq!(delay(1.0, &mut [chain(0.0)]), given_up);
    }

    #[test]
    fn what_applies_to_some_connections_or_one_way_is_kept_apart() {
        let slow = Shape { latency: Duration::from_millis(5), ..Shape::default() };
        let burst = BurstLoss { enter: 0.1, exit: 0.5, loss_in_burst: 1.0, loss_outside: 0.0 };
        let partial = [
            LinkEffect { way: Some(Way::To), ..slow.into() },
            LinkEffect { connections: Selection { share: 0.5, ..Selection::default() }, ..slow.into() },
            LinkEffect { connections: Selection { open_at_start: true, ..Selection::default() }, ..slow.into() },
            LinkEffect { burst: Some(burst), ..LinkEffect::default() },
        ];
        let mut shape = LinkShape::default();
        shape.add(0, slow.into());
        assert_eq!(shape, slow.into());
        for (fault, effect) in (1..).zip(partial) {
            shape.add(fault, effect);
        }
        assert_eq!(shape.all, slow);
        assert_eq!(shape.partial.iter().map(|partial| partial.effect).collect::<Vec<_>>(), partial);
        assert!(shape.partial[0].effect.is_on(Way::To) && !shape.partial[0].effect.is_on(Way::From));
        assert!(shape.partial[1].effect.is_on(Way::To) && shape.partial[1].effect.is_on(Way::From));
    }

    #[test]
    fn a_megabyte_takes_eight_seconds_at_a_megabit() {
        let shape = Shape { bandwidth: Some(1_000_000), ..Shape::default() };
        assert_eq!(shape.serialization(1_000_000), Duration::from_secs(8));
    }

    #[test]
    fn a_jittered_delay_stays_within_its_bounds_and_is_never_negative() {
        let mut rng = Entropy::new(1).stream("jitter");
        let shape = Shape { latency: Duration::from_millis(1), jitter: Duration::from_millis(3), ..Shape::default() };
        let draws: Vec<_> = (0..1_000).map(|_| shape.delay(&mut rng)).collect();
        assert!(draws.iter().all(|delay| *delay <= Duration::from_millis(4)));
        assert!(draws.contains(&Duration::ZERO));
    }

    #[test]
    fn a_segment_lost_once_arrives_one_timeout_later_and_one_lost_twice_three() {
        let mut rng = Entropy::new(1).stream("loss");
        let shape = Shape { loss: 0.5, ..Shape::default() };
        let draws: Vec<_> = (0..1_000).map(|_| shape.retransmissions(RTO, &mut rng, &mut [])).collect();
        for (delay, expected) in [(Duration::ZERO, 450..550), (RTO, 200..300), (RTO * 3, 80..170)] {
            let count = draws.iter().filter(|draw| **draw == delay).count();
            assert!(expected.contains(&count), "{count} segments have a delay of {delay:?}");
        }
    }

    #[test]
    fn a_greater_draw_is_a_longer_delay() {
        let stream = || Entropy::new(1).stream("jitter");
        let shape = Shape { latency: Duration::from_millis(3), jitter: Duration::from_millis(3), ..Shape::default() };
        let (mut draws, mut delays) = (stream(), stream());
        for _ in 0..100 {
            let expected = shape.latency.as_secs_f64() * 2.0 * unit(&mut draws);
            let delay = shape.delay(&mut delays).as_secs_f64();
            assert!((delay - expected).abs() < 2e-9, "{delay} s instead of {expected} s");
        }
    }
}
