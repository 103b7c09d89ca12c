//! The identity of a call, and of one of its attempts.

use std::{fmt, num::ParseIntError, str::FromStr};

#[cfg(feature = "service")]
use smallvec::SmallVec;

use crate::entropy::fnv1a;

/// The bits of a path. Readers of JSON that know no integers but floating-point numbers have these exactly.
const PATH_BITS: u32 = 53;

/// Identifies one call within a run: the request of the load on whose behalf it is made, and its path from there.
///
/// The call of a request itself has no path. That of a call which a process of a service makes, an inner call, is a number that depends on the
/// attempt which the process answers, on the service that it calls, and on how many calls of it the attempt has made before. So it is the
/// same in both worlds, in whatever order calls are made.
///
/// ```
/// use kernel::record::CallId;
///
/// let call = CallId::of_request(41);
/// assert_eq!((call.request(), call.path()), (Some(41), None));
/// let inner = call.inner(1, "stock", 0);
/// assert_eq!(inner.request(), Some(41));
/// assert_ne!(inner.path(), call.inner(2, "stock", 0).path(), "another attempt makes other calls");
/// assert_eq!(inner.to_string().parse(), Ok(inner));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// [`Self::NO_REQUEST`] for a call that a process makes on behalf of none.
    request: u64,
    /// 0 for the call of a request itself.
    path: u64,
}

/// A text that names no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no call: a request's number, and for an inner call a slash and its path in hexadecimal")]
pub struct NoCallId;

impl From<ParseIntError> for NoCallId {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl CallId {
    const NO_REQUEST: u64 = u64::MAX;

    /// Returns the call of the request of this number.
    pub const fn of_request(request: u64) -> Self {
        Self { request, path: 0 }
    }

    /// Returns the call of `service` that a process makes on behalf of no request, after `before` such calls.
    pub fn of_process(process: &str, service: &str, before: u32) -> Self {
        let numbers = [fnv1a(process.bytes()), fnv1a(service.bytes()), u64::from(before)];
        Self { request: Self::NO_REQUEST, path: path(&numbers) }
    }

    /// Returns the call of `service` that the attempt of this number of this call makes, after `before` of its calls to that service.
    pub fn inner(self, attempt: u32, service: &str, before: u32) -> Self {
        let numbers = [self.path, u64::from(attempt), fnv1a(service.bytes()), u64::from(before)];
        Self { request: self.request, path: path(&numbers) }
    }

    /// Returns the number of the request; `None` if the call is made on behalf of none.
    pub fn request(self) -> Option<u64> {
        (self.request != Self::NO_REQUEST).then_some(self.request)
    }

    /// Returns the path of an inner call, from 1 to 2^53 - 1; `None` for the call of a request itself.
    pub fn path(self) -> Option<u64> {
        (self.path != 0).then_some(self.path)
    }

    /// Returns the numbers that name a random stream of the call, of which `more` tell apart several: those of an inner call have its path,
    /// so that the calls of a request have draws of their own.
    #[cfg(feature = "service")]
    pub fn numbers(self, more: &[u64]) -> SmallVec<[u64; 6]> {
        let call = [self.request, self.path];
        let call = if self.path == 0 { &call[..1] } else { &call[..] };
        call.iter().chain(more).copied().collect()
    }
}

/// Returns the path that these numbers name, which is not 0.
fn path(numbers: &[u64]) -> u64 {
    let hash = fnv1a(numbers.iter().flat_map(|number| number.to_le_bytes()));
    // The low bits of the last bytes have not spread as far as the high ones.
    ((hash ^ hash >> PATH_BITS) & ((1 << PATH_BITS) - 1)).max(1)
}

impl fmt::Display for CallId {
    /// Writes the call as metadata have it: `41`, or for an inner call `41/9f3c`, or `-/9f3c` without a request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request() {
            Some(request) => write!(f, "{request}")?,
            None => f.write_str("-")?,
        }
        self.path().map_or(Ok(()), |path| write!(f, "/{path:x}"))
    }
}

impl FromStr for CallId {
    type Err = NoCallId;

    fn from_str(text: &str) -> Result<Self, NoCallId> {
        let Some((request, path)) = text.split_once('/') else {
            return Ok(Self::of_request(text.parse()?));
        };
        let request = if request == "-" { Self::NO_REQUEST } else { request.parse()? };
        let path = u64::from_str_radix(path, 16)?;
        if path == 0 || path >> PATH_BITS != 0 { Err(NoCallId) } else { Ok(Self { request, path }) }
    }
}

/// Identifies one attempt within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Its call.
    pub call: CallId,
    /// The attempt's number within its call, from 1.
    pub number: u32,
}

impl AttemptId {
    /// Returns the attempt of this number of the call of a request.
    pub const fn of_request(request: u64, number: u32) -> Self {
        Self { call: CallId::of_request(request), number }
    }

    /// Returns the numbers that name a random stream of the attempt.
    #[cfg(feature = "service")]
    pub(crate) fn numbers(self) -> SmallVec<[u64; 6]> {
        self.call.numbers(&[u64::from(self.number)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_request_differ_in_their_paths() {
        let outer = CallId::of_request(7);
        let inner = outer.inner(1, "stock", 0);
        let others = [
            outer.inner(2, "stock", 0),
            outer.inner(1, "price", 0),
            outer.inner(1, "stock", 1),
            inner.inner(1, "stock", 0),
            CallId::of_process("gateway-0", "stock", 0),
            CallId::of_process("gateway-1", "stock", 0),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(inner.path(), other.path());
            assert!(others[..index].iter().all(|before| before.path() != other.path()));
        }
        assert_eq!(others[4].request(), None);
    }

    #[test]
    fn a_call_is_the_same_after_a_round_trip_and_other_texts_are_none() {
        for call in
            [CallId::of_request(0), CallId::of_request(41).inner(3, "stock", 2), CallId::of_process("a", "b", 1)]
        {
            assert_eq!(call.to_string().parse(), Ok(call), "{call}");
        }
        for text in ["", "x", "-1", "1/", "1/0", "1/x", "-", "/1", "1/20000000000000", "1/1/1"] {
            assert_eq!(text.parse::<CallId>(), Err(NoCallId), "{text}");
        }
    }

    #[cfg(feature = "service")]
    #[test]
    fn the_draws_of_a_request_are_named_as_ever_and_those_of_an_inner_call_have_its_path() {
        assert_eq!(AttemptId::of_request(7, 2).numbers()[..], [7, 2]);
        let inner = CallId::of_request(7).inner(1, "stock", 0);
        assert_eq!(AttemptId { call: inner, number: 2 }.numbers()[..], [7, inner.path().unwrap(), 2]);
    }
}
