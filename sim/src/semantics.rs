//! What TCP and signals mean in the simulated world, pinned.
//!
//! Each test runs software of its own on simulated hosts: mostly raw byte streams, here and there the whole server and
//! client. The host's times are constants, so every time in here is exact and compared for equality. One topic a file.

mod backlog;
mod bandwidth;
mod calls;
mod close;
mod connection_backoff;
mod crash;
mod delay;
mod freeze;
mod loss;
mod nemesis;
mod partition;
mod policies;
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
    nemesis::{Effect, Operation},
    record::{Event, EventRow, Records},
    scenario::Scenario,
    time::Instant,
    world::{BoxStream, SharedWorld, timeout_at},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::{
    Plan,
    calibration::Calibration,
    replica::Software,
    run,
    simulation::{Hosts, Simulation},
    thread::on_own_thread,
};

/// What a byte takes, each way.
const LINK: Duration = us(50);

/// What a new process takes until it listens.
const EXEC_TO_LISTEN: Duration = ms(10);

/// What an image of 64x64 takes.
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

/// What one end of a connection saw, and when.
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

/// All bytes of a log, whenever they came.
fn received(log: &Log) -> Vec<u8> {
    log.iter()
        .filter_map(|(_, seen)| if let Seen::Bytes(bytes) = seen { Some(&bytes[..]) } else { None })
        .collect::<Vec<_>>()
        .concat()
}

/// What `client` returns, played against `server-0` running `software`.
fn simulate<T, F>(software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    simulate_seeded(1, software, client).0
}

/// The same with a seed, and with the records that are left.
fn simulate_seeded<T, F>(seed: u64, software: &Software, client: impl FnOnce(Hosts) -> F + Send) -> (T, Records)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let outcome = Arc::new(Mutex::new(None));
    let told = outcome.clone();
    let client = |hosts| {
        let client = client(hosts);
        async move {
            *told.lock().unwrap() = Some(client.await);
            Ok(())
        }
    };
    let run = || Simulation::new(1, seed, &calibration(), software, client).run(&Default::default());
    let played = on_own_thread(seed, run).unwrap();
    let outcome = outcome.lock().unwrap().take().unwrap();
    (outcome, played.records)
}

fn calibration() -> Calibration {
    Calibration::parse("calibration.toml", CALIBRATION).unwrap()
}

/// What is recorded of a scenario, of requests for images of 64x64.
fn records_of(scenario: &str) -> Records {
    records_of_images(scenario, "64x64")
}

fn records_of_images(scenario: &str, size: &str) -> Records {
    records_on(calibration(), scenario, size)
}

/// The same on a host with other times.
fn records_on(calibration: Calibration, scenario: &str, size: &str) -> Records {
    let scenario = format!("name = 'semantics'\nworkload.sizes = ['{size}']\n{scenario}");
    let scenario = Scenario::parse("semantics.toml", &scenario, &[]).unwrap();
    run(&Plan { scenario, seed: 1, calibration }, &Default::default()).unwrap().records
}

fn events(records: &Records, event: Event) -> impl Iterator<Item = &EventRow> {
    records.events.iter().filter(move |row| row.event == event)
}

fn software<F>(serve: impl Fn(SharedWorld) -> F + Send + Sync + 'static) -> Software
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Arc::new(move |world, _, _, _| Box::pin(serve(world)))
}

/// Runs `serve` for each connection, at once.
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

/// Sends everything back.
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

/// Only listens, to one connection at a time.
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

/// Says each of `lines` at its time, and never reads.
fn speaker<const LINES: usize>(lines: [(Duration, &'static str); LINES]) -> Software {
    on_each_connection(move |world, mut stream| async move {
        for (time, line) in lines {
            world.sleep_until(at(time)).await;
            stream.write_all(line.as_bytes()).await.unwrap();
        }
        pending().await
    })
}

/// Notes `seen`, as one with what came at the same instant.
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

/// A [`Link`]'s connection that notes what comes out of it.
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

    /// Listens until `time`, then says `line`.
    async fn say(&mut self, time: Duration, line: &[u8]) {
        self.listen(time).await;
        self.stream.write_all(line).await.unwrap();
    }

    /// Listens until `time`, inclusive.
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

    /// All that was heard until `time`.
    async fn until(mut self, time: Duration) -> Log {
        self.listen(time).await;
        self.heard
    }
}

impl Hosts {
    /// Does `operation` to what it befalls, at `time`.
    async fn apply(&self, time: Duration, operation: Operation) -> Effect {
        self.world.sleep_until(at(time)).await;
        self.operations.apply(operation).await.unwrap()
    }

    /// Shapes the only link, at `time`.
    async fn shape(&self, time: Duration, shape: Shape) {
        self.apply(time, Operation::Shape(0, shape)).await;
    }

    async fn sleep(&self, time: Duration) {
        self.world.sleep_until(at(time)).await;
    }
}
