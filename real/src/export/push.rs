//! OTLP over HTTP: the metrics of a process, sent to a collector of OpenTelemetry every few seconds.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::pin,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::{Either, select};
use http::Uri;
use kernel::{
    cli::Failure,
    export::{OTLP, Observer, OtlpTimes, encode_otlp},
    sync::lock,
    visible::Visible,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
    sync::Notify,
};

use crate::{clock::machine_ns, tcp, timer::Timer};

/// Time between two messages.
const INTERVAL: Duration = Duration::from_secs(5);

/// Time that a collector may take to answer one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that it may take for the last one, after which the process ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);

/// The path of metrics at a collector whose URL has none.
const PATH: &str = "/v1/metrics";

/// A collector that messages will be sent to.
pub(crate) struct Collector {
    url: String,
    /// Host and port, as in the URL.
    authority: String,
    path: String,
    address: SocketAddr,
    runtime: Runtime,
    timer: Timer,
}

/// Checks that `text` is the URL of a collector, and returns it.
pub(super) fn url(text: &str) -> Result<String, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}; write a URL such as http://127.0.0.1:4318"))?;
    match (url.scheme_str(), url.authority()) {
        (Some("http"), Some(authority)) if !authority.as_str().contains('@') => Ok(text.to_owned()),
        _ => Err("only http is spoken; write a URL such as http://127.0.0.1:4318".to_owned()),
    }
}

impl Collector {
    /// Prepares to send to the collector at `url`. Fails if its host has no address.
    pub(super) fn at(url: &str) -> Result<Self, Failure> {
        let parsed: Uri = url.parse().map_err(Failure::wrong_input)?;
        let host = parsed.host().unwrap_or_default();
        let port = parsed.port_u16().unwrap_or(80);
        let bare = host.trim_matches(['[', ']']);
        let found = (bare, port).to_socket_addrs().ok().and_then(|mut found| found.next());
        let address = found.ok_or_else(|| {
            Failure::wrong_input(format!("the host of --otlp {} has no address; choose another", url.visible()))
        })?;
        let path = parsed.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Ok(Self {
            url: url.to_owned(),
            authority: format!("{host}:{port}"),
            path: if path == "/" { PATH.to_owned() } else { path.to_owned() },
            address,
            runtime: Builder::new_current_thread().enable_io().build().map_err(Failure::run_failed)?,
            timer: Timer::start().map_err(Failure::run_failed)?,
        })
    }

    /// Starts a thread that sends the values of `observer`. Fails if the operating system allows no more threads.
    pub(super) fn send(self, observer: Arc<Mutex<Observer>>) -> io::Result<Sending> {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let start_ns = unix_ns();
        let thread = thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            let mut answers = true;
            self.runtime.block_on(async {
                loop {
                    let wait = self.timer.sleep_until(machine_ns() + INTERVAL.as_nanos() as u64);
                    let is_last = matches!(select(wait, pin!(stopped.notified())).await, Either::Right(_));
                    // A collector that did not answer is not waited for at the end.
                    if is_last && !answers {
                        return;
                    }
                    let series = lock(&observer).series().clone();
                    let times = OtlpTimes { start_ns, now_ns: unix_ns() };
                    let message = encode_otlp(&series, &std::process::id().to_string(), times);
                    let limit = if is_last { LAST_TIMEOUT } else { ANSWER_TIMEOUT };
                    let sent = self.post(&message, limit).await;
                    self.report(&sent, &mut answers);
                    if is_last {
                        return;
                    }
                }
            });
        })?;
        Ok(Sending { stop, thread: Some(thread) })
    }

    /// Says once that messages are not taken, and once that they are again.
    fn report(&self, sent: &io::Result<()>, answers: &mut bool) {
        let url = self.url.visible();
        match sent {
            Err(error) if *answers => {
                eprintln!(
                    "warning: metrics are not taken by {url}: {error}; the run goes on, and they are sent again and again"
                );
            }
            Ok(()) if !*answers => eprintln!("note: metrics are taken by {url} again"),
            _ => {}
        }
        *answers = sent.is_ok();
    }

    /// Sends a message. Fails if it is not taken within `limit`.
    async fn post(&self, message: &[u8], limit: Duration) -> io::Result<()> {
        let sending = pin!(async {
            let mut stream = tcp::client(self.address).await?;
            let Self { path, authority, .. } = self;
            let length = message.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {OTLP}\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(message).await?;
            // `HTTP/1.1 200`: what comes behind it does not matter.
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            if answer.starts_with(b"HTTP/1.") && answer[9] == b'2' {
                return Ok(());
            }
            Err(io::Error::other(format!("it answers `{}`", String::from_utf8_lossy(&answer).visible())))
        });
        match select(sending, self.timer.sleep_until(machine_ns() + limit.as_nanos() as u64)).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err(io::Error::other(format!("it does not answer within {} s", limit.as_secs()))),
        }
    }
}

fn unix_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Messages on their way. Dropped, it sends a last one, and waits a second for that at most.
pub(super) struct Sending {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.notify_one();
        // A panic of the thread has been reported.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_url_is_of_http() {
        assert!(url("http://127.0.0.1:4318").is_ok() && url("http://[::1]:1/v1/metrics").is_ok());
        for wrong in ["https://x", "127.0.0.1:4318", "http://a@b", "x y"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "a collector is not of the World")]
    fn the_last_values_are_sent_at_the_end() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let collector = Collector::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let sending = collector.send(Arc::new(Mutex::new(Observer::of_process()))).unwrap();
        let serving = thread::Builder::new().spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        drop(sending);
        let request = serving.unwrap().join().unwrap();
        assert!(request.starts_with("POST /v1/metrics HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        assert!(request.contains("Content-Type: application/x-protobuf\r\n"), "{request}");
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "a collector is not of the World")]
    fn a_collector_that_hangs_is_given_up() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let collector = Collector::at(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
        let sent = collector.runtime.block_on(collector.post(b"", Duration::from_millis(50)));
        assert!(sent.unwrap_err().to_string().contains("does not answer"));
        drop(listener);
        let sent = collector.runtime.block_on(collector.post(b"", Duration::from_secs(5)));
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
