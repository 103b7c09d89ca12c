//! Server pushback: gRPC A6's `grpc-retry-pushback-ms`.

use std::time::Duration;

/// The name of the header, in the trailers of a reply.
pub(crate) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A server's request to a client whose attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Wait this long before the next attempt.
    After(Duration),
    /// Do not make another attempt.
    Never,
}

impl Pushback {
    /// Parses the header's value, in milliseconds. A negative value, or one that is not a number, asks not to retry.
    ///
    /// A6 has servers write "an ASCII encoded signed 32-bit integer with no unnecessary leading zeros"; gRPC's clients read any
    /// integer, with leading zeros or a sign: gRPC's core and grpc-go up to 64 bits, grpc-java up to 32. A number beyond 32 bits
    /// is read here as the largest one, 25 days, which is beyond every deadline.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        match number.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis.min(i32::MAX as u64))),
            None => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_milliseconds_asks_to_wait_and_any_other_value_not_to_retry() {
        assert_eq!(Pushback::parse(b"0"), Pushback::After(Duration::ZERO));
        for value in [&b"1500"[..], b"001500", b"+1500"] {
            assert_eq!(Pushback::parse(value), Pushback::After(Duration::from_millis(1_500)), "{value:?}");
        }
        assert_eq!(Pushback::parse(b"99999999999"), Pushback::After(Duration::from_millis(2_147_483_647)));
        for value in [&b"-1"[..], b"-007", b"", b"soon", b"1.5", b"0x10", b"99999999999999999999", b"\xff"] {
            assert_eq!(Pushback::parse(value), Pushback::Never, "{value:?}");
        }
    }
}
