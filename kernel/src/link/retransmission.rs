//! The times of TCP's retransmissions (RFC 6298, with Linux's constants).

use std::time::Duration;

use crate::time::Instant;

/// Retransmission timeout of an established connection on a short link: Linux's minimum, `TCP_RTO_MIN`.
pub(super) const RTO: Duration = Duration::from_millis(200);

/// First timeout of a handshake: Linux's `TCP_TIMEOUT_INIT`.
pub(super) const SYN_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest timeout: Linux's `TCP_RTO_MAX`.
const RTO_MAX: Duration = Duration::from_secs(120);

/// Number of retransmissions of a segment after which TCP gives up: Linux's `tcp_retries2`.
pub(super) const RETRIES_MAX: usize = 15;

/// Time from the first transmission of a segment until TCP gives up, if nothing acknowledges it: the last retransmission is waited for, too.
/// This is the 924.6 s of Linux's documentation of `tcp_retries2`.
pub(super) const GIVE_UP: Duration = Duration::from_millis(924_600);

/// Iterator over the spans from a lost transmission to each of its retransmissions: `t`, `3t`, `7t`, …. The timeout doubles
/// from one try to the next, up to two minutes.
pub(super) struct Retransmission {
    timeout: Duration,
    after: Duration,
}

impl Retransmission {
    /// Creates the iterator for a first timeout of `timeout`, which must be over 0.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, after: Duration::ZERO }
    }

    /// Returns the time of the first retransmission at or after `at` of a segment sent at `sent`.
    pub(super) fn first_at_or_after(self, sent: Instant, at: Instant) -> Instant {
        self.map(|after| sent + after).find(|try_at| *try_at >= at).unwrap_or(Instant::NEVER)
    }
}

impl Iterator for Retransmission {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.after = self.after.saturating_add(self.timeout);
        self.timeout = (self.timeout * 2).min(RTO_MAX);
        Some(self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_double_up_to_two_minutes() {
        let millis: Vec<_> = Retransmission::new(RTO).map(|after| after.as_millis()).take(12).collect();
        let expected =
            [200, 600, 1_400, 3_000, 6_200, 12_600, 25_400, 51_000, 102_200, 204_600, 204_600 + 120_000, 444_600];
        assert_eq!(millis, expected);
    }

    #[test]
    fn tcp_gives_up_after_the_wait_for_the_last_retransmission() {
        assert_eq!(Retransmission::new(RTO).nth(RETRIES_MAX), Some(GIVE_UP));
    }

    #[test]
    fn the_end_of_a_cut_takes_effect_at_the_next_retransmission() {
        let sent = Instant::START + Duration::from_secs(10);
        for (healed, released) in [(0, 200), (200, 200), (201, 600), (5_000, 6_200)] {
            let healed = sent + Duration::from_millis(healed);
            let released = sent + Duration::from_millis(released);
            assert_eq!(Retransmission::new(RTO).first_at_or_after(sent, healed), released);
        }
    }
}
