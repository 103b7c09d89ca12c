//! The `grpc-timeout` of attempts.

use std::time::Duration;

use http::HeaderValue;
use tonic::Request;

use crate::transport::TIMEOUT;

/// Formats timeouts. Most attempts have the same timeout, which is formatted once.
#[derive(Debug)]
pub(super) struct Timeouts {
    usual: Duration,
    header: HeaderValue,
}

impl Timeouts {
    pub(super) fn new(usual: Duration) -> Self {
        Self { usual, header: timeout_header(usual) }
    }

    /// Returns the header for an attempt with `left` until its timeout.
    pub(super) fn header(&self, left: Duration) -> HeaderValue {
        if left == self.usual { self.header.clone() } else { timeout_header(left) }
    }
}

/// Formats a timeout, rounded up to the next millisecond.
///
/// gRPC's core rounds, too: HPACK sends a header that is the same from call to call as one byte, but has to spell out one that
/// differs by microseconds each time, and to enter it into the tables of both ends.
fn timeout_header(left: Duration) -> HeaderValue {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64));
    request.into_parts().0.into_headers().remove(TIMEOUT).expect("it has just been set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(micros: u64) -> HeaderValue {
        timeout_header(Duration::from_micros(micros))
    }

    #[test]
    fn a_timeout_is_rounded_up_to_the_next_millisecond() {
        assert_eq!(header(1_500_000), header(1_499_001));
        assert_ne!(header(1_500_000), header(1_500_001));
    }

    #[test]
    fn the_header_says_the_time_that_is_left_usual_or_not() {
        let timeouts = Timeouts::new(Duration::from_millis(500));
        for left in [500, 499, 501] {
            assert_eq!(timeouts.header(Duration::from_millis(left)), header(left * 1_000));
        }
        assert_ne!(header(499_000), header(500_000));
    }
}
