//! The part of HTTP/1.1 that clients of toxiproxy need: one request for each connection.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::Refused;
use crate::http::{Head, end_with, read_head};

/// Most bytes of the body of a request.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// The program that asks.
    pub(super) agent: String,
    body: Vec<u8>,
}

impl Request {
    /// Returns the body.
    pub(super) fn json(&self) -> Result<Value, Refused> {
        serde_json::from_slice(&self.body).map_err(|error| Refused::new(400, format!("bad request body: {error}")))
    }
}

/// An answer.
pub(super) struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// The answer of what has been done; without a body for the status 204.
    pub(super) fn done(status: u16, body: &Value) -> Self {
        let body = if status == 204 { String::new() } else { body.to_string() };
        Self { status, body }
    }

    /// The answer of what has not been done, in toxiproxy's shape.
    pub(super) fn refused(refused: &Refused) -> Self {
        let body = json!({ "error": refused.reason, "status": refused.status });
        Self { status: refused.status, body: body.to_string() + "\n" }
    }

    fn bytes(&self) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            201 => "Created",
            204 => "No Content",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            _ => "Internal Server Error",
        };
        let Self { status, body } = self;
        let length = body.len();
        // An answer without contents has no length of them either.
        let contents = match status {
            204 => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        format!("HTTP/1.1 {status} {reason}\r\n{contents}Connection: close\r\n\r\n{body}").into_bytes()
    }
}

/// Reads a request and answers it. Fails if the client does not go on.
pub(super) async fn answer(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    respond: impl FnOnce(Request) -> Answer,
) -> io::Result<()> {
    let answer = match read(client).await? {
        Ok(request) => respond(request),
        Err(refused) => Answer::refused(&refused),
    };
    end_with(client, &answer.bytes()).await
}

async fn read(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Request, Refused>> {
    let Some(Head { text: head, rest: mut body }) = read_head(client).await? else {
        return Ok(Err(Refused::new(431, "the head of the request is too long")));
    };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let header = |name: &str| {
        let mut found = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        found.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        return Ok(Err(Refused::new(411, "the body has to have a Content-Length")));
    }
    let length = header("content-length").map_or(Ok(0), |length| length.parse::<usize>());
    match length {
        Ok(length) if length <= BODY_BYTES_MAX => {
            body.truncate(length);
            let missing = length - body.len();
            client.take(missing as u64).read_to_end(&mut body).await?;
            if body.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(_) => return Ok(Err(Refused::new(413, format!("the body is longer than {BODY_BYTES_MAX} bytes")))),
        Err(_) => return Ok(Err(Refused::new(400, "Content-Length is not a number"))),
    }
    Ok(Ok(Request { method, path, agent: header("user-agent").unwrap_or_default(), body }))
}

/// Returns a part of a path without its escapes.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &others[2..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HEAD_BYTES_MAX;

    #[test]
    fn requests_are_read_whole_and_within_bounds() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let read = |bytes: &[u8]| runtime.block_on(read(&mut &*bytes));
        let request =
            read(b"POST /proxies HTTP/1.1\r\nUser-Agent: x\r\ncontent-length: 2\r\n\r\n{}more").unwrap().unwrap();
        assert_eq!(
            (&*request.method, &*request.path, &*request.agent, request.json()),
            ("POST", "/proxies", "x", Ok(json!({})))
        );
        assert!(read(b"GET / HTTP/1.1\r\n\r\n").unwrap().unwrap().json().is_err());
        for (bytes, status) in [
            (&b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"[..], 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            (&[b'x'; 2 * HEAD_BYTES_MAX], 431),
        ] {
            assert_eq!(read(bytes).unwrap().unwrap_err().status, status);
        }
        assert!(read(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}").is_err());
        assert_eq!(decoded("a%20b%zz%4"), "a b%zz%4");
    }
}
