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
    /// Parses the header's value: "an ASCII encoded signed 32-bit integer with no unnecessary leading zeros", in milliseconds. A
    /// negative value, or one that is not such a number, asks not to retry.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = text.parse::<i32>().ok().filter(|number| number.to_string() == text);
        match number.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis)),
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
        assert_eq!(Pushback::parse(b"1500"), Pushback::After(Duration::from_millis(1_500)));
        for value in [&b"-1"[..], b"", b"soon", b"007", b"+5", b"1.5", b"99999999999", b"\xff"] {
            assert_eq!(Pushback::parse(value), Pushback::Never, "{value:?}");
        }
    }
}
