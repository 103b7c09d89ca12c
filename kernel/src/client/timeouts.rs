//! The `grpc-timeout` of attempts.

use std::{sync::Mutex, time::Duration};

use http::HeaderValue;
use tonic::Request;

use crate::{sync::lock, transport::TIMEOUT};

/// Formats timeouts. Most attempts have the usual timeout, and with one that adapts most have the one of the attempt before them: neither is
/// formatted again.
#[derive(Debug)]
pub(super) struct Timeouts {
    usual: Duration,
    header: HeaderValue,
    last: Mutex<(u64, HeaderValue)>,
}

impl Timeouts {
    pub(super) fn new(usual: Duration) -> Self {
        let header = timeout_header(millis(usual));
        Self { usual, last: Mutex::new((millis(usual), header.clone())), header }
    }

    /// Returns the header for an attempt with `left` until its timeout.
    pub(super) fn header(&self, left: Duration) -> HeaderValue {
        if left == self.usual {
            return self.header.clone();
        }
        let left = millis(left);
        let mut last = lock(&self.last);
        if last.0 != left {
            *last = (left, timeout_header(left));
        }
        last.1.clone()
    }
}

/// Rounds a timeout up to the next millisecond.
///
/// gRPC's core rounds, too: HPACK sends a header that is the same from call to call as one byte, but has to spell out one that
/// differs by microseconds each time, and to enter it into the tables of both ends.
fn millis(left: Duration) -> u64 {
    left.as_nanos().div_ceil(1_000_000) as u64
}

/// Formats a timeout in milliseconds.
fn timeout_header(millis: u64) -> HeaderValue {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_millis(millis));
    request.into_parts().0.into_headers().remove(TIMEOUT).expect("it has just been set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(micros: u64) -> HeaderValue {
        timeout_header(millis(Duration::from_micros(micros)))
    }

    #[test]
    fn a_timeout_is_rounded_up_to_the_next_millisecond() {
        assert_eq!(header(1_500_000), header(1_499_001));
        assert_ne!(header(1_500_000), header(1_500_001));
    }

    #[test]
    fn the_header_says_the_time_that_is_left_usual_or_not() {
        let timeouts = Timeouts::new(Duration::from_millis(500));
        for left in [500, 499, 501, 501, 500, 501, 499] {
            assert_eq!(timeouts.header(Duration::from_millis(left)), header(left * 1_000));
        }
        assert_ne!(header(499_000), header(500_000));
    }
}
