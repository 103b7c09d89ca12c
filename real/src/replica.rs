//! A replica as the orchestrator has it: a port that is its own, and one process after another.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use kernel::{
    client,
    nemesis::Effect,
    scenario::{Scenario, server_name},
    server::Injection,
    world::SharedWorld,
};
use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, ChildStdout},
    sync::{Mutex as AsyncMutex, mpsc::UnboundedSender},
};

use crate::{
    message::{ReplicaOrder, line},
    process::{Process, ProcessFailed},
    role::replica::ReplicaArgs,
    tcp::ReservedPort,
    timer::Timer,
};

/// How long a process that runs may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks at one that is starting.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// How long one look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// One replica, over all its processes.
pub(crate) struct Replica {
    name: String,
    port: ReservedPort,
    words: Vec<String>,
    state: Mutex<State>,
    /// Where the output of each new process goes.
    reports: UnboundedSender<NewProcess>,
}

/// The output of a process, for whoever collects it.
pub(crate) struct NewProcess {
    pub(crate) name: String,
    pub(crate) pid: Option<u32>,
    pub(crate) reports: ChildStdout,
    /// Set when its end is no failure.
    pub(crate) ending: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    /// Where the process takes orders from.
    orders: Option<Arc<AsyncMutex<ChildStdin>>>,
    frozen: bool,
    /// Processes ever started.
    started: u64,
}

impl Replica {
    pub(crate) fn new(
        index: usize,
        port: ReservedPort,
        scenario: &Scenario,
        seed: u64,
        reports: UnboundedSender<NewProcess>,
    ) -> Self {
        let name = server_name(index);
        let args = ReplicaArgs::new(&name, port.address().port(), scenario, seed);
        let words = ["replica".to_owned()].into_iter().chain(args.to_words()).collect();
        Self { name, port, words, state: Mutex::default(), reports }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Starts a process, unless there is one; done when it answers a health check or is killed.
    pub(crate) async fn start(&self, world: &SharedWorld, logs: &Path) -> Result<Effect, ProcessFailed> {
        let number = self.spawn(logs)?;
        let mut give_up = world.now() + START_TIMEOUT;
        loop {
            let probe = client::probe(world, &self.name, world.now() + PROBE_TIMEOUT).await;
            {
                let mut state = self.state();
                let (frozen, same) = (state.frozen, state.started == number);
                let Some(process) = state.process.as_mut().filter(|_| same) else {
                    return Ok(Effect::ServerIsDown);
                };
                let Err(failure) = probe else { return Ok(Effect::Applied) };
                if let Some(failed) = process.ended() {
                    return Err(failed);
                }
                if frozen {
                    give_up = world.now() + START_TIMEOUT;
                } else if world.now() > give_up {
                    let what = format!("does not serve after {} s: {}", START_TIMEOUT.as_secs(), failure.cause);
                    return Err(process.failed(what));
                }
            }
            world.sleep_until(world.now() + PROBE_INTERVAL).await;
        }
    }

    /// The number of the process that there is now.
    fn spawn(&self, logs: &Path) -> Result<u64, ProcessFailed> {
        let mut state = self.state();
        if state.process.is_none() {
            let (process, streams) = Process::start(&self.name, &self.words, logs)?;
            let (name, pid, ending) = (self.name.clone(), process.id(), process.ending());
            // Whoever collects ends after all replicas have.
            let _ = self.reports.send(NewProcess { name, pid, reports: streams.reports, ending });
            let orders = Some(Arc::new(AsyncMutex::new(streams.orders)));
            *state = State { process: Some(process), orders, frozen: false, started: state.started + 1 };
        }
        Ok(state.started)
    }

    /// SIGKILL.
    pub(crate) async fn crash(&self) -> io::Result<Effect> {
        let process = {
            let mut state = self.state();
            state.orders = None;
            state.process.take()
        };
        match process {
            Some(mut process) => process.kill().await.map(|()| Effect::Applied),
            None => Ok(Effect::ServerIsDown),
        }
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) -> io::Result<Effect> {
        self.signal(Signal::STOP, true)
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> io::Result<Effect> {
        self.signal(Signal::CONT, false)
    }

    /// Has its process inject this from now on, or once it goes on if it stands still.
    pub(crate) async fn inject(&self, injection: Injection) -> io::Result<Effect> {
        let orders = self.state().orders.clone();
        let Some(orders) = orders else { return Ok(Effect::ServerIsDown) };
        let order = line(&ReplicaOrder::Inject(injection)) + "\n";
        match orders.lock().await.write_all(order.as_bytes()).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Effect::ServerIsDown),
            told => told.map(|()| Effect::Applied),
        }
    }

    fn signal(&self, signal: Signal, frozen: bool) -> io::Result<Effect> {
        let mut state = self.state();
        let Some(process) = &state.process else { return Ok(Effect::ServerIsDown) };
        process.signal(signal)?;
        state.frozen = frozen;
        Ok(Effect::Applied)
    }

    /// What to say of its process, which has ended by itself; `None` if there is none any more.
    pub(crate) async fn failure(&self, timer: &Timer) -> Option<ProcessFailed> {
        let mut process = self.state().process.take()?;
        Some(process.end(timer).await)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{runtime::Runtime, sync::mpsc};

    use super::*;
    use crate::{clock::Clock, host::Host};

    /// A child is this program in another role, and the program of this test knows no roles: it complains and ends.
    #[test]
    fn a_process_that_ends_at_its_start_is_quoted() {
        let scenario = Scenario::parse("s", "name = \"s\"\nduration = \"1s\"\n[load]\nrate = 1\n", &[]);
        let logs = tempfile::tempdir().unwrap();
        let failed = Runtime::new().unwrap().block_on(async {
            let (reports, _outputs) = mpsc::unbounded_channel();
            let replica = Replica::new(0, ReservedPort::any().unwrap(), &scenario.unwrap(), 42, reports);
            let addresses = [("server-0".to_owned(), replica.address())].into();
            let world = Host::new(Clock::MACHINE, Timer::start().unwrap()).knowing(addresses).shared();
            replica.start(&world, logs.path()).await.unwrap_err().to_string()
        });
        assert!(failed.starts_with("server-0 ended with exit status: 101; the end of its log:\n  | "), "{failed}");
        assert!(failed.contains("Unrecognized option: 'id'"), "{failed}");
    }
}
