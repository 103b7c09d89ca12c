//! The caller's deadline: `grpc-timeout`, counted from when the request was read.

use std::{convert::Infallible, pin::pin, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Status, body::Body};

use super::connection::Routes;
use crate::{
    time::Instant,
    transport::TIMEOUT,
    world::{SharedWorld, timeout_at},
};

/// When the caller gives up; an extension of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

/// Answers `request`, or says DEADLINE_EXCEEDED when its time is up.
pub(super) async fn enforce(
    world: SharedWorld,
    mut request: Request<Incoming>,
    routes: Routes,
) -> Result<Response<Body>, Infallible> {
    let at = match request.headers().get(TIMEOUT).map(|value| parse(value.as_bytes())) {
        None => None,
        Some(None) => return Ok(Status::invalid_argument(MALFORMED).into_http()),
        Some(Some(timeout)) => Some(world.now() + timeout),
    };
    if let Some(at) = at {
        request.extensions_mut().insert(Deadline(at));
    }
    let answer = pin!(routes.route(request));
    let Some(at) = at else { return Ok(answer.await) };
    let answered = timeout_at(&*world, at, answer).await;
    Ok(answered.unwrap_or_else(|_| Status::deadline_exceeded("the call's deadline has passed").into_http()))
}

const MALFORMED: &str = "grpc-timeout is at most 8 digits and one of the units H, M, S, m, u, n";

/// The value of a `grpc-timeout` header, as the gRPC over HTTP/2 specification defines it.
fn parse(value: &[u8]) -> Option<Duration> {
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
    fn grpc_timeouts_of_every_unit_are_read() {
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
    fn malformed_timeouts_are_refused() {
        for value in [&b""[..], b"S", b"1", b"1s", b"-1S", b"123456789S", b"1.5S", b" 1S"] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }
}
