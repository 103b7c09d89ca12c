//! The shape of a link: what it does to the bytes that pass.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::retransmission::Retransmission;
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

/// Largest number of losses of one segment; the next try arrives. Linux's `tcp_retries2`, where TCP gives up.
const TRIES_MAX: usize = 15;

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
        let losses = (0..TRIES_MAX).take_while(|_| unit(rng) < self.loss).count();
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
