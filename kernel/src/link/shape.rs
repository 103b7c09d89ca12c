//! The shape of a link: what it does to the bytes that pass.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::retransmission::{RETRIES_MAX, Retransmission};
use crate::entropy::unit;

/// A direction of a link, as seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Shape {
    /// Returns the composition of two shapes: delays add up, the narrower bandwidth applies, losses are independent, and
    /// either shape can cut a direction.
    pub fn and(self, other: Self) -> Self {
        Self {
            latency: self.latency + other.latency,
            jitter: self.jitter + other.jitter,
            bandwidth: [self.bandwidth, other.bandwidth].into_iter().flatten().min(),
            loss: 1.0 - (1.0 - self.loss) * (1.0 - other.loss),
            cut_to: self.cut_to || other.cut_to,
            cut_from: self.cut_from || other.cut_from,
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

    /// Draws the time until a try is not lost, where `timeout` is that of the first retransmission.
    pub(super) fn retransmissions(&self, timeout: Duration, rng: &mut impl Rng) -> Duration {
        // Without loss nothing is drawn, so that the other draws of the stream stay the same.
        if self.loss <= 0.0 {
            return Duration::ZERO;
        }
        // The try after the last loss arrives, as TCP would give up otherwise.
        let losses = (0..RETRIES_MAX).take_while(|_| unit(rng) < self.loss).count();
        Retransmission::new(timeout).take(losses).last().unwrap_or_default()
    }

    /// Returns the time in which `bytes` leave at the link's bandwidth.
    pub(super) fn serialization(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bandwidth else { return Duration::ZERO };
        // 128 bits: the product overflows 64 bits from about 2 GB on.
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

/// What a link does to its connections: to all of them, and to some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkShape {
    /// The effect on every connection.
    pub all: Shape,
    /// The effects of faults on some connections, in addition.
    pub partial: Vec<PartialShape>,
}

/// The effect of a fault on some connections of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PartialShape {
    /// Identifies the fault among those of the link, also when the link gets another shape.
    pub fault: u64,
    /// The connections.
    pub connections: Selection,
    /// The effect on them.
    pub shape: Shape,
}

/// The connections that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those that are open when the fault begins.
    OpenAtStart,
}

impl From<Shape> for LinkShape {
    fn from(all: Shape) -> Self {
        Self { all, partial: Vec::new() }
    }
}

impl LinkShape {
    /// Returns true if the link does nothing to any connection, now and later.
    pub fn is_none(&self) -> bool {
        self.all.is_none() && self.partial.is_empty()
    }

    /// Adds the effect of a fault, on these connections, or on all of them without a selection.
    pub fn add(&mut self, fault: u64, connections: Option<Selection>, shape: Shape) {
        match connections {
            None => self.all = self.all.and(shape),
            Some(connections) => self.partial.push(PartialShape { fault, connections, shape }),
        }
    }

    /// Returns the effect on a connection that `is_selected` says each partial effect applies to or not.
    pub(super) fn on_connection(&self, is_selected: impl Fn(&PartialShape) -> bool) -> Shape {
        let selected = self.partial.iter().filter(|partial| is_selected(partial));
        selected.fold(self.all, |shape, partial| shape.and(partial.shape))
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
        let lost = (0..1_000).filter(|_| !shape.retransmissions(RTO, &mut rng).is_zero()).count();
        // Binomial: 100, with a tolerance of five times sqrt(1000 x 0.1 x 0.9) = 9.5.
        assert!((53..=147).contains(&lost), "{lost}");
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
        let draws: Vec<_> = (0..1_000).map(|_| shape.retransmissions(RTO, &mut rng)).collect();
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
