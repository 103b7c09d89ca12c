//! A closed loop: a number of callers, each of which calls again as soon as it is answered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::future::join_all;
use kernel::{
    client::PlainChannel,
    entropy::Entropy,
    measure::Latencies,
    proto::rehearsal::{Image, ProcessImageRequest, rehearsal_client::RehearsalClient},
    scenario::Size,
    workload::pictures::{Gallery, Picture},
    world::SharedWorld,
};
use tokio::sync::oneshot;

use crate::{
    server::{NAME, Server},
    turns::processor_time,
};

/// The pictures that calls carry.
pub(crate) fn pictures(size: &str) -> Arc<[Picture]> {
    let size: Size = size.parse().expect("a size");
    Gallery::synthetic(&[size], &mut Entropy::new(42).stream("pictures")).pictures().into()
}

/// What both ways of calling are compared at: size, callers, and calls in a round. A round is some tens of milliseconds, so
/// that both of a turn find the machine in the same mood.
pub(crate) const LOADS: [(&str, usize, usize); 4] =
    [("16x16", 1, 200), ("16x16", 64, 1_280), ("256x256", 1, 100), ("256x256", 64, 640)];

/// Rounds of each.
pub(crate) const ROUNDS: usize = 201;

/// Prints what calls come to `without` something and `with` it.
pub(crate) fn print(size: &str, callers: usize, without: &Rounds, with: &Rounds) {
    println!(
        "  {size:>7}, {callers:>2} in flight   {:8.0}/s   {:8.0}/s  {:8.3} x  {:7.1} µs",
        without.per_second(),
        with.per_second(),
        with.ratio(without),
        with.latency_us(500) - without.latency_us(500)
    );
}

/// How a round went.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Microseconds of this process's time for each call.
    processor: f64,
    /// In nanoseconds.
    latencies: Vec<u64>,
}

/// `callers`, each a task of its own as a service's handlers are, make `calls` in all. What is called is given a number of its
/// own each time.
pub(crate) async fn round<F: Future<Output = ()> + Send>(
    world: &SharedWorld,
    callers: usize,
    calls: usize,
    call: impl Fn(u64) -> F + Send + Sync + 'static,
) -> Round {
    let (next, call) = (Arc::new(AtomicUsize::new(0)), Arc::new(call));
    let (start, processor) = (world.now(), processor_time());
    let callers = (0..callers).map(|_| {
        let (here, next, call) = (world.clone(), next.clone(), call.clone());
        let (done, latencies) = oneshot::channel();
        world.spawn(Box::pin(async move {
            let mut latencies = Vec::with_capacity(calls);
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= calls {
                    break;
                }
                let start = here.now();
                call(number as u64).await;
                latencies.push(here.now().since(start).as_nanos() as u64);
            }
            done.send(latencies).expect("somebody waits for it");
        }));
        async { latencies.await.expect("no call panics") }
    });
    let latencies = join_all(callers).await.concat();
    let processor = (processor_time() - processor).as_secs_f64() * 1e6 / calls as f64;
    Round { per_second: calls as f64 / world.now().since(start).as_secs_f64(), processor, latencies }
}

/// Rounds of the same kind.
#[derive(Default)]
pub(crate) struct Rounds {
    rounds: Vec<Round>,
}

impl Rounds {
    pub(crate) fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Of the fastest round.
    pub(crate) fn per_second(&self) -> f64 {
        self.rounds.iter().map(|round| round.per_second).fold(0.0, f64::max)
    }

    /// Throughput over that of `other`'s rounds, which these took turns with: the median over the turns, as a machine that is
    /// slow for a while slows both rounds of a turn.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        self.median_with(other, |round, other| round.per_second / other.per_second)
    }

    /// What a call takes of this process's time, in microseconds.
    pub(crate) fn processor(&self) -> f64 {
        self.median_with(self, |round, _| round.processor)
    }

    /// What it takes beyond what one of `other`'s does, in microseconds, and as a share of that.
    pub(crate) fn added_to(&self, other: &Self) -> (f64, f64) {
        let added = self.median_with(other, |round, other| round.processor - other.processor);
        (added, self.median_with(other, |round, other| round.processor / other.processor - 1.0))
    }

    fn median_with(&self, other: &Self, of: impl Fn(&Round, &Round) -> f64) -> f64 {
        let mut figures: Vec<_> =
            self.rounds.iter().zip(&other.rounds).map(|(round, other)| of(round, other)).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures[figures.len() / 2]
    }

    /// A percentile over all rounds, in microseconds.
    pub(crate) fn latency_us(&self, per_mille: usize) -> f64 {
        let all = Latencies::new(self.rounds.iter().flat_map(|round| round.latencies.iter().copied()));
        all.percentile(per_mille).expect("there are calls") as f64 / 1e3
    }
}

/// A tonic client with nothing around it.
pub(crate) type Bare = RehearsalClient<PlainChannel>;

pub(crate) fn bare(channel: PlainChannel) -> Bare {
    RehearsalClient::with_origin(channel, http::Uri::from_static("http://bench"))
}

/// A server that serves, the world of those who call it, and a client with nothing around it.
pub(crate) async fn serving(mut server: Server) -> (Server, SharedWorld, Bare) {
    let world = real::world([(NAME.to_owned(), server.address)].into()).expect("a thread can be started");
    server.ready(&world).await;
    let stream = world.connect(NAME).await.expect("the server listens");
    let direct = bare(PlainChannel::over(world.clone(), stream).await.expect("it speaks HTTP/2"));
    (server, world, direct)
}

/// Has one of `pictures` processed, and returns the result.
pub(crate) async fn process(mut stub: Bare, pictures: Arc<[Picture]>, number: u64) -> bytes::Bytes {
    let Picture { width, height, pixels } = pictures[number as usize % pictures.len()].clone();
    let request = ProcessImageRequest { request_id: number, image: Some(Image { width, height, pixels }) };
    let reply = stub.process_image(request).await.expect("the server answers").into_inner();
    reply.image.expect("with an image").pixels
}

/// A round of such calls.
pub(crate) async fn processing(
    world: &SharedWorld,
    callers: usize,
    calls: usize,
    stub: &Bare,
    pictures: &Arc<[Picture]>,
) -> Round {
    let (stub, pictures) = (stub.clone(), pictures.clone());
    let call = move |number| {
        let (stub, pictures) = (stub.clone(), pictures.clone());
        async move { drop(process(stub, pictures, number).await) }
    };
    round(world, callers, calls, call).await
}
