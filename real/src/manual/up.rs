//! `real up`: starts servers in the background.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, without_variables},
    client,
    scenario::{limits, server_name},
    time::Instant,
    visible::Visible,
    world::World,
};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};
use tokio::runtime::Runtime;

use super::{
    announce,
    registry::{Registry, RegistryEntry},
    serve::ServeArgs,
};
use crate::{
    app,
    clock::Clock,
    export::{Endpoint, MetricsArgs},
    host::Host,
    option::{BackendArgs, Capacity},
    process::{PROGRAM, log_tail},
    timer::Timer,
    tls::TlsServerArgs,
    token,
};

/// Time that a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two checks of a server that is starting.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Time that one check may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after the end of a process in which another one of the same id can turn up.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Options of `real up`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// The number of servers: server-0, server-1, and so on. Those that already run are kept.
    #[arg(value_parser = count)]
    servers: usize,

    /// The port of the first server; the others listen on the ports after it. 0 chooses free ports.
    #[arg(long, default_value_t = 50_051, value_name = "PORT")]
    start_port: u16,

    #[command(flatten)]
    capacity: Capacity,

    #[command(flatten)]
    backend: BackendArgs,

    #[command(flatten)]
    tls: TlsServerArgs,

    #[command(flatten)]
    metrics: MetricsArgs,
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| limits::REPLICAS.contains(count));
    count.ok_or_else(|| format!("a number from {} to {} is wanted", limits::REPLICAS.start(), limits::REPLICAS.end()))
}

/// Starts the servers that do not run yet, and waits until all of them serve. If one fails, it ends all that it started.
pub fn run(args: &UpArgs) -> Result<Exit, Failure> {
    app::has_one_service()?;
    args.backend.settings().map_err(Failure::wrong_input)?;
    args.metrics.check()?;
    args.tls.tls()?;
    let registry = Registry::for_user()?;
    let running = registry.entries()?;
    let mut wanted = Vec::new();
    for index in 0..args.servers {
        let id = server_name(index);
        let metrics =
            args.metrics.address().map(|first| Ok::<_, Failure>((first.ip(), port(first.port(), index)?).into()));
        let metrics = metrics.transpose()?;
        let port = port(args.start_port, index)?;
        match running.iter().find(|entry| entry.id == id) {
            None => wanted.push(Wanted { id, port, metrics }),
            Some(entry) if listens_at(entry, port) => announce(entry),
            Some(entry) => return Err(elsewhere(entry)),
        }
    }
    if wanted.is_empty() {
        return Ok(Exit::Passed);
    }
    // Before a server is started: each of them would fail apart, with its log as the message.
    for metrics in wanted.iter().filter_map(|wanted| wanted.metrics) {
        Endpoint::listen(metrics)?;
    }
    Runtime::new().map_err(Failure::run_failed)?.block_on(async {
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let mut started: Vec<Started> = Vec::new();
        for wanted in &wanted {
            started.push(Started::spawn(&registry, wanted, args)?);
        }
        for server in &mut started {
            announce(&server.serves(&registry, &timer).await?);
        }
        // Only now that all serve: an error above drops `started`, which ends the servers.
        started.iter_mut().for_each(|server| server.stays = true);
        Ok::<_, Failure>(())
    })?;
    let log = registry.log("ID");
    eprintln!("logs are in {}; nothing restarts a server that crashes; `real down` ends them", log.visible());
    Ok(Exit::Passed)
}

/// A server to start.
struct Wanted {
    id: String,
    port: u16,
    /// The address of its metrics, if they are exported.
    metrics: Option<SocketAddr>,
}

/// Returns true if `entry` listens at `port`, or if any port is wanted, which is 0.
fn listens_at(entry: &RegistryEntry, port: u16) -> bool {
    port == 0 || entry.address.port() == port
}

/// The failure about a server that runs at another port than the one that is wanted.
fn elsewhere(entry: &RegistryEntry) -> Failure {
    let remedy = format!("end it with `real down {}`, or start from its port", entry.id);
    Failure::run_failed(format!("{}; {remedy}", entry.running()))
}

/// The port of the server at `index`; 0, which is any free port, if the first one is 0.
fn port(start: u16, index: usize) -> Result<u16, Failure> {
    if start == 0 {
        return Ok(0);
    }
    let port = u16::try_from(index).ok().and_then(|index| start.checked_add(index));
    port.ok_or_else(|| {
        Failure::wrong_input(format!("ports from {start} on go beyond {}; choose a lower one", u16::MAX))
    })
}

/// A server that has been started. It is killed when this is dropped, unless it stays.
struct Started {
    id: String,
    port: u16,
    /// It is asked for its health. A server with TLS is not: it trusts clients that this process may not know. It counts as serving when it
    /// listens.
    asks: bool,
    child: Child,
    stays: bool,
    /// How and when the process was found to have ended.
    ended: Option<(ExitStatus, Instant)>,
}

impl Started {
    fn spawn(registry: &Registry, wanted: &Wanted, args: &UpArgs) -> Result<Self, Failure> {
        let Wanted { id, port, metrics } = wanted;
        let more = [args.metrics.words(*metrics), args.tls.words()].concat();
        let words = ServeArgs::words(*port, id, &args.capacity, &args.backend, more);
        let child = spawn(&words, &registry.log(id))
            .map_err(|error| Failure::run_failed(format!("{id} could not be started: {error}")))?;
        let asks = !args.tls.is_on();
        Ok(Self { id: id.to_owned(), port: *port, asks, child, stays: false, ended: None })
    }

    /// Waits until the server answers a health check, and returns its entry. It is that of another process if another `real up`
    /// has started the same server meanwhile, and was faster: the process of this one has then ended.
    async fn serves(&mut self, registry: &Registry, timer: &Timer) -> Result<RegistryEntry, Failure> {
        let world = Host::new(Clock::MACHINE, timer.clone());
        let give_up = world.now() + START_TIMEOUT;
        loop {
            let entries = registry.entries()?;
            self.look(&world, &entries, registry)?;
            if let Some(entry) = entries.into_iter().find(|entry| self.is_or_replaces(entry)) {
                if !listens_at(&entry, self.port) {
                    return Err(elsewhere(&entry));
                }
                let addresses = [(entry.id.clone(), entry.address)].into();
                let asker = Host::new(Clock::MACHINE, timer.clone()).with_servers(addresses).shared();
                if !self.asks || client::probe(&asker, &entry.id, asker.now() + PROBE_TIMEOUT).await.is_ok() {
                    return Ok(entry);
                }
            }
            if world.now() > give_up {
                let what = format!("does not serve after {} s", START_TIMEOUT.as_secs());
                return Err(self.failed(registry, &what));
            }
            world.sleep_until(world.now() + LOOK_INTERVAL).await;
        }
    }

    /// Returns true if `entry` is of the process, or of another one that has taken its id and made it end.
    fn is_or_replaces(&self, entry: &RegistryEntry) -> bool {
        entry.process.pid == self.child.id() || self.ended.is_some() && entry.id == self.id
    }

    /// Looks whether the process has ended. Fails if it has and no other process has taken its place.
    fn look(&mut self, world: &Host, entries: &[RegistryEntry], registry: &Registry) -> Result<(), Failure> {
        if self.ended.is_none() {
            let status = self.child.try_wait().map_err(Failure::run_failed)?;
            self.ended = status.map(|status| (status, world.now()));
        }
        let Some((status, at)) = self.ended else { return Ok(()) };
        let by_port = entries.iter().find(|entry| self.port != 0 && entry.address.port() == self.port);
        let replaced = entries.iter().any(|entry| entry.id == self.id);
        // A server has its port a moment before it is listed, so that one that has taken the port may not be listed yet.
        let in_vain = by_port.is_some() || world.now() > at + TAKEN_TIMEOUT;
        if replaced || !in_vain { Ok(()) } else { Err(self.failed(registry, &format!("ended with {status}"))) }
    }

    fn failed(&self, registry: &Registry, what: &str) -> Failure {
        let said: Vec<_> = log_tail(&registry.log(&self.id)).iter().map(|line| format!("\n  | {line}")).collect();
        Failure::run_failed(format!("{} {what}; the end of its log:{}", self.id, said.concat()))
    }
}

fn spawn(words: &[String], log: &Path) -> io::Result<Child> {
    let log = open_log(log)?;
    let mut command = Command::new(PROGRAM);
    without_variables(&mut command);
    // The process runs in another folder, and a relative path of a file would lead nowhere.
    if let Some(token) = token::of_process() {
        command.env_remove(token::FILE_VARIABLE).env(token::VARIABLE, token.reveal());
    }
    command
        .arg0("real")
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A process in the background must not keep a file system from being unmounted.
        .current_dir("/")
        .spawn()
}

/// Opens a log to append to it. A FIFO or a device in its place is an error, as opening or reading it could last for ever.
fn open_log(log: &Path) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match open(log, flags, Mode::RUSR | Mode::WUSR).map(File::from) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        // That is how a FIFO without a reader, a link and a directory fail.
        Ok(_) | Err(Errno::NXIO | Errno::LOOP | Errno::ISDIR) => {
            Err(io::Error::other(format!("{} is no file; remove it", log.visible())))
        }
        Err(error) => Err(io::Error::other(format!("{}: {error}", log.visible()))),
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.stays {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
