//! Processes with a tokio runtime of their own, whose code may use all of tokio.
//!
//! A process is a `current_thread` runtime whose clock is not paused. It reads the virtual clock, as `clock_gettime` is replaced, and waits
//! in one place only, `epoll_wait`, which is replaced too: asked to wait, it ends the runtime's turn instead and notes until when the
//! runtime would have waited. So the driver knows that the process is at rest and when its next deadline is, which is a timer of the virtual
//! clock. Timers are as exact as tokio's, whose unit is the millisecond.
//!
//! * The driver gives the processes their turns, in the order of their hosts, behind each step of turmoil, or without a step if no task of a
//!   machine was woken. Only one that was woken gets a
//!   turn: what wakes it from outside is queued in its [`Inbox`] and fired within the turn. One that is idle costs nothing.
//! * turmoil's host is the operating system of the process: it accepts and opens connections, and moves the [`socket`]s' tokens, as turmoil's
//!   sockets work within its step only.
//! * A process that is frozen gets no turns, so all of it stands still. A crash drops the runtime, and all of it is gone.
//!
//! | module | content |
//! | --- | --- |
//! | `turn` | a turn of a runtime, up to the `epoll_wait` that ends it |
//! | `inbox` | what a process is woken by, and the wakers that lead there |
//! | `socket` | the two ends of a connection: that of the process, and that of its operating system |
//! | `table` | the processes of a simulation, and which of them get a turn |
//! | `world` | the process's [`World`](kernel::world::World) |

mod inbox;
mod socket;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod turn;
mod world;

use std::{
    sync::{Arc, Mutex},
    task::Context,
};

use kernel::{
    app::App,
    sync::lock,
    time::Instant,
    world::{SharedWorld, Sleep, World},
};
use tokio::runtime::{Builder, RngSeed, Runtime};

use crate::{
    error::SimulationError,
    host::Host,
    misuse::{self, Misuse, Polling},
    trace,
};
use inbox::Inbox;
pub(crate) use table::Processes;
use turn::Rest;
use world::ProcessWorld;

/// Whose runtime runs the tasks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeKind {
    /// That of its machine: the code keeps to the World.
    Shared,
    /// Its own: the code may use all of tokio.
    Own,
}

impl RuntimeKind {
    /// Returns whose runtime runs the processes of `app`: those of its service, and that of its load.
    pub(crate) fn for_app(app: &App) -> Self {
        if app.has_own_runtime() { Self::Own } else { Self::Shared }
    }
}

/// A process among all of a simulation: the number of its host, which orders turns, and its number among all.
pub(crate) type Key = (usize, u64);

/// Work that has to be done in a turn of a process.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A process with a runtime of its own.
pub(crate) struct Process {
    host: Arc<Host>,
    inbox: Arc<Inbox>,
    running: Mutex<Running>,
}

/// The runtime of a process, and when it wants to go on.
enum Running {
    /// It has had no turn.
    Created,
    Runs(Runtime, Option<Deadline>),
    Ended,
}

/// The time until which a runtime waits.
struct Deadline {
    at: Instant,
    timer: Sleep,
}

impl Process {
    /// Creates the process of `host`, which runs what is spawned in its [`world`](Self::world).
    fn new(host: Arc<Host>, inbox: Arc<Inbox>) -> Self {
        Self { host, inbox, running: Mutex::new(Running::Created) }
    }

    /// Returns the World of the code in the process.
    pub(crate) fn world(&self) -> SharedWorld {
        Arc::new(ProcessWorld::new(self.host.clone(), self.inbox.clone()))
    }

    /// Does `job` in the next turn of the process, in order with what wakes it.
    pub(crate) fn in_turn(&self, job: impl FnOnce() + Send + 'static) {
        self.inbox.do_in_turn(Box::new(job));
    }

    /// Gives the process a turn, unless it is stopped: then it gets one when it continues.
    fn turn(&self) {
        if !self.host.gate.admits(|| self.inbox.continuing()) {
            return;
        }
        let running = &mut *lock(&self.running);
        if matches!(running, Running::Created) {
            match self.build() {
                Ok(runtime) => *running = Running::Runs(runtime, None),
                Err(error) => return self.host.shared.net.activity.failed_with(error),
            }
        }
        let Running::Runs(runtime, deadline) = running else { return };
        // What wakes a task of the runtime from outside of its turn comes through the inbox, unless it is foreign.
        if runtime.metrics().global_queue_depth() > 0 {
            let name = self.host.id.name();
            return self.host.shared.net.activity.misused(&Misuse::ForeignWake(name));
        }
        let rest = trace::turn(Some(self.host.id), || {
            misuse::as_task(Polling::Process, || turn::turn(self.inbox.key(), runtime, || self.inbox.deliver()))
        });
        self.rest(rest, deadline);
    }

    /// Sets the timer of the time until which the runtime waits.
    fn rest(&self, rest: Rest, deadline: &mut Option<Deadline>) {
        let at = match rest {
            Rest::For(time) => self.host.now() + time,
            Rest::UntilWoken => return *deadline = None,
            Rest::Never => return self.host.shared.net.activity.misused(&Misuse::NeverWaits),
        };
        if deadline.as_ref().is_none_or(|known| known.at != at) {
            *deadline = Some(Deadline { at, timer: self.host.sleep_until(at) });
        }
        let Some(Deadline { timer, .. }) = deadline else { return };
        let waker = self.inbox.waker();
        if timer.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }

    fn build(&self) -> Result<Runtime, SimulationError> {
        let (host, number) = self.inbox.key();
        let seed = [self.host.shared.seed, host as u64, number].map(u64::to_le_bytes).concat();
        let built = Builder::new_current_thread().enable_all().rng_seed(RngSeed::from_bytes(&seed)).build();
        built.map_err(|error| {
            let name = self.host.id.name();
            SimulationError::Failed(format!(
                "no runtime for the process of {name}: {error}; each takes several file descriptors, of which `ulimit -n` allows more"
            ))
        })
    }

    /// Drops all of the process.
    fn end(&self) {
        self.inbox.close();
        let ended = std::mem::replace(&mut *lock(&self.running), Running::Ended);
        if let Running::Runs(runtime, deadline) = ended {
            drop(deadline);
            // It has no other threads to wait for. What its tasks drop wakes others, as tasks do.
            misuse::as_task(Polling::Process, || runtime.shutdown_background());
        }
    }
}
