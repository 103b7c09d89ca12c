//! Random bytes of TLS from named streams.
//!
//! rustls asks for randomness through references that live for ever and know nothing of a connection. So a connection lends its stream to
//! the thread while rustls runs on its behalf, and [`fill`] draws from the stream that is lent.

use std::cell::RefCell;

use rand::Rng;

use crate::entropy::RandomStream;

thread_local! {
    static LENT: RefCell<Option<RandomStream>> = const { RefCell::new(None) };
}

/// No connection has lent a stream to this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no connection draws on this thread")]
pub struct NotLent;

/// Fills `bytes` from the stream of the connection on whose behalf this thread works.
///
/// # Errors
///
/// Returns an error if it works on behalf of none that has a stream.
pub fn fill(bytes: &mut [u8]) -> Result<(), NotLent> {
    LENT.with_borrow_mut(|lent| lent.as_mut().map(|stream| stream.fill_bytes(bytes)).ok_or(NotLent))
}

/// Runs `work` while `stream` is lent to the thread.
pub(super) fn lend<T>(stream: &mut Option<RandomStream>, work: impl FnOnce() -> T) -> T {
    let before = LENT.replace(stream.take());
    let result = work();
    *stream = LENT.replace(before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn bytes_come_from_the_stream_that_is_lent_and_from_none_otherwise() {
        let drawn = |stream: &mut Option<RandomStream>| {
            let mut bytes = [0; 8];
            lend(stream, || fill(&mut bytes)).map(|()| bytes)
        };
        let mut stream = Some(Entropy::new(7).stream("tls"));
        let [first, second] = [drawn(&mut stream), drawn(&mut stream)];
        assert_ne!(first, second, "the stream goes on");
        assert_eq!(drawn(&mut Some(Entropy::new(7).stream("tls"))), first);
        assert_eq!(drawn(&mut None), Err(NotLent));
        assert_eq!(fill(&mut [0; 8]), Err(NotLent));
    }
}
