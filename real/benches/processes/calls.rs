//! A closed loop: a number of callers, each of which calls again as soon as it is answered.

use std::{cell::Cell, future::Future};

use futures_util::future::join_all;
use kernel::{
    client::Channel,
    entropy::Entropy,
    measure::Latencies,
    proto::rehearsal::{Image, ProcessImageRequest, rehearsal_client::RehearsalClient},
    scenario::Size,
    workload::pictures::{Gallery, Picture},
    world::SharedWorld,
};

use crate::server::{NAME, Server};

/// The pictures that calls carry.
pub(crate) fn pictures(size: &str) -> Vec<Picture> {
    let size: Size = size.parse().expect("a size");
    Gallery::synthetic(&[size], &mut Entropy::new(42).stream("pictures")).pictures().to_vec()
}

/// What both ways of calling are compared at: size, callers, and calls in a round.
pub(crate) const LOADS: [(&str, usize, usize); 4] =
    [("16x16", 1, 4_000), ("16x16", 64, 12_000), ("256x256", 1, 2_000), ("256x256", 64, 4_000)];

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
    /// In microseconds.
    latencies: Vec<u64>,
}

/// `callers` make `calls` in all. What is called is given a number of its own each time.
pub(crate) async fn round<F: Future<Output = ()>>(
    world: &SharedWorld,
    callers: usize,
    calls: usize,
    call: impl Fn(u64) -> F,
) -> Round {
    let next = Cell::new(0);
    let caller = || async {
        let mut latencies = Vec::with_capacity(calls / callers + 1);
        while next.get() < calls {
            let number = next.replace(next.get() + 1);
            let start = world.now();
            call(number as u64).await;
            latencies.push(world.now().since(start).as_nanos() as u64);
        }
        latencies
    };
    let start = world.now();
    let latencies = join_all((0..callers).map(|_| caller())).await.concat();
    Round { per_second: calls as f64 / world.now().since(start).as_secs_f64(), latencies }
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
        let turns = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<_> = turns.map(|(round, other)| round.per_second / other.per_second).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    /// A percentile over all rounds, in microseconds.
    pub(crate) fn latency_us(&self, per_mille: usize) -> f64 {
        let all = Latencies::of(self.rounds.iter().flat_map(|round| round.latencies.iter().copied()));
        all.percentile(per_mille).expect("there are calls") as f64 / 1e3
    }
}

/// A tonic client with nothing around it.
pub(crate) type Bare = RehearsalClient<Channel>;

pub(crate) fn bare(channel: Channel) -> Bare {
    RehearsalClient::with_origin(channel, http::Uri::from_static("http://bench"))
}

/// A server that serves, the world of those who call it, and a client with nothing around it.
pub(crate) async fn serving(mut server: Server) -> (Server, SharedWorld, Bare) {
    let world = real::world([(NAME.to_owned(), server.address)].into()).expect("a thread can be started");
    server.ready(&world).await;
    let stream = world.connect(NAME).await.expect("the server listens");
    let direct = bare(Channel::over(world.clone(), stream).await.expect("it speaks HTTP/2"));
    (server, world, direct)
}

/// Has one of `pictures` processed, and returns the result.
pub(crate) async fn process(mut stub: Bare, pictures: &[Picture], number: u64) -> bytes::Bytes {
    let Picture { width, height, pixels } = pictures[number as usize % pictures.len()].clone();
    let request = ProcessImageRequest { request_id: number, image: Some(Image { width, height, pixels }) };
    let reply = stub.process_image(request).await.expect("the server answers").into_inner();
    reply.image.expect("with an image").pixels
}
