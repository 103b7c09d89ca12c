//! The part of HTTP/1.1 that a reader of metrics needs: one GET for each connection.

use std::{io, sync::Mutex};

use kernel::{
    export::{Observer, PROTOBUF, TextFormat, encode_protobuf},
    sync::lock,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::{end_with, read_head};

/// Reads a request and answers it with the values of `observer`. Fails if the client does not go on.
pub(super) async fn answer(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    observer: &Mutex<Observer>,
) -> io::Result<()> {
    let answer = match read_head(client).await? {
        Some(head) => respond(&head.text, observer),
        None => plain("431 Request Header Fields Too Large", "the head of the request is too long\n"),
    };
    end_with(client, &answer).await
}

fn respond(head: &str, observer: &Mutex<Observer>) -> Vec<u8> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    if method != "GET" && method != "HEAD" {
        return plain("405 Method Not Allowed", "metrics can only be read; use GET\n");
    }
    if target.split('?').next() != Some("/metrics") {
        return plain("404 Not Found", "metrics are at /metrics\n");
    }
    let accepts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("accept").then_some(value)
    });
    let format = Format::preferred(&accepts.collect::<Vec<_>>().join(","));
    // Copied under the lock, and written without it.
    let series = lock(observer).series().clone();
    let (kind, mut body) = match format {
        Format::Text(text) => (text.content_type(), text.encode(&series).into_bytes()),
        Format::Protobuf => (PROTOBUF, encode_protobuf(&series)),
    };
    let mut answer = header("200 OK", kind, body.len());
    if method == "GET" {
        answer.append(&mut body);
    }
    answer
}

fn header(status: &str, kind: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn plain(status: &str, text: &str) -> Vec<u8> {
    let mut answer = header(status, "text/plain; charset=utf-8", text.len());
    answer.extend_from_slice(text.as_bytes());
    answer
}

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text(TextFormat),
    Protobuf,
}

impl Format {
    /// Returns the format that the value of an `Accept` header prefers: that of the highest quality, and the first one of these; that
    /// of Prometheus if none is known.
    fn preferred(accept: &str) -> Self {
        let mut best = (Self::Text(TextFormat::Prometheus), 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let parameter = |name: &str| {
                let found = parameters.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim_matches('"'))
            };
            let quality = parameter("q").map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
            let is_family = parameter("proto") == Some("io.prometheus.client.MetricFamily");
            let is_delimited = parameter("encoding") == Some("delimited");
            let format = match &*kind {
                "application/vnd.google.protobuf" if is_family && is_delimited => Self::Protobuf,
                "application/openmetrics-text" => Self::Text(TextFormat::OpenMetrics),
                "text/plain" | "text/*" | "*/*" => Self::Text(TextFormat::Prometheus),
                _ => continue,
            };
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        let text = Format::Text(TextFormat::Prometheus);
        let open = Format::Text(TextFormat::OpenMetrics);
        let family = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let open_first = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", text),
            ("*/*", text),
            ("text/html", text),
            (open_first, open),
            (&format!("{family},{open_first}"), Format::Protobuf),
            (&format!("{family};q=0.1,{open_first}"), open),
            ("application/vnd.google.protobuf", text),
            ("application/openmetrics-text;q=0", text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }

    #[test]
    fn requests_for_something_else_are_answered_with_what_is_right() {
        let observer = Mutex::new(Observer::of_process());
        let status = |head: &str| {
            let answer = String::from_utf8(respond(head, &observer)).unwrap();
            answer.lines().next().unwrap().to_owned()
        };
        assert_eq!(status("GET /metrics?x=1 HTTP/1.1\r\nAccept: */*"), "HTTP/1.1 200 OK");
        assert_eq!(status("GET / HTTP/1.1"), "HTTP/1.1 404 Not Found");
        assert_eq!(status("POST /metrics HTTP/1.1"), "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(status(""), "HTTP/1.1 405 Method Not Allowed");
    }
}
