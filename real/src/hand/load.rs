//! `real load`: the resilient client under open-loop load, against servers that run already.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, LineWriter, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use clap::Args;
use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure},
    entropy::Entropy,
    measure::{RunLabel, RunRows, Summary},
    record::{Records, Row, Sink},
    scenario::{Expectation, Metric, Pictures, Scenario, Size, Workload, duration, limits},
    workload::{Inputs, Oracle},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{
    lines::Lines,
    log::say,
    registry::{Kind, Registry},
    target,
};
use crate::{
    caller::Caller,
    clock::{Clock, machine_ns},
    host::Host,
    interrupt::Interrupt,
    option,
    timer::Timer,
};

/// What is offered where neither options nor a scenario say otherwise: Phase 3's load.
const DEFAULTS: &str = "name = \"load\"\nduration = \"60s\"\n[load]\nrate = 10.0\n";

/// How long calls may take to be put to an end.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of a load.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Ids, ports or addresses, separated by commas [default: all servers that run]
    #[arg(long, value_delimiter = ',', value_name = "SERVERS")]
    servers: Vec<String>,

    /// For how long requests are sent [default: 60s]
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    duration: Option<Duration>,

    /// Requests per second, whether or not they are answered [default: 10]
    #[arg(long, value_parser = option::rate)]
    rate: Option<f64>,

    /// What is asked for: sobel, dfs or backend [default: sobel]
    #[arg(long, value_name = "KIND")]
    workload: Option<String>,

    /// Sizes of the images, drawn per request, separated by commas [default: 256x256]
    #[arg(long, value_delimiter = ',', value_parser = option::size)]
    sizes: Vec<Size>,

    /// Where to write a line of JSON for each request as it ends
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Decides everything that is drawn: arrivals, images, backoffs
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// A scenario whose [client], [load], [workload] and expectations hold; its faults are for you to inject
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,

    /// Overrides a setting of scenarios, such as client.attempt_timeout=2s; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// Shows no requests that went well at once
    #[arg(long)]
    quiet: bool,

    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Offers the load; done with the summary.
pub fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let scenario = args.scenario()?;
    let servers = args.servers()?;
    let entropy = Entropy::new(args.seed);
    let inputs = Inputs::for_workload(&scenario.workload, entropy).map_err(Failure::wrong_input)?;
    let watcher = Watcher::start(args)?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    let offered = runtime.block_on(offer(&scenario, entropy, inputs, &servers, watcher.feed()));
    // The connections are of no more use.
    runtime.shutdown_background();
    let duration = offered?;
    let (records, logged) = watcher.end()?;

    // They have names of their own; those that answered are in the rows.
    let run = RunRows::new(0, duration, &records);
    let label = RunLabel { scenario: &scenario.name, seed: args.seed, world: "real" };
    let summary = Summary::compute(label, &run, &scenario.expectations);
    let text = if args.json {
        serde_json::to_string_pretty(&summary).expect("plain data is always written") + "\n"
    } else {
        summary.render()
    };
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    if let (Err(error), Some(log)) = (logged, &args.log) {
        let log = log.display();
        return Err(Failure::run_failed(format!("cannot write all of the log: {log}: {error}")));
    }
    Ok(if summary.pass { Exit::Passed } else { Exit::Failed })
}

impl LoadArgs {
    /// What the options come to.
    fn scenario(&self) -> Result<Scenario, Failure> {
        let kind = self.workload.iter().map(|kind| format!("workload.kind={kind}"));
        let overrides: Vec<_> = kind.chain(self.overrides.iter().cloned()).collect();
        let read = match &self.scenario {
            Some(path) => Scenario::load(path, &overrides),
            None => Scenario::parse("the settings of load", DEFAULTS, &overrides),
        };
        let mut scenario = read.map_err(Failure::wrong_input)?;
        scenario.duration = self.duration.unwrap_or(scenario.duration);
        scenario.load.rate = self.rate.unwrap_or(scenario.load.rate);
        if !self.sizes.is_empty() {
            if !matches!(scenario.workload, Workload::Sobel(_)) {
                let kind = scenario.workload.name();
                return Err(Failure::wrong_input(format!("--sizes are of images, and the workload is `{kind}`")));
            }
            scenario.workload = Workload::Sobel(Pictures::Synthetic(self.sizes.clone()));
        }
        scenario.expectations.retain(holds_without_faults);
        Ok(scenario)
    }

    /// The servers by the names that they were given, in that order.
    fn servers(&self) -> Result<Vec<(String, SocketAddr)>, Failure> {
        let running = Registry::of_user()?.entries()?;
        let mut servers: Vec<(String, SocketAddr)> = Vec::new();
        for name in &self.servers {
            let address = target::resolve(&running, name)?;
            if let Some((other, _)) = servers.iter().find(|(_, known)| *known == address) {
                return Err(Failure::wrong_input(format!("`{other}` and `{name}` are the same server")));
            }
            servers.push((name.clone(), address));
        }
        if self.servers.is_empty() {
            let all = running.iter().filter(|entry| entry.kind == Kind::Server);
            servers.extend(all.map(|entry| (entry.id.clone(), entry.address)));
        }
        match servers.len() {
            0 => Err(Failure::wrong_input("no server runs; start some with `real up 2`, or name some with --servers")),
            count if limits::REPLICAS.contains(&count) => Ok(servers),
            count => Err(Failure::wrong_input(format!("{count} are too many; {} at most", limits::REPLICAS.end()))),
        }
    }
}

/// Whether it can be told without the faults, which are played by hand and not recorded.
fn holds_without_faults(expected: &Expectation) -> bool {
    expected.during.is_none() && !matches!(expected.metric, Metric::RecoveryTime | Metric::TimeToDetect)
}

/// For how long it was offered.
async fn offer(
    scenario: &Scenario,
    entropy: Entropy,
    inputs: Inputs,
    servers: &[(String, SocketAddr)],
    feed: Arc<Feed>,
) -> Result<Duration, Failure> {
    let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
    let (rate, time) = (scenario.load.rate, duration::text(scenario.duration));
    let named: Vec<_> = servers.iter().map(|(name, address)| format!("{name} ({address})")).collect();
    say(format!("{rate} requests/s for {time} to {}; Ctrl-C ends it with the summary", named.join(", ")));
    let oracle = Oracle::learned(&inputs);
    let addresses: BTreeMap<_, _> = servers.iter().cloned().collect();
    let names: Vec<_> = servers.iter().map(|(name, _)| name.clone()).collect();
    let timer = Timer::start().map_err(Failure::run_failed)?;
    let world = Host::new(Clock::since(machine_ns()), timer).knowing(addresses).shared();
    let caller = Caller::new(scenario.clone(), entropy, world.clone(), &names);
    let cancelled = Notify::new();
    let mut load = pin!(caller.offer(inputs, oracle, feed, cancelled.notified()));
    if let Either::Left(_) = select(load.as_mut(), pin!(interrupt.next())).await {
        return Ok(scenario.duration);
    }
    let offered = Duration::from_micros(world.now().as_micros()).min(scenario.duration);
    say(format!("interrupted after {:.1} s", offered.as_secs_f64()));
    cancelled.notify_one();
    match select(load, world.sleep_until(world.now() + CANCEL_TIMEOUT)).await {
        Either::Left(_) => Ok(offered),
        Either::Right(_) => Err(Failure::run_failed("the calls under way could not be put to an end")),
    }
}

/// Shows, logs and keeps rows, on a thread of its own: a terminal or disk that is stopped must not stop the load.
struct Watcher {
    feed: Arc<Feed>,
    thread: thread::JoinHandle<(Records, io::Result<()>)>,
}

/// The end of the watcher that rows go into. `None` is the last.
struct Feed(Sender<Option<Row>>);

impl Sink for Feed {
    fn take(&self, row: Row) {
        // After the last row nobody takes any.
        let _ = self.0.send(Some(row));
    }
}

impl Watcher {
    fn start(args: &LoadArgs) -> Result<Self, Failure> {
        let log = match &args.log {
            None => None,
            Some(path) => Some(File::create(path).map_err(|error| {
                Failure::wrong_input(format!("cannot write the log: {}: {error}; choose another --log", path.display()))
            })?),
        };
        let lines = Lines::new(args.quiet);
        let (sender, rows) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || watch(&rows, lines, log))
            .map_err(Failure::run_failed)?;
        Ok(Self { feed: Arc::new(Feed(sender)), thread })
    }

    fn feed(&self) -> Arc<Feed> {
        self.feed.clone()
    }

    /// All rows, and whether they could be logged.
    fn end(self) -> Result<(Records, io::Result<()>), Failure> {
        let _ = self.feed.0.send(None);
        self.thread.join().map_err(|_| Failure::run_failed("the thread that shows requests has ended"))
    }
}

fn watch(rows: &Receiver<Option<Row>>, mut lines: Lines, log: Option<File>) -> (Records, io::Result<()>) {
    let mut records = Records::default();
    let mut log = log.map(LineWriter::new);
    let mut logged = Ok(());
    while let Ok(Some(row)) = rows.recv() {
        if let Some(line) = lines.line(&row) {
            say(line);
        }
        if let (Row::Request(row), Some(file), Ok(())) = (&row, &mut log, &logged) {
            let line = serde_json::to_string(row).expect("plain data is always written");
            logged = file.write_all((line + "\n").as_bytes());
        }
        records.push(row);
    }
    records.sort();
    (records, logged)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kernel::scenario::GraphSize;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn scenario(words: &[&str]) -> Result<Scenario, Failure> {
        Line::parse_from([&["load"], words].concat()).load.scenario()
    }

    #[test]
    fn options_override_settings_and_settings_the_defaults() {
        let plain = scenario(&[]).unwrap();
        assert_eq!((plain.duration, plain.load.rate), (Duration::from_secs(60), 10.0));
        let set = scenario(&["--set", "load.rate=20", "--set", "client.retry.max_attempts=1"]).unwrap();
        assert_eq!((set.load.rate, set.client.retry.max_attempts), (20.0, 1));
        let both = scenario(&["--set", "load.rate=20", "--rate", "5", "--duration", "1m", "--sizes", "8x8,16x16"]);
        let both = both.unwrap();
        assert_eq!((both.load.rate, both.duration), (5.0, Duration::from_secs(60)));
        let sizes = [8, 16].map(|side| Size { width: side, height: side });
        assert_eq!(both.workload, Workload::Sobel(Pictures::Synthetic(sizes.to_vec())));
        let dfs = scenario(&["--workload", "dfs", "--set", "workload.nodes=50"]).unwrap();
        assert_eq!(dfs.workload, Workload::Dfs(GraphSize { nodes: 50, edges: 60_000 }));
        let sizes = scenario(&["--workload", "dfs", "--sizes", "8x8"]);
        assert!(sizes.is_err_and(|f| f.message == "--sizes are of images, and the workload is `dfs`"));
        assert!(scenario(&["--workload", "dsf"]).is_err_and(|f| f.message.contains("`dsf` is not a workload kind")));
        assert!(scenario(&["--set", "client.retry.max_attemps=1"]).is_err_and(|f| f.message.contains("max_attempts")));
    }

    #[test]
    fn expectations_about_faults_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("s.toml");
        let text = "name = \"s\"\nduration = \"9s\"\n[load]\nrate = 1\n[[expect]]\nmetric = \"success_rate\"\nmin = 0.9\n\
                    [[expect]]\nmetric = \"recovery_time\"\nmax = \"5s\"\n[[fault]]\nat = \"1s\"\nkind = \"reset\"\n\
                    target = \"*\"\n[[expect]]\nmetric = \"latency_p95\"\nduring = \"fault-0\"\nmax = \"5s\"\n";
        std::fs::write(&file, text).unwrap();
        let scenario = scenario(&["--scenario", file.to_str().unwrap()]).unwrap();
        let metrics: Vec<_> = scenario.expectations.iter().map(|expected| expected.metric).collect();
        assert_eq!(metrics, [Metric::SuccessRate]);
    }
}
