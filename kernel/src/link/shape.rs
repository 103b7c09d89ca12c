//! What a link does to the bytes that pass.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::retransmission::Retransmission;
use crate::entropy::unit;

/// A direction, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Client to server.
    To = 0,
    /// Server to client.
    From = 1,
}

impl Way {
    /// The other one.
    pub(super) fn back(self) -> Self {
        match self {
            Self::To => Self::From,
            Self::From => Self::To,
        }
    }
}

/// What a link does, each way. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Every segment takes this much longer.
    pub latency: Duration,
    /// … give or take this much, uniformly, and never less than nothing. Segments stay in order all the same.
    pub jitter: Duration,
    /// Bits per second; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// The probability that a segment is lost, so that it comes a retransmission timeout later.
    pub loss: f64,
    /// Nothing passes to the server.
    pub cut_to: bool,
    /// Nothing passes from the server.
    pub cut_from: bool,
}

/// Losses in a row after which a segment is taken to arrive: Linux gives up at `tcp_retries2`.
const TRIES_MAX: usize = 15;

impl Shape {
    /// Both shapes at once: delays add up, the narrower bandwidth rules, losses are independent, cuts join.
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

    /// Whether it leaves everything as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing passes that way.
    pub fn cuts(&self, way: Way) -> bool {
        match way {
            Way::To => self.cut_to,
            Way::From => self.cut_from,
        }
    }

    /// Whether the size of a segment matters.
    pub(super) fn splits(&self) -> bool {
        self.bandwidth.is_some() || self.loss > 0.0
    }

    /// A draw of the delay it adds to one segment.
    pub(super) fn delay(&self, rng: &mut impl Rng) -> Duration {
        if self.jitter.is_zero() {
            return self.latency;
        }
        let jitter = self.jitter.as_nanos() as f64 * (2.0 * unit(rng) - 1.0);
        Duration::from_nanos((self.latency.as_nanos() as f64 + jitter).max(0.0) as u64)
    }

    /// A draw of the time it takes until a try is not lost, `timeout` being that of the first retransmission.
    pub(super) fn retransmissions(&self, timeout: Duration, rng: &mut impl Rng) -> Duration {
        if self.loss <= 0.0 {
            return Duration::ZERO;
        }
        let losses = (0..TRIES_MAX).take_while(|_| unit(rng) < self.loss).count();
        Retransmission::of(timeout).take(losses).last().unwrap_or_default()
    }

    /// How long `bytes` take to leave at its bandwidth.
    pub(super) fn serialization(&self, bytes: usize) -> Duration {
        let nanos = |rate: u64| bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        self.bandwidth.map_or(Duration::ZERO, |rate| Duration::from_nanos(nanos(rate).try_into().unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{entropy::Entropy, link::retransmission::RTO};

    #[test]
    fn faults_on_one_link_compose() {
        let slow = Shape { latency: Duration::from_millis(5), bandwidth: Some(1_000), loss: 0.5, ..Shape::default() };
        let cut = Shape { latency: Duration::from_millis(1), loss: 0.5, cut_to: true, ..Shape::default() };
        let both = slow.and(cut);
        assert_eq!(both.latency, Duration::from_millis(6));
        assert_eq!(both.bandwidth, Some(1_000));
        assert_eq!(both.loss, 0.75);
        assert!(both.cuts(Way::To) && !both.cuts(Way::From));
    }

    #[test]
    fn a_megabyte_takes_eight_seconds_at_a_megabit() {
        let shape = Shape { bandwidth: Some(1_000_000), ..Shape::default() };
        assert_eq!(shape.serialization(1_000_000), Duration::from_secs(8));
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_never_goes_back_in_time() {
        let mut rng = Entropy::new(1).stream("jitter");
        let shape = Shape { latency: Duration::from_millis(1), jitter: Duration::from_millis(3), ..Shape::default() };
        let draws: Vec<_> = (0..1_000).map(|_| shape.delay(&mut rng)).collect();
        assert!(draws.iter().all(|delay| *delay <= Duration::from_millis(4)));
        assert!(draws.contains(&Duration::ZERO));
    }

    #[test]
    fn a_lost_segment_comes_a_timeout_later_and_one_lost_twice_three() {
        let mut rng = Entropy::new(1).stream("loss");
        let shape = Shape { loss: 0.5, ..Shape::default() };
        let draws: Vec<_> = (0..1_000).map(|_| shape.retransmissions(RTO, &mut rng)).collect();
        let share = |delay: Duration| draws.iter().filter(|draw| **draw == delay).count();
        assert!((450..550).contains(&share(Duration::ZERO)));
        assert!((200..300).contains(&share(RTO)));
        assert!((80..170).contains(&share(RTO * 3)));
    }
}
