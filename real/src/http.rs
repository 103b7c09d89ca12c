//! The common part of the small servers of HTTP/1.1: one request for each connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes of a request's head. Prometheus sends some hundred.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The head of a request, up to the empty line that ends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The lines of the head.
    pub(crate) text: String,
    /// The bytes behind the empty line that have arrived with it.
    pub(crate) rest: Vec<u8>,
}

/// Reads the head of a request; `None` if no empty line ends it within [`HEAD_BYTES_MAX`].
///
/// # Errors
///
/// Returns an error if the client does not go on.
pub(crate) async fn read_head(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Head>> {
    let mut bytes = Vec::with_capacity(1024);
    while bytes.len() < HEAD_BYTES_MAX {
        let before = bytes.len();
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end may have begun in what was read before.
        let from = before.saturating_sub(3);
        if let Some(end) = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(from + end + 4);
            bytes.truncate(from + end);
            return Ok(Some(Head { text: String::from_utf8_lossy(&bytes).into_owned(), rest }));
        }
    }
    Ok(None)
}

/// Writes the answer, and ends the connection once the client has.
///
/// # Errors
///
/// Returns an error if the client does not go on.
pub(crate) async fn end_with(client: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) -> io::Result<()> {
    client.write_all(answer).await?;
    client.shutdown().await?;
    // Bytes that were not read would turn the end into a reset, which can overtake the answer.
    let mut rest = [0; 1024];
    while client.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, rest: &str) -> Option<Head> {
        Some(Head { text: text.to_owned(), rest: rest.into() })
    }

    #[test]
    fn a_head_without_an_end_is_not_read_for_ever() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let read = |mut bytes: &[u8]| runtime.block_on(read_head(&mut bytes));
        assert_eq!(read(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest").unwrap(), head("GET / HTTP/1.1\r\nA: b", "rest"));
        assert_eq!(read(&vec![b'x'; 2 * HEAD_BYTES_MAX]).unwrap(), None);
        assert!(read(b"GET /").is_err());
    }
}
