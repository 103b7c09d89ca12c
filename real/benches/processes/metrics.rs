//! What metrics cost: whole runs with and without them; a server that measures its calls against one that does not, and what the
//! orchestrator does with the rows of a call.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a scraper is not of the World")]

use std::{
    fs,
    hint::black_box,
    io::{Read, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kernel::{
    export::{Measuring, Observer},
    record::{AttemptRow, CallMoment, Event, EventRow, MessageBytes, Name, RequestRow, Row},
    scenario::Scenario,
    status::{Code, Outcome},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    calls::{Round, pictures, processing, serving},
    server::{NAME, Server, children_seconds, free_address},
    turns::{order, processor_time},
};

/// Size of the picture, callers, and calls of a round: the calls that take the least processor time, where metrics cost the most.
const LOAD: (&str, usize, usize) = ("16x16", 64, 2_560);

/// Pairs of servers, of which one measures. Two processes of one program differ by a percent, as their memory lies elsewhere.
const PAIRS: usize = 6;

/// Rounds of each server. All of them together are some thousands of the operating system's ticks.
const ROUNDS: usize = 25;

/// Calls of which rows are consumed.
const CALLS: u64 = 200_000;

/// Calls a second of a run, and its duration in seconds.
const RUN: (u64, u64) = (4_000, 6);

/// Pairs of runs, of which one has metrics.
const RUN_PAIRS: usize = 10;

/// Time between two scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

/// Prints the processor time that a call costs with and without metrics.
pub(crate) fn cost() {
    runs();
    parts();
}

/// Prints it of whole runs: of the load, the servers and the orchestrator.
fn runs() {
    let folder = TempDir::new().expect("there is room");
    let (rate, seconds) = RUN;
    let size = LOAD.0;
    let text = format!(
        "name = \"bench\"\nduration = \"{seconds}s\"\n[servers]\nreplicas = 2\n[workload]\nkind = \"sobel\"\nsizes = [\"{size}\"]\n\
         [load]\nrate = {rate}\n"
    );
    fs::write(folder.path().join("bench.toml"), text).expect("there is room");
    let mut calls = [Vec::new(), Vec::new()];
    for turn in 0..RUN_PAIRS {
        for side in order(2, turn) {
            calls[side].push(run(&folder, (side == 1).then(free_address)));
        }
    }
    let [without, with] = calls;
    let mut ratios: Vec<_> = without.iter().zip(&with).map(|(without, with)| (with / without - 1.0) * 100.0).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[RUN_PAIRS - 1]);
    let median = f64::midpoint(ratios[(RUN_PAIRS - 1) / 2], ratios[RUN_PAIRS / 2]);
    println!("metrics, runs of 2 servers, {size}, {rate} calls/s     processor time of a call");
    println!("  load, servers and orchestrator     {:.1} µs", mean(&without));
    println!("  the same, scraped every second     {:.1} µs", mean(&with));
    println!(
        "  added                              {:+.1} %, {least:+.1} to {most:+.1} % in {RUN_PAIRS} pairs\n",
        median
    );
}

/// Runs the scenario in `folder`, with metrics if there is an address for them. Returns the processor time of a call in microseconds.
fn run(folder: &TempDir, metrics: Option<SocketAddr>) -> f64 {
    let before = children_seconds();
    let mut command = Command::new(env!("CARGO_BIN_EXE_real"));
    command.args(["run", "bench.toml", "--out", "run", "--force"]).current_dir(folder.path());
    command.args(metrics.iter().flat_map(|address| ["--metrics".to_owned(), address.to_string()]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = command.spawn().expect("it starts");
    let begun = Instant::now();
    let mut scrapes = 0;
    while run.try_wait().expect("it is our child").is_none() {
        if begun.elapsed() >= SCRAPE_INTERVAL * scrapes {
            metrics.into_iter().for_each(scrape);
            scrapes += 1;
        }
        // Its end is found long before the next scrape is due.
        thread::sleep(SCRAPE_INTERVAL / 20);
    }
    let (rate, seconds) = RUN;
    let requests = fs::read_to_string(folder.path().join("run/requests.jsonl")).expect("a run has requests");
    assert_eq!(requests.lines().count() as u64, rate * seconds, "all are made");
    (children_seconds() - before) * 1e6 / (rate * seconds) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Reads the metrics at `address`, if they are served yet.
fn scrape(address: SocketAddr) {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    // A run that has ended meanwhile answers nothing.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut Vec::new()));
}

/// Prints it of its parts, against a client without policies and a server without rows.
fn parts() {
    let (size, callers, calls) = LOAD;
    let (client, servers) = Runtime::new().expect("a runtime can be made").block_on(async {
        let mut servers = Vec::new();
        for _ in 0..PAIRS {
            servers.extend([serving(Server::replica()).await, serving(Server::measuring_replica()).await]);
        }
        let pictures = pictures(size);
        let before: Vec<_> = servers.iter().map(|(server, ..)| server.processor_seconds()).collect();
        let own = processor_time();
        for turn in 0..ROUNDS {
            for place in order(servers.len(), turn) {
                let (_, world, stub) = &servers[place];
                let _: Round = processing(world, callers, calls, stub, &pictures).await;
            }
        }
        let of_call = |seconds: f64, servers| seconds * 1e6 / (servers * ROUNDS * calls) as f64;
        let own = of_call((processor_time() - own).as_secs_f64(), servers.len());
        let used = servers.iter().zip(before).map(|((server, ..), before)| server.processor_seconds() - before);
        (own, used.map(|seconds| of_call(seconds, 1)).collect::<Vec<_>>())
    });
    let mut added: Vec<_> = servers.chunks(2).map(|pair| pair[1] - pair[0]).collect();
    added.sort_by(f64::total_cmp);
    let server = mean(&servers.iter().step_by(2).copied().collect::<Vec<_>>());
    let (least, most) = (added[0], added[PAIRS - 1]);
    let observing = observing().as_secs_f64() * 1e6;
    let (added, all) = (mean(&added), client + server);
    println!("metrics, {size}, {callers} in flight     processor time of a call");
    println!("  bare client and server             {client:.1} + {server:.1} µs");
    println!(
        "  added at the server                {added:+.2} µs {:+.1} %, {least:+.2} to {most:+.2} in {PAIRS} pairs",
        added / all * 100.0
    );
    println!("  added at the orchestrator          {observing:+.2} µs {:+.1} %", observing / all * 100.0);
    let counting = counting().as_secs_f64() * 1e6;
    println!("  added at the load                  {counting:+.2} µs {:+.1} %\n", counting / all * 100.0);
}

/// Returns the processor time that it costs a load to count the bytes of an attempt, at least: the moment of its end, under a lock.
fn counting() -> Duration {
    let measured = Measuring::default();
    let server = Name::from(NAME);
    let start = processor_time();
    for id in 0..CALLS {
        let bytes = MessageBytes { sent: 260 + id % 2, received: 260 + id % 2 };
        let moment = CallMoment::AttemptEnded { server: server.clone(), status: Code::Ok, bytes };
        measured.count(black_box(moment));
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
