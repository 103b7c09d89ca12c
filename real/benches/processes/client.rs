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
    workload::{Input, pictures::Picture, rpc},
    world::SharedWorld,
};
use tokio::runtime::Runtime;

use crate::{
    all_policies::{CACHE, OTHERS},
    calls::{LOADS, ROUNDS, Round, Rounds, pictures, print, processing, round, serving},
    server::{NAME, Server},
    turns::order,
};

/// The defaults: health checks, round robin, retries.
const SETTINGS: &str = "name = \"bench\"\nduration = \"1s\"\n[load]\nrate = 1\n[servers]\nreplicas = 1\n";

/// Prints throughput without it, with its defaults, and with every policy there is.
pub(crate) fn cost() {
    let all: Vec<_> = OTHERS.iter().chain(&CACHE).map(ToString::to_string).collect();
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (_server, world, direct) = serving(Server::replica()).await;
        let resilient = [Resilient::start(&world, &[]), Resilient::start(&world, &all)];
        world.sleep_until(world.now() + Duration::from_millis(200)).await;
        let mut processor = Vec::new();
        println!("the resilient client             bare      resilient     ratio   added p50");
        for (size, callers, calls) in LOADS {
            let pictures = pictures(size);
            let mut rounds: [Rounds; 3] = Default::default();
            for turn in 0..ROUNDS {
                for side in order(3, turn) {
                    let round = match side.checked_sub(1) {
                        None => processing(&world, callers, calls, &direct, &pictures).await,
                        Some(client) => resilient[client].round(&world, callers, calls, &pictures).await,
                    };
                    rounds[side].add(round);
                }
            }
            let [bare, defaults, all] = &rounds;
            print(size, callers, bare, defaults);
            let [(defaults, of_defaults), (all, of_all)] = [defaults, all].map(|rounds| rounds.added_to(bare));
            processor.push(format!(
                "  {size:>7}, {callers:>2} in flight   {:5.1} µs  {defaults:5.1} µs {:5.1} %  {all:5.1} µs {:5.1} %",
                bare.processor(),
                of_defaults * 100.0,
                of_all * 100.0
            ));
        }
        println!("\nits processor time a call        bare   added by defaults   by all policies");
        processor.iter().for_each(|line| println!("{line}"));
    });
    println!();
}

/// A resilient client that records.
struct Resilient {
    client: Client,
    records: Arc<Mutex<Records>>,
    ids: Arc<AtomicU64>,
}

impl Resilient {
    fn start(world: &SharedWorld, policies: &[String]) -> Self {
        let scenario = Scenario::parse("bench", SETTINGS, policies).unwrap_or_else(|error| panic!("{error}"));
        let (entropy, records) = (Entropy::new(1), Arc::new(Mutex::new(Records::default())));
        let recorder = Recorder::new(world.clone(), "client", records.clone());
        let links = [Link::new(world.clone(), entropy, NAME)];
        let client = Client::start(world.clone(), entropy, recorder, scenario.client, &links);
        Self { client, records, ids: Arc::default() }
    }

    async fn round(&self, world: &SharedWorld, callers: usize, calls: usize, pictures: &Arc<[Picture]>) -> Round {
        let (client, ids, pictures) = (self.client.clone(), self.ids.clone(), pictures.clone());
        let call = move |number| {
            let (client, id) = (client.clone(), ids.fetch_add(1, Relaxed));
            let input = Input::Image(pictures[number as usize % pictures.len()].clone());
            async move { assert!(client.call(Request { id, message: rpc::message(id, &input) }).await.outcome.is_success()) }
        };
        let round = round(world, callers, calls, call).await;
        // A run keeps its rows, but not those of the rounds before.
        *self.records.lock().expect("no thread panics while it holds the lock") = Records::default();
        round
    }
}
