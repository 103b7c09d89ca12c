//! `real up`: starts servers in the background.

use std::{
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure},
    client,
    scenario::{limits, server_name},
    world::World,
};
use tokio::runtime::Runtime;

use super::{
    announce,
    registry::{Registry, RegistryEntry},
    serve::ServeArgs,
};
use crate::{
    clock::Clock,
    host::Host,
    option::{BackendArgs, Capacity},
    process::{PROGRAM, log_tail},
    timer::Timer,
};

/// Time that a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two checks of a server that is starting.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Time that one check may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

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
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| limits::REPLICAS.contains(count));
    count.ok_or_else(|| format!("a number from {} to {} is wanted", limits::REPLICAS.start(), limits::REPLICAS.end()))
}

/// Starts the servers that do not run yet, and waits until all of them serve. If one fails, it ends all that it started.
pub fn run(args: &UpArgs) -> Result<Exit, Failure> {
    args.backend.settings().map_err(Failure::wrong_input)?;
    let registry = Registry::for_user()?;
    let running = registry.entries()?;
    let mut wanted = Vec::new();
    for index in 0..args.servers {
        let id = server_name(index);
        let port = port(args.start_port, index)?;
        match running.iter().find(|entry| entry.id == id) {
            None => wanted.push((id, port)),
            Some(entry) if port == 0 || entry.address.port() == port => announce(entry),
            Some(entry) => {
                let remedy = format!("end it with `real down {id}`, or start from its port");
                return Err(Failure::run_failed(format!("{}; {remedy}", entry.running())));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(Exit::Passed);
    }
    Runtime::new().map_err(Failure::run_failed)?.block_on(async {
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let mut started: Vec<Started> = Vec::new();
        for (id, port) in &wanted {
            started.push(Started::spawn(&registry, id, *port, args)?);
        }
        for server in &mut started {
            announce(&server.serves(&registry, &timer).await?);
        }
        // Only now that all serve: an error above drops `started`, which ends the servers.
        started.iter_mut().for_each(|server| server.stays = true);
        Ok::<_, Failure>(())
    })?;
    let log = registry.log("ID");
    eprintln!("logs are in {}; nothing restarts a server that crashes; `real down` ends them", log.display());
    Ok(Exit::Passed)
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
    child: Child,
    stays: bool,
}

impl Started {
    fn spawn(registry: &Registry, id: &str, port: u16, args: &UpArgs) -> Result<Self, Failure> {
        let words = ServeArgs::words(port, id, &args.capacity, &args.backend);
        let child = spawn(&words, &registry.log(id))
            .map_err(|error| Failure::run_failed(format!("{id} could not be started: {error}")))?;
        Ok(Self { id: id.to_owned(), child, stays: false })
    }

    /// Waits until the server answers a health check, and returns its entry.
    async fn serves(&mut self, registry: &Registry, timer: &Timer) -> Result<RegistryEntry, Failure> {
        let world = Host::new(Clock::MACHINE, timer.clone());
        let give_up = world.now() + START_TIMEOUT;
        loop {
            let ended = self.child.try_wait().map_err(Failure::run_failed)?;
            if let Some(status) = ended {
                return Err(self.failed(registry, &format!("ended with {status}")));
            }
            let entries = registry.entries()?;
            // By process and not by id: another server may have taken the id meanwhile.
            if let Some(entry) = entries.into_iter().find(|entry| entry.process.pid == self.child.id()) {
                let addresses = [(entry.id.clone(), entry.address)].into();
                let asker = Host::new(Clock::MACHINE, timer.clone()).with_servers(addresses).shared();
                if client::probe(&asker, &entry.id, asker.now() + PROBE_TIMEOUT).await.is_ok() {
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

    fn failed(&self, registry: &Registry, what: &str) -> Failure {
        let said: Vec<_> = log_tail(&registry.log(&self.id)).iter().map(|line| format!("\n  | {line}")).collect();
        Failure::run_failed(format!("{} {what}; the end of its log:{}", self.id, said.concat()))
    }
}

fn spawn(words: &[String], log: &Path) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(PROGRAM)
        .arg0("real")
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A process in the background must not keep a file system from being unmounted.
        .current_dir("/")
        .spawn()
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.stays {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
