//! What the shaping layer costs while it does nothing: calls through an idle link against calls past it.

use kernel::{client::Channel, entropy::Entropy, link::Link};
use tokio::runtime::Runtime;

use crate::{
    calls::{Rounds, bare, pictures, process, round},
    server::{NAME, Server},
};

const ROUNDS: usize = 11;

/// Prints throughput and median latency with and without.
pub(crate) fn idle() {
    println!("an idle link                  past it     through it     ratio   added p50");
    Runtime::new().expect("a runtime can be made").block_on(async {
        let mut server = Server::replica();
        let world = real::world([(NAME.to_owned(), server.address)].into()).expect("a thread can be started");
        server.ready(&world).await;
        let direct = world.connect(NAME).await.expect("the server listens");
        let direct = bare(Channel::over(world.clone(), direct).await.expect("it speaks HTTP/2"));
        let link = Link::new(world.clone(), Entropy::new(1), NAME);
        let shaped = link.connect().await.expect("the server listens");
        let shaped = bare(Channel::over(world.clone(), shaped).await.expect("it speaks HTTP/2"));
        for (size, callers, calls) in
            [("16x16", 1, 4_000), ("16x16", 64, 12_000), ("256x256", 1, 2_000), ("256x256", 64, 4_000)]
        {
            let pictures = pictures(size);
            let (mut past, mut through) = (Rounds::default(), Rounds::default());
            for _ in 0..ROUNDS {
                for (stub, rounds) in [(&direct, &mut past), (&shaped, &mut through)] {
                    rounds.add(
                        round(&world, callers, calls, |number| {
                            let reply = process(stub.clone(), &pictures, number);
                            async { drop(reply.await) }
                        })
                        .await,
                    );
                }
            }
            println!(
                "  {size:>7}, {callers:>2} in flight   {:8.0}/s   {:8.0}/s  {:8.3} x  {:7.1} µs",
                past.per_second(),
                through.per_second(),
                through.ratio(&past),
                through.latency_us(500) - past.latency_us(500)
            );
        }
    });
    println!();
}
