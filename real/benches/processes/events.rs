//! What event streams cost: the processor time of a call's rows on their way to a broker, at the pace of a load and as fast as they
//! can be made, and how many rows a second a broker takes.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a broker is not of the World")]

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kernel::{record::Row, run_folder::WaitingLines};
use real::events::{Stream, Target};
use tokio::runtime::Runtime;

use crate::{
    calls::{Round, pictures, processing, serving},
    metrics::rows,
    server::Server,
    turns::{order, processor_time},
};

/// Size of the picture, callers, and calls of a round: the calls that take the least processor time.
const LOAD: (&str, usize, usize) = ("16x16", 64, 2_560);

/// Rounds of calls.
const ROUNDS: usize = 40;

/// Calls a second of a load at a pace, and its duration in seconds.
const PACES: [(u64, u64); 3] = [(1_000, 8), (5_000, 4), (15_000, 2)];

/// Times that each pace is kept, with and without a stream.
const TURNS: usize = 2;

/// Calls of which rows are sent as fast as they can be made: less than the bytes that may wait.
const CALLS: u64 = 60_000;

/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_millis(1);

/// A broker that keeps messages in memory. Dropped, it is killed.
struct Broker {
    process: Child,
    target: Target,
}

impl Broker {
    /// Starts the broker that `.ci/peers` installs, with a topic of four partitions; `None` without it.
    fn start() -> Option<Self> {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers/tansu");
        if !program.exists() {
            return None;
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address: SocketAddr = free.expect("there is a free port");
        let url = format!("tcp://{address}");
        let process = Command::new(&program)
            .args(["broker", "--listener-url", &url, "--advertised-listener-url", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let target = format!("kafka://{address}/bench").parse().expect("it is a URL");
        let broker = Self { process, target };
        while TcpStream::connect(address).is_err() {
            thread::sleep(LOOK);
        }
        let created = Command::new(&program)
            .args(["topic", "create", "bench", "--partitions", "4", "--broker", &url])
            .stdout(Stdio::null())
            .status();
        assert!(created.is_ok_and(|status| status.success()), "the topic is created");
        Some(broker)
    }

    fn stream(&self) -> Stream {
        Stream::start(&self.target, "bench", "real").expect("there are threads")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints what a call's rows cost on their way to a broker, and how fast a broker takes them.
pub(crate) fn cost() {
    let Some(broker) = Broker::start() else {
        println!("events: left out, as there is no broker; `.ci/peers` installs one\n");
        return;
    };
    let call = call_us();
    println!("events, with the broker on the same machine     processor time of a call");
    println!("  bare client and server, 16x16, 64 in flight   {call:.1} µs");
    for (rate, seconds) in PACES {
        let call = paced_call_us(rate, seconds / 2);
        let mut sums = [0.0; 2];
        for turn in 0..TURNS {
            for side in order(2, turn) {
                sums[side] += paced(rate, seconds, (side == 1).then(|| broker.stream()));
            }
        }
        let [without, with] = sums.map(|sum| sum / TURNS as f64);
        let added = with - without;
        println!("  call at {rate} calls/s                        {call:.1} µs");
        println!("  added to it by its 4 rows                     {added:+.2} µs {:+.1} %", added / call * 100.0);
    }
    let (added, rate) = at_once(&broker);
    println!("  added as fast as rows are made                {added:+.2} µs {:+.1} %", added / call * 100.0);
    println!("  rows to the broker                            {rate:.0}/s\n");
}

/// Returns the processor time of a bare client and a server for a call, in microseconds.
fn call_us() -> f64 {
    let (size, callers, calls) = LOAD;
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (server, world, stub) = serving(Server::replica()).await;
        let pictures = pictures(size);
        let before = server.processor_seconds();
        let own = processor_time();
        for _ in 0..ROUNDS {
            let _: Round = processing(&world, callers, calls, &stub, &pictures).await;
        }
        let own = (processor_time() - own).as_secs_f64();
        (own + server.processor_seconds() - before) * 1e6 / (ROUNDS * calls) as f64
    })
}

/// Returns the same for calls at a pace, where processors and connections are idle between them.
fn paced_call_us(rate: u64, seconds: u64) -> f64 {
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (server, world, stub) = serving(Server::replica()).await;
        let pictures = pictures(LOAD.0);
        let before = server.processor_seconds();
        let (started, own) = (Instant::now(), processor_time());
        let mut made = 0;
        while made < rate * seconds {
            let due = ((started.elapsed().as_secs_f64() * rate as f64) as u64).min(rate * seconds);
            let calls = (due - made) as usize;
            if calls > 0 {
                let _: Round = processing(&world, calls, calls, &stub, &pictures).await;
            }
            made = due;
            tokio::time::sleep(LOOK).await;
        }
        let own = (processor_time() - own).as_secs_f64();
        (own + server.processor_seconds() - before) * 1e6 / made as f64
    })
}

/// Records the rows of calls at a pace, and sends them if there is a stream. Returns the processor time of a call in microseconds.
fn paced(rate: u64, seconds: u64, stream: Option<Stream>) -> f64 {
    let waiting = stream.as_ref().map(Stream::waiting);
    let mut lines = WaitingLines::default();
    let (started, processor) = (Instant::now(), processor_time());
    let mut made = 0;
    while made < rate * seconds {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        for id in made..due.min(rate * seconds) {
            for row in rows(id) {
                record(&mut lines, &row, waiting.as_deref());
            }
        }
        made = due;
        lines = WaitingLines::default();
        thread::sleep(LOOK);
    }
    if let Some(stream) = stream {
        let info = stream.end();
        assert_eq!((info.dropped, info.undelivered), (0, 0), "all is delivered");
    }
    (processor_time() - processor).as_secs_f64() * 1e6 / (rate * seconds) as f64
}

/// Records the rows of calls as fast as they can be made. Returns the processor time that sending adds to a call in microseconds, and the
/// rows a second from the first to the acknowledgement of the last.
fn at_once(broker: &Broker) -> (f64, f64) {
    let mut times = [0.0; 2];
    let mut rate = 0.0;
    for side in [0, 1] {
        let stream = (side == 1).then(|| broker.stream());
        let waiting = stream.as_ref().map(Stream::waiting);
        let (started, processor) = (Instant::now(), processor_time());
        let mut lines = WaitingLines::default();
        for id in 0..CALLS {
            for row in rows(id) {
                record(&mut lines, &row, waiting.as_deref());
            }
            if id % 100 == 0 {
                lines = WaitingLines::default();
            }
        }
        if let Some(stream) = stream {
            let info = stream.end();
            assert_eq!((info.dropped, info.undelivered), (0, 0), "all is delivered");
            rate = info.delivered as f64 / started.elapsed().as_secs_f64();
        }
        times[side] = (processor_time() - processor).as_secs_f64() * 1e6 / CALLS as f64;
    }
    (times[1] - times[0], rate)
}

/// Does what a run does with a row.
fn record(lines: &mut WaitingLines, row: &Row, waiting: Option<&real::events::Waiting>) {
    let line = lines.push(row);
    if let Some(waiting) = waiting {
        waiting.push(row, line);
    }
}
