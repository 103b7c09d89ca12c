//! Bytes of the network: what a hostile client sends to a server, what a hostile server answers, and any bytes through a link.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::host::{MemoryHost, SharedHost};
use crate::{
    client::PlainChannel,
    entropy::Entropy,
    link::{Link, Shape},
    proto::rehearsal::{Image, ProcessImageRequest, rehearsal_client::RehearsalClient},
    record::{Recorder, Records},
    server::{Injector, ReplicaSettings, serve},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

/// Time that a call may take on the clock of the host.
const RUN: Duration = Duration::from_secs(600);

/// The start of every HTTP/2 connection of a client, and its empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// An empty SETTINGS frame.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// Sends the bytes to a server. If the first byte is odd, HTTP/2's preface comes before the rest.
///
/// # Panics
///
/// Panics if the server does, or if it runs without end.
pub fn server(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let preface = if choice % 2 == 1 { PREFACE } else { b"" };
    let (host, peer) = MemoryHost::new();
    let world: SharedWorld = Arc::new(SharedHost(host.clone()));
    let recorder = Recorder::new(world.clone(), "server-0", Arc::new(Mutex::new(Records::default())));
    let settings = ReplicaSettings::new(&Default::default(), &Default::default());
    let injector = Arc::new(Injector::new(Entropy::new(1)));
    let stop_at = Instant::START + RUN / 2;
    let stopping = world.clone();
    world.spawn(Box::pin(async move {
        let stop = stopping.sleep_until(stop_at);
        serve(stopping.clone(), recorder, "server-0", settings, injector, stop).await.expect("the host can listen");
    }));
    world.spawn(Box::pin(send(peer, [preface, bytes].concat(), usize::from(*choice) + 1)));
    host.run_until(Instant::START + RUN);
}

/// Answers a client's call with the bytes. If the first byte is odd, an empty SETTINGS frame comes before the rest.
///
/// # Panics
///
/// Panics if the client does, or if it runs without end.
pub fn client(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let settings = if choice % 2 == 1 { SETTINGS } else { b"" };
    let (host, peer) = MemoryHost::new();
    let world: SharedWorld = Arc::new(SharedHost(host.clone()));
    let calling = world.clone();
    world.spawn(Box::pin(async move {
        let stream = calling.connect("server-0").await.expect("the host has a connection");
        let Ok(channel) = PlainChannel::over(calling.clone(), stream).await else { return };
        let mut stub = RehearsalClient::with_origin(channel, http::Uri::from_static("http://server-0"));
        let image = Image { width: 2, height: 2, pixels: Bytes::from_static(&[0; 4]) };
        let request = ProcessImageRequest { request_id: 0, image: Some(image) };
        // Any answer is right, if there is one.
        let _ = stub.process_image(request).await;
    }));
    world.spawn(Box::pin(send(peer, [settings, bytes].concat(), usize::from(*choice) + 1)));
    host.run_until(Instant::START + RUN);
}

/// Writes `bytes` in pieces, reads what the other end answers until it has ended, and closes.
async fn send(mut peer: DuplexStream, bytes: Vec<u8>, piece: usize) {
    for part in bytes.chunks(piece) {
        if peer.write_all(part).await.is_err() {
            break;
        }
    }
    // Both ends close, whatever has arrived; an error means that the other one did first.
    let _ = peer.shutdown().await;
    let _ = peer.read_to_end(&mut Vec::new()).await;
}

/// Number of bytes that describe the shape of the link.
const SHAPE_BYTES: usize = 5;

/// Sends the bytes through a link whose shape the first five bytes set.
///
/// # Panics
///
/// Panics if other bytes arrive than were sent, if some do not arrive although the link is not cut, or if it runs without end.
pub fn link(data: &[u8]) {
    let Some((&[latency, jitter, bandwidth, loss, piece], sent)) = data.split_first_chunk::<SHAPE_BYTES>() else {
        return;
    };
    let shape = Shape {
        latency: Duration::from_micros(u64::from(latency) * 100),
        jitter: Duration::from_micros(u64::from(jitter) * 100),
        bandwidth: (bandwidth > 0).then(|| u64::from(bandwidth) * 10_000),
        loss: f64::from(loss % 128) / 256.0,
        cut_to: loss == 128,
        ..Shape::default()
    };
    let (host, mut peer) = MemoryHost::new();
    let world: SharedWorld = Arc::new(SharedHost(host.clone()));
    let shaped = Link::new(world.clone(), Entropy::new(1), "server-0");
    shaped.set_shape(shape);
    let bytes = sent.to_vec();
    world.spawn(Box::pin(async move {
        let mut stream = shaped.connect().await.expect("the host has a connection");
        for part in bytes.chunks(usize::from(piece) + 1) {
            stream.write_all(part).await.expect("the peer reads");
        }
        stream.shutdown().await.expect("the peer reads");
        // The stream makes progress while it is read; the peer ends it after the last byte.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }));
    let received = Arc::new(Mutex::new(Vec::new()));
    let arrived = received.clone();
    world.spawn(Box::pin(async move {
        let mut buffer = [0; 512];
        while let Ok(read @ 1..) = peer.read(&mut buffer).await {
            lock(&arrived).extend_from_slice(&buffer[..read]);
        }
    }));
    // The slowest bandwidth takes about a second for a kilobyte, and fifteen losses in a row take a quarter of an hour.
    host.run_until(Instant::START + Duration::from_secs(24 * 3600));
    let received = lock(&received);
    assert!(sent.starts_with(&received), "{} bytes arrived that were not sent", received.len());
    assert!(shape.cut_to || received.len() == sent.len(), "{} of {} bytes arrived", received.len(), sent.len());
}

#[cfg(test)]
mod tests {
    use super::{super::replay, *};

    #[test]
    fn a_server_survives_any_bytes() {
        replay(env!("CARGO_MANIFEST_DIR"), "server", server);
    }

    #[test]
    fn a_client_survives_any_bytes() {
        replay(env!("CARGO_MANIFEST_DIR"), "client", client);
    }

    #[test]
    fn a_link_delivers_any_bytes_unchanged() {
        replay(env!("CARGO_MANIFEST_DIR"), "link", link);
    }
}
