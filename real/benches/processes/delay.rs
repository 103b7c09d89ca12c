//! How exact a link's delay is: from the write of a byte until the other end has read it, beside a sleep of tokio's.

use std::{future::poll_fn, net::Ipv4Addr, pin::Pin, task::Poll, time::Duration};

use kernel::{
    entropy::Entropy,
    link::{Link, Shape},
    measure::Latencies,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    runtime::Runtime,
};

use crate::server::NAME;

/// Prints by how much each is late.
pub(crate) fn accuracy() {
    println!("late by                            median         p99");
    for (delay, samples) in [(Duration::from_micros(300), 1_000), (Duration::from_millis(20), 200)] {
        Runtime::new().expect("a runtime can be made").block_on(async {
            print(&format!("a byte over a link of {delay:?}"), &link(delay, samples).await);
            print(&format!("tokio's sleep of {delay:?}"), &tokio_sleep(delay, samples).await);
        });
    }
    Runtime::new().expect("a runtime can be made").block_on(async {
        print("a byte over a link without", &link(Duration::ZERO, 1_000).await);
    });
    println!();
}

fn print(what: &str, late_ns: &Latencies) {
    let us = |per_mille| late_ns.percentile(per_mille).expect("there are samples") as f64 / 1e3;
    println!("  {what:<30} {:7.1} µs  {:7.1} µs", us(500), us(990));
}

/// Nanoseconds beyond `delay` that each of `samples` bytes takes.
#[expect(clippy::disallowed_types, reason = "the other end has no World")]
async fn link(delay: Duration, samples: usize) -> Latencies {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there are free ports");
    let address = listener.local_addr().expect("it is bound");
    let world = real::world([(NAME.to_owned(), address)].into()).expect("a thread can be started");
    let link = Link::new(world.clone(), Entropy::new(1), NAME);
    let (near, far) = futures_util::future::join(link.connect(), listener.accept()).await;
    let (mut near, (mut far, _)) = (near.expect("it is accepted"), far.expect("it connects"));
    far.set_nodelay(true).expect("it is a TCP socket");
    link.set_shape(Shape { latency: delay, ..Shape::default() });
    let mut late_ns = Vec::with_capacity(samples);
    for _ in 0..samples {
        let sent = world.now();
        near.write_all(b"x").await.expect("it is connected");
        // The near end's reader is what moves bytes on.
        let mut buffer = [0; 1];
        let moved = poll_fn(|cx| {
            let read = Pin::new(&mut near).poll_read(cx, &mut ReadBuf::new(&mut buffer));
            assert!(read.is_pending(), "nothing is sent this way");
            Poll::<()>::Pending
        });
        let mut received = [0; 1];
        let read = far.read_exact(&mut received);
        futures_util::future::select(std::pin::pin!(read), moved).await;
        late_ns.push(world.now().since(sent + delay).as_nanos() as u64);
    }
    Latencies::new(late_ns.into_iter())
}

#[expect(clippy::disallowed_methods, reason = "it is the baseline")]
async fn tokio_sleep(delay: Duration, samples: usize) -> Latencies {
    let world = real::world(Default::default()).expect("a thread can be started");
    let mut late_ns = Vec::with_capacity(samples);
    for _ in 0..samples {
        let start = world.now();
        tokio::time::sleep(delay).await;
        late_ns.push(world.now().since(start + delay).as_nanos() as u64);
    }
    Latencies::new(late_ns.into_iter())
}
