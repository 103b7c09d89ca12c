//! `real up`: servers in the background.

use std::{
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt,
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
    registry::{Entry, Registry},
    serve::ServeArgs,
};
use crate::{
    clock::Clock,
    host::Host,
    option::{BackendArgs, Capacity},
    process::{PROGRAM, last_words},
    timer::Timer,
};

/// How long a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks at one that is starting.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long one look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Options of servers in the background.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// How many there are to be: server-0, server-1, …; those that run already are left as they are
    #[arg(value_parser = count)]
    servers: usize,

    /// Where the first listens, and the others behind it; 0 is any free ports
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

/// Starts what is missing; done when all of them serve. If one does not, none that it started is left.
pub fn run(args: &UpArgs) -> Result<Exit, Failure> {
    args.backend.settings().map_err(Failure::wrong_input)?;
    let registry = Registry::of_user()?;
    let running = registry.entries()?;
    let mut wanted = Vec::new();
    for index in 0..args.servers {
        let (id, port) = (server_name(index), port(args.start_port, index)?);
        match running.iter().find(|entry| entry.id == id) {
            None => wanted.push((id, port)),
            Some(entry) if port == 0 || entry.address.port() == port => announce(entry),
            Some(entry) => {
                let remedy = format!("end it with `real down {id}`, or start from its port");
                return Err(Failure::run_failed(format!("{}; {remedy}", entry.is())));
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
        started.iter_mut().for_each(|server| server.stays = true);
        Ok::<_, Failure>(())
    })?;
    let log = registry.log("ID");
    eprintln!("logs are in {}; nothing restarts a server that crashes; `real down` ends them", log.display());
    Ok(Exit::Passed)
}

fn port(start: u16, index: usize) -> Result<u16, Failure> {
    let port = u16::try_from(index).ok().and_then(|index| start.checked_add(index));
    let beyond = || Failure::wrong_input(format!("ports from {start} on go beyond {}; choose a lower one", u16::MAX));
    if start == 0 { Ok(0) } else { port.ok_or_else(beyond) }
}

/// A server that has been started. Dropped, it is killed, unless it stays.
struct Started {
    id: String,
    child: Child,
    stays: bool,
}

impl Started {
    fn spawn(registry: &Registry, id: &str, port: u16, args: &UpArgs) -> Result<Self, Failure> {
        let spawn = || -> io::Result<Child> {
            let log = OpenOptions::new().create(true).append(true).open(registry.log(id))?;
            Command::new(PROGRAM)
                .arg0("real")
                .args(ServeArgs::words(port, id, &args.capacity, &args.backend))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                // It keeps no folder from being removed.
                .current_dir("/")
                .spawn()
        };
        let child = spawn().map_err(|error| Failure::run_failed(format!("{id} could not be started: {error}")))?;
        Ok(Self { id: id.to_owned(), child, stays: false })
    }

    /// Its entry, once it answers a health check.
    async fn serves(&mut self, registry: &Registry, timer: &Timer) -> Result<Entry, Failure> {
        let world = Host::new(Clock::MACHINE, timer.clone());
        let give_up = world.now() + START_TIMEOUT;
        loop {
            let ended = self.child.try_wait().map_err(Failure::run_failed)?;
            if let Some(status) = ended {
                return Err(self.failed(registry, &format!("ended with {status}")));
            }
            let entries = registry.entries()?;
            // By its process: another may have been given the name meanwhile.
            if let Some(entry) = entries.into_iter().find(|entry| entry.process.pid == self.child.id()) {
                let addresses = [(entry.id.clone(), entry.address)].into();
                let asker = Host::new(Clock::MACHINE, timer.clone()).knowing(addresses).shared();
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
        let said: Vec<_> = last_words(&registry.log(&self.id)).iter().map(|line| format!("\n  | {line}")).collect();
        Failure::run_failed(format!("{} {what}; the end of its log:{}", self.id, said.concat()))
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
