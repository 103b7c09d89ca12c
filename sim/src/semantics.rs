//! Tests that pin the semantics of TCP and of signals in the simulated world.
//!
//! Each test runs software of its own on simulated hosts: mostly raw byte streams, sometimes the whole server and client.
//! The host's durations are constants, so every time here is exact and compared for equality. Each file has one topic.

mod backlog;
mod bandwidth;
mod calls;
mod close;
mod connection_backoff;
mod crash;
mod delay;
mod freeze;
mod half_open;
mod loss;
mod nemesis;
mod own_runtime;
mod partition;
mod policies;
mod processes;
mod processors;
mod reset;
mod server;
mod system;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::pending;
use kernel::{
    link::{Link, Shape, ShapedStream},
    nemesis::{Effect, Operation, Operations},
    record::{Event, EventRow, Records},
    scenario::{Caller, Scenario, ServerNames},
    time::Instant,
    world::{BoxStream, SharedWorld, timeout_at},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::{
    Plan, RunSoFar,
    calibration::Calibration,
    error::SimulationError,
    replica::{ReplicaProcess, Software},
    run,
    simulation::{Bounds, Hosts, Simulation},
    thread::on_own_thread,
};

/// The one-way delay of the network.
const LINK: Duration = us(50);

/// The time that a new process takes until it listens.
const EXEC_TO_LISTEN: Duration = ms(10);

/// The service time of an image of 64x64.
const SERVICE: Duration = us(820);

const CALIBRATION: &str = r#"
name = "constant"
link.one_way_us = [[0.0, 50.0]]
process.exec_to_listen_us = [[0.0, 10000.0]]
service_time = [
    { workload = "sobel", units = 4096, us = [[0.0, 820.0]] },
    { workload = "dfs", units = 30, us = [[0.0, 300.0]] },
    { workload = "backend", units = 1, us = [[0.0, 10.0]] },
]
"#;

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn at(span: Duration) -> Instant {
    Instant::START + span
}

/// The events that one end of a connection saw, with their times.
type Log = Vec<(Instant, Seen)>;

/// A log that several hosts or connections write to.
type SharedLog = Arc<Mutex<Log>>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Bytes(Vec<u8>),
    End,
    Failure(io::ErrorKind),
}

fn bytes(text: &str) -> Seen {
    Seen::Bytes(text.into())
}

/// Returns all bytes of a log in order.
fn received(log: &Log) -> Vec<u8> {
    log.iter()
        .filter_map(|(_, seen)| if let Seen::Bytes(bytes) = seen { Some(&bytes[..]) } else { None })
        .collect::<Vec<_>>()
        .concat()
}

/// Runs `client` against `server-0`, which runs `software`, and returns the client's result.
fn simulate<T, F>(software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    simulate_seeded(1, software, client).0
}

/// Does the same with a seed, and returns the records too.
fn simulate_seeded<T, F>(seed: u64, software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> (T, Records)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    simulate_replicas(1, seed, software, client).unwrap()
}

/// Runs `client` against as many replicas, all of which run `software`, and returns the client's result and the records.
fn simulate_replicas<T, F>(
    replicas: usize,
    seed: u64,
    software: &Software,
    client: impl FnOnce(Hosts) -> F + Send,
) -> Result<(T, Records), SimulationError>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let outcome = Arc::new(Mutex::new(None));
    let result = outcome.clone();
    let bounds = Bounds::default();
    let completed = on_own_thread((seed, &[]), (bounds.limits.real_time, &bounds.watch), || {
        let simulation = Simulation::new(
            &ServerNames::of_group(replicas),
            seed,
            &calibration(),
            software,
            bounds.clone(),
            |hosts| {
                let client = client(hosts);
                async move {
                    *result.lock().unwrap() = Some(client.await);
                    Ok(())
                }
            },
        );
        simulation.run(&Default::default())
    });
    let records = completed.and_then(RunSoFar::completed)?.records;
    let outcome = outcome.lock().unwrap().take().unwrap();
    Ok((outcome, records))
}

fn calibration() -> Calibration {
    Calibration::parse("calibration.toml", CALIBRATION).unwrap()
}

/// Runs a scenario whose requests carry images of 64x64, and returns the records.
fn records_of(scenario: &str) -> Records {
    records_of_images(scenario, "64x64")
}

fn records_of_images(scenario: &str, size: &str) -> Records {
    records_on(calibration(), scenario, size)
}

/// Does the same on a host with another calibration, and with images of this size.
fn records_on(calibration: Calibration, scenario: &str, size: &str) -> Records {
    let scenario = format!("name = 'semantics'\nworkload.sizes = ['{size}']\n{scenario}");
    let scenario = Scenario::parse("semantics.toml", &scenario, &[]).unwrap();
    run(&Plan { calibration, ..Plan::new(scenario, 1) }, &Default::default()).unwrap().records
}

fn events(records: &Records, event: Event) -> impl Iterator<Item = &EventRow> {
    records.events.iter().filter(move |row| row.event == event)
}

fn software<F>(serve: impl Fn(SharedWorld) -> F + Send + Sync + 'static) -> Software
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Software::new(move |process| Box::pin(serve(process.world)))
}

/// Returns software that runs `serve` for each connection, all at the same time.
fn on_each_connection<F>(serve: impl Fn(SharedWorld, BoxStream) -> F + Copy + Send + Sync + 'static) -> Software
where
    F: Future<Output = ()> + Send + 'static,
{
    software(move |world| async move {
        let mut listener = world.listen().await?;
        loop {
            let stream = listener.accept().await?;
            world.spawn(Box::pin(serve(world.clone(), stream)));
        }
    })
}

/// Returns software that sends back what it receives.
fn echo() -> Software {
    on_each_connection(|_, mut stream| async move {
        let mut buffer = [0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    })
}

/// Returns software that only reads, one connection at a time, and the log of what it reads.
fn sink() -> (Software, SharedLog) {
    let log = SharedLog::default();
    let heard = log.clone();
    let software = software(move |world| {
        let heard = heard.clone();
        async move {
            let mut listener = world.listen().await?;
            loop {
                let mut stream = listener.accept().await?;
                loop {
                    let seen = see(&mut stream).await;
                    let is_last = !matches!(seen, Seen::Bytes(_));
                    note(&mut heard.lock().unwrap(), world.now(), seen);
                    if is_last {
                        break;
                    }
                }
            }
        }
    });
    (software, log)
}

/// Returns software that sends each of `lines` at its time, and never reads.
fn speaker<const LINES: usize>(lines: [(Duration, &'static str); LINES]) -> Software {
    on_each_connection(move |world, mut stream| async move {
        for (time, line) in lines {
            world.sleep_until(at(time)).await;
            stream.write_all(line.as_bytes()).await.unwrap();
        }
        pending().await
    })
}

/// Adds `seen` to the log, joined with what came at the same instant.
fn note(log: &mut Log, now: Instant, seen: Seen) {
    match (log.last_mut(), seen) {
        (Some((time, Seen::Bytes(before))), Seen::Bytes(more)) if *time == now => before.extend(more),
        (_, seen) => log.push((now, seen)),
    }
}

async fn see(stream: &mut (impl AsyncRead + Unpin)) -> Seen {
    let mut buffer = vec![0; 64 * 1024];
    match stream.read(&mut buffer).await {
        Ok(0) => Seen::End,
        Ok(read) => Seen::Bytes(buffer[..read].into()),
        Err(error) => Seen::Failure(error.kind()),
    }
}

/// A connection over a [`Link`], with a log of what it receives.
struct Conversation {
    world: SharedWorld,
    stream: ShapedStream,
    heard: Log,
}

impl Conversation {
    async fn open(hosts: &Hosts) -> Self {
        Self::over(&hosts.world, &hosts.links[0]).await
    }

    async fn over(world: &SharedWorld, link: &Arc<Link>) -> Self {
        Self { world: world.clone(), stream: link.connect().await.unwrap(), heard: Log::new() }
    }

    /// Reads until `time`, then sends `line`.
    async fn say(&mut self, time: Duration, line: &[u8]) {
        self.listen(time).await;
        self.stream.write_all(line).await.unwrap();
    }

    /// Reads until `time`, inclusive.
    async fn listen(&mut self, time: Duration) {
        let Self { world, stream, heard } = self;
        let listen = async {
            loop {
                let seen = see(stream).await;
                let is_last = !matches!(seen, Seen::Bytes(_));
                if heard.last().is_none_or(|(_, last)| !is_last || seen != *last) {
                    note(heard, world.now(), seen);
                }
                if is_last {
                    pending().await
                }
            }
        };
        let _: Result<(), _> = timeout_at(&**world, at(time), listen).await;
    }

    /// Reads until `time`, and returns all that was received.
    async fn until(mut self, time: Duration) -> Log {
        self.listen(time).await;
        self.heard
    }
}

impl Hosts {
    /// Applies `operation` to its target, at `time`.
    async fn apply(&self, time: Duration, operation: Operation) -> Effect {
        self.world.sleep_until(at(time)).await;
        self.operations.apply(operation).await.unwrap()
    }

    /// Shapes the only link, at `time`.
    async fn shape(&self, time: Duration, shape: Shape) {
        self.apply(time, Operation::Shape(0, Caller::Load, shape.into())).await;
    }

    async fn sleep(&self, time: Duration) {
        self.world.sleep_until(at(time)).await;
    }
}
