//! Calls over the loopback device, of a program that may have the functions of the C library that `sim` replaces.

#![expect(clippy::disallowed_types, reason = "real calls and the real clock are what is measured, without a World")]

use std::{
    convert::Infallible,
    io::{BufRead, Write},
    net::Ipv4Addr,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{client::conn::http2 as client, server::conn::http2 as server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

/// Calls in a round, which takes some tens of milliseconds.
const CALLS: u64 = 1_000;

/// Length of a message.
const MESSAGE_BYTES: usize = 276;

/// Readings of the clock in a round.
const READINGS: u32 = 200_000;

/// Makes a round of calls for each line of standard input, and prints nanoseconds of processor time: those for each call, and those for each
/// reading of the clock.
pub(crate) fn serve_rounds() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let mut sender = runtime.block_on(connect());
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        line.expect("standard input can be read");
        let calls = processor_ns_of(CALLS as u32, || runtime.block_on(make_calls(&mut sender)));
        let readings = processor_ns_of(READINGS, read_clock);
        writeln!(output, "{calls} {readings}").expect("standard output can be written");
        output.flush().expect("standard output can be written");
    }
}

type Sender = client::SendRequest<Full<Bytes>>;

/// Starts an echo server, and connects to it.
#[expect(clippy::disallowed_methods, reason = "real calls have no World")]
async fn connect() -> Sender {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback device has free ports");
    let address = listener.local_addr().expect("it is bound");
    tokio::task::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client connects");
        let echo = service_fn(|request: http::Request<hyper::body::Incoming>| async {
            let body = request.into_body().collect().await.expect("the body arrives").to_bytes();
            Ok::<_, Infallible>(http::Response::new(Full::new(body)))
        });
        // It ends with the client.
        let _ = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), echo).await;
    });
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("it is a socket");
    let handshake = client::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("the server speaks HTTP/2");
    tokio::task::spawn(connection);
    sender
}

/// Makes the calls of a round, one after the other, each with a message as long as a request for a picture of 16x16.
async fn make_calls(sender: &mut Sender) {
    for _ in 0..CALLS {
        let request = http::Request::post("http://bench/rehearsal.v1.Rehearsal/ProcessImage")
            .body(Full::new(Bytes::from_static(&[7; MESSAGE_BYTES])))
            .expect("it is a request");
        let reply = sender.send_request(request).await.expect("the server answers");
        let reply = reply.into_body().collect().await.expect("the body arrives").to_bytes();
        assert_eq!(reply.len(), MESSAGE_BYTES);
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock is what is measured")]
fn read_clock() {
    for _ in 0..READINGS {
        std::hint::black_box(std::time::Instant::now());
    }
}

/// Returns the processor time of each of `count` parts of `work`, in nanoseconds. It is read by a system call, past the C library.
fn processor_ns_of(count: u32, work: impl FnOnce()) -> f64 {
    let processor_ns = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = processor_ns();
    work();
    (processor_ns() - start) / f64::from(count)
}
