//! What the shaping layer costs while it does nothing: calls through an idle link against calls past it.

use kernel::{client::PlainChannel, entropy::Entropy, link::Link};
use tokio::runtime::Runtime;

use crate::{
    calls::{LOADS, ROUNDS, Rounds, bare, pictures, print, processing, serving},
    server::{NAME, Server},
};

/// Prints throughput and median latency with and without.
pub(crate) fn idle() {
    println!("an idle link                  past it     through it     ratio   added p50");
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (_server, world, direct) = serving(Server::replica()).await;
        let link = Link::new(world.clone(), Entropy::new(1), NAME);
        let shaped = link.connect().await.expect("the server listens");
        let shaped = bare(PlainChannel::over(world.clone(), shaped).await.expect("it speaks HTTP/2"));
        for (size, callers, calls) in LOADS {
            let pictures = pictures(size);
            let (mut past, mut through) = (Rounds::default(), Rounds::default());
            for _ in 0..ROUNDS {
                for (stub, rounds) in [(&direct, &mut past), (&shaped, &mut through)] {
                    rounds.add(processing(&world, callers, calls, stub, &pictures).await);
                }
            }
            print(size, callers, &past, &through);
        }
    });
    println!();
}
