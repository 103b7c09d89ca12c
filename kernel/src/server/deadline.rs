//! The caller's deadline, from the header `grpc-timeout`.

use std::time::Duration;

use crate::time::Instant;

/// The time at which the caller gives up, as an extension of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

/// The message of the INTERNAL that answers a malformed header, as in grpc-go.
pub(super) const MALFORMED: &str = "grpc-timeout is at most 8 digits and one of the units H, M, S, m, u, n";

/// Parses the value of a `grpc-timeout` header, as the gRPC over HTTP/2 specification defines it. Returns `None` if it is
/// malformed.
pub(crate) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3_600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_in_each_unit_is_parsed() {
        let cases: [(&[u8], Duration); 6] = [
            (b"1H", Duration::from_secs(3_600)),
            (b"2M", Duration::from_secs(120)),
            (b"99999999S", Duration::from_secs(99_999_999)),
            (b"100m", Duration::from_millis(100)),
            (b"7u", Duration::from_micros(7)),
            (b"0n", Duration::ZERO),
        ];
        for (value, timeout) in cases {
            assert_eq!(parse(value), Some(timeout));
        }
    }

    #[test]
    fn malformed_timeouts_are_rejected() {
        for value in [&b""[..], b"S", b"1", b"1s", b"-1S", b"123456789S", b"1.5S", b" 1S"] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }
}
