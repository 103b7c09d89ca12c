//! The orchestrator's view of a replica: a reserved port, and one process after another.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    time::Duration,
};

use kernel::{
    client,
    entropy::branch::Branch,
    link::{LinkShape, Selection},
    nemesis::Effect,
    scenario::Scenario,
    server::{Injection, Tuning},
    sync::lock,
    world::SharedWorld,
};
use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, ChildStdout},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use tracing::debug;

use crate::{
    message::{Calling, ReplicaCommand, line},
    process::{Process, ProcessFailed},
    role::replica::{ROLE, ReplicaArgs},
    tcp::ReservedPort,
    timer::Timer,
    tls::ProcessTls,
};

/// Time that a process which is not frozen may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two health checks of a process that is starting.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// Time that one health check may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A replica, over all its processes.
pub(crate) struct Replica {
    name: String,
    port: ReservedPort,
    words: Vec<String>,
    /// The certificates that each process gets first, if connections are encrypted.
    tls: Option<ProcessTls>,
    state: Mutex<ReplicaState>,
    /// Receiver of the output of each new process.
    reports: UnboundedSender<NewProcess>,
}

/// A new process of a replica, with its output.
pub(crate) struct NewProcess {
    /// Name of the replica.
    pub(crate) name: String,
    /// Process id.
    pub(crate) pid: Option<u32>,
    /// Standard output of the process.
    pub(crate) reports: ChildStdout,
    /// Set when the end of the process is expected.
    pub(crate) ending: Arc<AtomicBool>,
}

#[derive(Default)]
struct ReplicaState {
    process: Option<Process>,
    /// Commands on their way to standard input of the process. A frozen process reads none, and its pipe fills up: a
    /// nemesis that waited for it could not resume it any more.
    commands: Option<UnboundedSender<String>>,
    frozen: bool,
    /// Number of processes started so far.
    started: u64,
    /// The settings since they have changed, which each new process gets.
    tuning: Option<Tuning>,
    /// The settings that each process needs to call other services, if it does.
    calling: Option<Calling>,
    /// The last branch that the run has come to, which each new process gets.
    branch: Option<Branch>,
}

/// The measurements of a replica's processes beside their rows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Measures {
    /// How long the services of an app compute, for a calibration.
    pub(crate) computing: bool,
    /// Their calls, for metrics.
    pub(crate) calls: bool,
}

impl Replica {
    /// A replica without a process, at a reserved port. `reports` receives the output of its processes.
    pub(crate) fn new(
        index: usize,
        port: ReservedPort,
        (scenario, seed): (&Scenario, u64),
        (measures, tls): (Measures, Option<ProcessTls>),
        reports: UnboundedSender<NewProcess>,
    ) -> Self {
        let name = scenario.names().name(index);
        let args = ReplicaArgs::new(&name, port.address().port(), scenario, seed).measuring(measures);
        let words = [ROLE.to_owned()].into_iter().chain(args.to_words()).collect();
        Self { name, port, words, tls, state: Mutex::default(), reports }
    }

    /// Notes which servers there are, if the replica, which is that at `index`, calls some of them.
    pub(crate) fn knows(&self, scenario: &Scenario, index: usize, servers: &BTreeMap<String, SocketAddr>) {
        let Some(service) = scenario.service_of(index).filter(|service| scenario.edges_from(*service).next().is_some())
        else {
            return;
        };
        let scenario = scenario.to_toml();
        let servers = servers.clone();
        let shapes = BTreeMap::new();
        self.state().calling = Some(Calling { scenario, service, servers, shapes });
    }

    /// Name of the replica, such as `server-0`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Address at which its processes listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Starts a process unless there is one, and waits until it answers a health check or is killed by a fault.
    pub(crate) async fn start(&self, world: &SharedWorld, logs: &Path) -> Result<Effect, ProcessFailed> {
        let number = self.spawn(world, logs)?;
        let mut give_up = world.now() + START_TIMEOUT;
        loop {
            let probe = client::probe(world, &self.name, world.now() + PROBE_TIMEOUT).await;
            {
                let mut state = self.state();
                let frozen = state.frozen;
                let same = state.started == number;
                // A fault can kill this process, and another one can start another, while the health check is under way.
                let Some(process) = state.process.as_mut().filter(|_| same) else {
                    return Ok(Effect::ServerIsDown);
                };
                let Err(failure) = probe else { return Ok(Effect::Applied) };
                if let Some(failed) = process.ended() {
                    return Err(failed);
                }
                if frozen {
                    // A frozen process cannot serve, which is no failure.
                    give_up = world.now() + START_TIMEOUT;
                } else if world.now() > give_up {
                    let what = format!("does not serve after {} s: {}", START_TIMEOUT.as_secs(), failure.cause);
                    return Err(process.failed(what));
                }
            }
            world.sleep_until(world.now() + PROBE_INTERVAL).await;
        }
    }

    /// Starts a process unless there is one. Returns the number of the current process.
    fn spawn(&self, world: &SharedWorld, logs: &Path) -> Result<u64, ProcessFailed> {
        let mut state = self.state();
        if state.process.is_none() {
            let (process, streams) = Process::start(&self.name, &self.words, logs)?;
            // The receiver lives until all replicas have been stopped.
            let _ = self.reports.send(NewProcess {
                name: self.name.clone(),
                pid: process.id(),
                reports: streams.reports,
                ending: process.ending(),
            });
            let (commands, orders) = mpsc::unbounded_channel();
            world.spawn(Box::pin(pass_on(orders, streams.commands)));
            if let Some(tls) = &self.tls {
                let _ = commands.send(line(&ReplicaCommand::Secure(tls.clone())) + "\n");
            }
            let started = state.started + 1;
            let calling = state.calling.take();
            if let Some(calling) = &calling {
                let _ = commands.send(line(&ReplicaCommand::Call(Box::new(calling.clone()))) + "\n");
            }
            let tuning = state.tuning.take();
            let branch = state.branch;
            if let Some(tuning) = &tuning {
                let _ = commands.send(line(&ReplicaCommand::Tune(tuning.clone())) + "\n");
            }
            if let Some(branch) = branch {
                let _ = commands.send(line(&ReplicaCommand::Branch(branch)) + "\n");
            }
            *state = ReplicaState {
                process: Some(process),
                commands: Some(commands),
                frozen: false,
                started,
                tuning,
                calling,
                branch,
            };
        }
        Ok(state.started)
    }

    /// Kills the process (SIGKILL).
    pub(crate) async fn crash(&self) -> io::Result<Effect> {
        let process = {
            let mut state = self.state();
            state.commands = None;
            state.process.take()
        };
        match process {
            Some(mut process) => process.kill().await.map(|()| Effect::Applied),
            None => Ok(Effect::ServerIsDown),
        }
    }

    /// Asks the process to finish the calls under way and to end (SIGTERM), and kills it after `grace`. Completes when it has ended.
    pub(crate) async fn drain(&self, world: &SharedWorld, grace: Duration) -> io::Result<Effect> {
        let number = {
            let state = self.state();
            let Some(process) = &state.process else { return Ok(Effect::ServerIsDown) };
            process.expect_end();
            process.signal(Signal::TERM)?;
            state.started
        };
        let until = world.now() + grace;
        loop {
            {
                let mut state = self.state();
                // Another fault may kill the process, and a third one start the next.
                let is_same = state.started == number;
                let Some(process) = state.process.as_mut().filter(|_| is_same) else { return Ok(Effect::Applied) };
                if process.ended().is_some() {
                    state.commands = None;
                    state.process = None;
                    return Ok(Effect::Applied);
                }
            }
            if world.now() >= until {
                return self.crash().await.map(|_| Effect::Applied);
            }
            world.sleep_until((world.now() + PROBE_INTERVAL).min(until)).await;
        }
    }

    /// Stops the process (SIGSTOP).
    pub(crate) fn freeze(&self) -> io::Result<Effect> {
        self.signal(Signal::STOP, true)
    }

    /// Continues the process (SIGCONT).
    pub(crate) fn resume(&self) -> io::Result<Effect> {
        self.signal(Signal::CONT, false)
    }

    /// Sends the faults that the process injects into calls from now on. A frozen process reads them when it is resumed.
    pub(crate) fn inject(&self, injection: Injection) -> Effect {
        let Some(commands) = self.state().commands.clone() else { return Effect::ServerIsDown };
        debug!(name = self.name, ?injection, "command to a replica");
        // An error means that its pipe is broken: the process has just been killed and not been waited for yet.
        match commands.send(line(&ReplicaCommand::Inject(injection)) + "\n") {
            Ok(()) => Effect::Applied,
            Err(_) => Effect::ServerIsDown,
        }
    }

    /// Gives the process other settings, and those that are started later. A frozen process reads them when it is resumed.
    pub(crate) fn tune(&self, tuning: Tuning) {
        let mut state = self.state();
        if let Some(commands) = &state.commands {
            // An error means that the process has just been killed. The next one gets them.
            let _ = commands.send(line(&ReplicaCommand::Tune(tuning.clone())) + "\n");
        }
        state.tuning = Some(tuning);
    }

    /// Gives the link of the process to another server this shape, and those of processes that are started later. A frozen process reads it
    /// when it is resumed.
    pub(crate) fn shape(&self, server: usize, shape: &LinkShape) {
        let mut state = self.state();
        if let Some(calling) = &mut state.calling {
            calling.shapes.insert(server, shape.clone());
        }
        state.send(&ReplicaCommand::Shape { server, shape: shape.clone() });
    }

    /// Resets the connections of the process to another server that the fault of this number applies to.
    pub(crate) fn reset(&self, server: usize, fault: u64, connections: Selection) {
        self.state().send(&ReplicaCommand::Reset { server, fault, connections });
    }

    /// Has the process draw everything random again, with the salt of `branch`, and those that are started later. A frozen process reads it
    /// when it is resumed.
    pub(crate) fn pass(&self, branch: Branch) {
        let mut state = self.state();
        if let Some(commands) = &state.commands {
            // An error means that the process has just been killed. The next one gets it.
            let _ = commands.send(line(&ReplicaCommand::Branch(branch)) + "\n");
        }
        state.branch = Some(branch);
    }

    fn signal(&self, signal: Signal, frozen: bool) -> io::Result<Effect> {
        let mut state = self.state();
        let Some(process) = &state.process else { return Ok(Effect::ServerIsDown) };
        process.signal(signal)?;
        state.frozen = frozen;
        Ok(Effect::Applied)
    }

    /// The failure of a process that has ended by itself; `None` if the replica has no process any more.
    pub(crate) async fn failure(&self, timer: &Timer) -> Option<ProcessFailed> {
        let mut process = self.state().process.take()?;
        Some(process.end(timer).await)
    }

    fn state(&self) -> MutexGuard<'_, ReplicaState> {
        lock(&self.state)
    }
}

impl ReplicaState {
    /// Sends a command to the process, if there is one.
    fn send(&self, command: &ReplicaCommand) {
        if let Some(commands) = &self.commands {
            // An error means that the process has just been killed.
            let _ = commands.send(line(command) + "\n");
        }
    }
}

/// Writes commands to a process as fast as it reads them, until it has ended.
async fn pass_on(mut orders: UnboundedReceiver<String>, mut commands: ChildStdin) {
    while let Some(order) = orders.recv().await {
        if commands.write_all(order.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{runtime::Runtime, sync::mpsc};

    use super::*;
    use crate::{clock::Clock, host::Host};

    /// A child runs the program of this process, and the test's program rejects the options of a replica.
    #[test]
    fn the_log_of_a_process_that_ends_at_its_start_is_quoted() {
        let scenario = Scenario::parse("s", "name = \"s\"\nduration = \"1s\"\n[load]\nrate = 1\n", &[]);
        let logs = tempfile::tempdir().unwrap();
        let failed = Runtime::new().unwrap().block_on(async {
            let (reports, _outputs) = mpsc::unbounded_channel();
            let port = ReservedPort::any().unwrap();
            let replica = Replica::new(0, port, (&scenario.unwrap(), 42), (Measures::default(), None), reports);
            let addresses = [("server-0".to_owned(), replica.address())].into();
            let world = Host::new(Clock::MACHINE, Timer::start().unwrap()).with_servers(addresses).shared();
            replica.start(&world, logs.path()).await.unwrap_err().to_string()
        });
        assert!(failed.starts_with("server-0 ended with exit status: 101; the end of its log:\n  | "), "{failed}");
        assert!(failed.contains("Unrecognized option: 'id'"), "{failed}");
    }
}
