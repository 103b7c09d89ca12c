//! What metrics cost: a server that measures its calls against one that does not, and what the orchestrator does with the rows of a
//! call.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kernel::{
    export::{Measured, Observer},
    record::{AttemptRow, CallMoment, Event, EventRow, MessageBytes, Name, RequestRow, Row},
    scenario::Scenario,
    status::{Code, Outcome},
};
use tokio::runtime::Runtime;

use crate::{
    calls::{Round, pictures, processing, serving},
    server::{NAME, Server},
    turns::{order, processor_time},
};

/// Size of the picture, callers, and calls of a round: the calls that take the least processor time, where metrics cost the most.
const LOAD: (&str, usize, usize) = ("16x16", 64, 2_560);

/// Rounds of each server. All of them together are some thousands of the operating system's ticks.
const ROUNDS: usize = 120;

/// Calls of which rows are consumed.
const CALLS: u64 = 200_000;

/// Prints the processor time that a call costs with and without metrics.
pub(crate) fn cost() {
    let (size, callers, calls) = LOAD;
    let (client, server, measuring) = Runtime::new().expect("a runtime can be made").block_on(async {
        let servers = [serving(Server::replica()).await, serving(Server::measuring_replica()).await];
        let pictures = pictures(size);
        let before = [0, 1].map(|side| servers[side].0.processor_seconds());
        let own = processor_time();
        for turn in 0..ROUNDS {
            for side in order(2, turn) {
                let (_, world, stub) = &servers[side];
                let _: Round = processing(world, callers, calls, stub, &pictures).await;
            }
        }
        let own = (processor_time() - own).as_secs_f64() * 1e6 / (2 * ROUNDS * calls) as f64;
        let [server, measuring] =
            [0, 1].map(|side| (servers[side].0.processor_seconds() - before[side]) * 1e6 / (ROUNDS * calls) as f64);
        (own, server, measuring)
    });
    let observing = observing().as_secs_f64() * 1e6;
    let (added, all) = (measuring - server, client + server);
    println!("metrics, {size}, {callers} in flight     processor time of a call");
    println!("  bare client and server             {client:.1} + {server:.1} µs");
    println!("  added at the server                {added:+.2} µs {:+.1} %", added / all * 100.0);
    println!("  added at the orchestrator          {observing:+.2} µs {:+.1} %", observing / all * 100.0);
    let counting = counting().as_secs_f64() * 1e6;
    println!("  added at the load                  {counting:+.2} µs {:+.1} %\n", counting / all * 100.0);
}

/// Returns the processor time that it costs a load to count the bytes of an attempt, at least: the moment of its end, under a lock.
fn counting() -> Duration {
    let measured = Mutex::<Measured>::default();
    let server = Name::from(NAME);
    let start = processor_time();
    for id in 0..CALLS {
        let bytes = MessageBytes { sent: 260 + id % 2, received: 260 + id % 2 };
        let moment = CallMoment::AttemptEnded { server: server.clone(), status: Code::Ok, bytes };
        measured.lock().unwrap_or_else(PoisonError::into_inner).count(black_box(moment));
    }
    (processor_time() - start) / u32::try_from(CALLS).expect("it is small")
}

/// Returns the processor time that the rows of a call cost the observer.
fn observing() -> Duration {
    let text = "name = \"bench\"\nduration = \"1s\"\n[load]\nrate = 1\n[servers]\nreplicas = 1\n";
    let scenario = Scenario::parse("bench", text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let mut observer = Observer::of_run(&scenario, 1, "real");
    let start = processor_time();
    for id in 0..CALLS {
        for row in rows(id) {
            observer.take(black_box(&row));
        }
    }
    let with = processor_time() - start;
    // Making the rows is none of it.
    let start = processor_time();
    for id in 0..CALLS {
        rows(id).iter().for_each(|row| {
            black_box(row);
        });
    }
    with.saturating_sub(processor_time() - start) / u32::try_from(CALLS).expect("it is small")
}

/// Returns the rows of a call that goes well, in their order.
pub(crate) fn rows(id: u64) -> [Row; 4] {
    let event = |source: &str, event, target: Option<&str>| {
        Row::Event(EventRow {
            at_us: id,
            source: source.into(),
            event,
            target: target.map(Into::into),
            cause: None,
            fault: None,
            request: Some(id),
            call: None,
            attempt: Some(1),
            duration_us: None,
        })
    };
    let attempt = AttemptRow {
        request: id,
        attempt: 1,
        server: NAME.into(),
        start_us: id,
        end_us: id + 400,
        status: Code::Ok,
        cause: None,
        committed_us: None,
    };
    let request = RequestRow {
        id,
        intended_us: id,
        sent_us: Some(id),
        done_us: Some(id + 400),
        latency_us: Some(400),
        status: Outcome::OK,
        server: Some(NAME.into()),
        attempts: 1,
        failovers: 0,
        size: "16x16".to_owned(),
        hedges: 0,
        rejected: false,
        answer: None,
        kind: None,
        user: None,
        stream: None,
    };
    [
        event("client", Event::Pick, Some(NAME)),
        event(NAME, Event::Finished, None),
        Row::Attempt(attempt),
        Row::Request(request),
    ]
}
