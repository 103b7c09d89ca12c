//! What the resilient client costs while nothing goes wrong: calls under its policies, through its link and into its
//! record, against a tonic client over the bare socket.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kernel::{
    client::{Client, Request},
    entropy::Entropy,
    link::Link,
    record::{Recorder, Records},
    scenario::Scenario,
    workload::Input,
};
use tokio::runtime::Runtime;

use crate::{
    calls::{LOADS, ROUNDS, Rounds, pictures, print, processing, round, serving},
    server::{NAME, Server},
};

/// The defaults: health checks, round robin, retries. A policy that is off by default is to be switched on here.
const SETTINGS: &str = "name = \"bench\"\nduration = \"1s\"\n[load]\nrate = 1\n[servers]\nreplicas = 1\n";

/// Prints throughput with and without.
pub(crate) fn cost() {
    println!("the resilient client             bare      resilient     ratio   added p50");
    let scenario = Scenario::parse("bench", SETTINGS, &[]).unwrap_or_else(|error| panic!("{error}"));
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (_server, world, direct) = serving(Server::replica()).await;
        let (entropy, records) = (Entropy::new(1), Arc::new(Mutex::new(Records::default())));
        let recorder = Recorder::new(world.clone(), "client", records.clone());
        let links = [Link::new(world.clone(), entropy, NAME)];
        let client = Client::start(world.clone(), entropy, recorder, scenario.client, &links);
        world.sleep_until(world.now() + Duration::from_millis(200)).await;
        let ids = Arc::new(AtomicU64::new(0));
        for (size, callers, calls) in LOADS {
            let pictures = pictures(size);
            let (mut without, mut with) = (Rounds::default(), Rounds::default());
            for turn in 0..ROUNDS {
                // Each finds the machine as the other leaves it, in turn.
                for resilient in [turn % 2 == 1, turn % 2 == 0] {
                    if !resilient {
                        without.add(processing(&world, callers, calls, &direct, &pictures).await);
                        continue;
                    }
                    let (client, ids, pictures) = (client.clone(), ids.clone(), pictures.clone());
                    let call = move |number| {
                        let (client, id) = (client.clone(), ids.fetch_add(1, Relaxed));
                        let input = Input::Image(pictures[number as usize % pictures.len()].clone());
                        async move { assert!(client.call(Request { id, input }).await.outcome.is_success()) }
                    };
                    with.add(round(&world, callers, calls, call).await);
                    // A run keeps its rows, but not those of the rounds before.
                    *records.lock().expect("nobody panicked with it") = Records::default();
                }
            }
            print(size, callers, &without, &with);
        }
    });
    println!();
}
