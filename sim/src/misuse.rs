//! Code in a simulation that goes past the World: it is found while the simulation runs, and ends it.
//!
//! * A task that was spawned past [`World::spawn`](kernel::world::World::spawn): no fault stops it. The tasks of a machine's runtime are
//!   counted each time the machine comes to rest.
//! * A sleep on tokio's clock, which counts the steps of the driver: 50 ms of it are fifty steps, whatever the virtual time.
//! * Work on another thread, whose end no virtual time decides. A simulation starts none, opens no socket of the operating system, does not
//!   sleep in it and resolves no name: they are refused.
//! * Tasks that run over and over at one instant, so that a step of the driver does not end.
//!
//! The second and the third are seen by who wakes a task. A task is woken by another task, by the virtual clock or a message between two turns, or,
//! within a turn, by tokio: at once for a task that has yielded, and after it has moved its own clock for a timer.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Wake, Waker},
};

use kernel::sync::lock;
use tokio::runtime::Handle;

use crate::{activity::Activity, virtual_time};

thread_local! {
    /// Whose tasks are polled, if any are.
    static POLLING: Cell<Polling> = const { Cell::new(Polling::Outside) };
    /// True while a simulation runs on this thread.
    static REFUSES: Cell<bool> = const { Cell::new(false) };
    /// The first foreign thing that was refused.
    static REFUSED: Cell<Option<Foreign>> = const { Cell::new(None) };
}

/// Whose tasks are polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polling {
    /// None: the simulation itself acts.
    Outside,
    Machine,
    /// A process with a runtime of its own.
    Process,
}

/// Something of the operating system that no simulation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Thread,
    Socket,
    Sleep,
    #[cfg_attr(target_feature = "crt-static", expect(dead_code, reason = "libc keeps its own function"))]
    Name,
}

impl Foreign {
    /// Returns the misuse that it is.
    pub(crate) fn misuse(self) -> Misuse {
        match self {
            Self::Thread => Misuse::ForeignThread,
            Self::Socket => Misuse::ForeignSocket,
            Self::Sleep => Misuse::ForeignSleep,
            Self::Name => Misuse::ForeignName,
        }
    }
}

/// Refuses what is foreign to the simulation that runs on this thread, until it is dropped.
pub(crate) struct Refusing;

impl Refusing {
    pub(crate) fn begin() -> Self {
        REFUSED.set(None);
        REFUSES.set(true);
        Self
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        REFUSES.set(false);
    }
}

/// Returns true, and notes it, if a simulation runs on this thread, which has to do without `foreign`.
pub(crate) fn refuses(foreign: Foreign) -> bool {
    // A thread that ends may have no variables any more.
    let refuses = REFUSES.try_with(Cell::get).unwrap_or(false);
    if refuses && REFUSED.get().is_none() {
        REFUSED.set(Some(foreign));
    }
    refuses
}

/// Returns what was first refused since the last call.
pub(crate) fn take_refused() -> Option<Foreign> {
    REFUSED.take()
}

/// Runs `code` of the simulation itself, to which nothing is refused.
#[cfg(feature = "canaries")]
pub(crate) fn without_refusing<T>(code: impl FnOnce() -> T) -> T {
    let refused = REFUSES.replace(false);
    let result = code();
    REFUSES.set(refused);
    result
}

/// Runs `code` as what tasks do.
pub(crate) fn as_task<T>(whose: Polling, code: impl FnOnce() -> T) -> T {
    let before = POLLING.replace(whose);
    let result = code();
    POLLING.set(before);
    result
}

/// A use of time, tasks, threads or sockets past the World.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misuse {
    #[error(
        "{0} task(s) run that were not spawned through the World, so that faults do not stop them; use `host.spawn` (`World::spawn`) in place of \
         `tokio::spawn`"
    )]
    EscapedTasks(usize),
    #[error(
        "a task slept on tokio's clock, which counts the steps of the simulation and no time; use `host.sleep` (`World::sleep_until`, \
         `timeout_at`) in place of `tokio::time`"
    )]
    TokioClock,
    #[error(
        "a task waited for another thread, which no virtual time decides; use `host.compute` (`World::compute`) in place of `spawn_blocking`, of \
         `tokio::fs` and of threads"
    )]
    OtherThread,
    #[error(
        "the code starts a thread (`pthread_create`), which no virtual time decides; use `host.compute` (`World::compute`) in place of \
         `spawn_blocking`, of `tokio::fs`, of resolvers and of threads"
    )]
    ForeignThread,
    #[error(
        "the code opens a socket of the operating system (`socket`), whose other end is in no simulation; use `host.serve` and \
         `call.channel` in place of sockets, and `host.compute` with the time that a service takes which is no part of the scenario"
    )]
    ForeignSocket,
    #[error(
        "the code lets a thread sleep (`nanosleep`), in which no virtual time passes; use `host.sleep` (`World::sleep_until`) in place of \
         `std::thread::sleep`"
    )]
    ForeignSleep,
    #[error(
        "the code resolves a name (`getaddrinfo`), and no simulation has resolvers; use `host.compute` (`World::compute`) with the time that it \
         takes, in place of `ToSocketAddrs`"
    )]
    ForeignName,
    #[error(
        "a task of {0} was woken past the World, by another thread or by another process, which share no memory in the real world; use \
         `host.compute` (`World::compute`) in place of threads, and keep the state of a process in the closure of `App::service`"
    )]
    ForeignWake(String),
    #[error(
        "tasks ran {POLLS_MAX} times at one instant and never waited; a loop without an end needs a `host.sleep`, or something else that \
         it waits for"
    )]
    NeverWaits,
}

/// Most polls of a machine's tasks at one instant. It is far more than the most requests at once need, and takes some seconds.
const POLLS_MAX: u64 = 50_000_000;

/// A time on tokio's paused clock.
type TokioInstant = tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "whether tokio has moved its clock is what is asked")]
fn tokio_now() -> TokioInstant {
    TokioInstant::now()
}

/// Checks who wakes the tasks of one machine.
#[derive(Debug)]
pub(crate) struct WakeCheck {
    activity: Activity,
    /// The step of the driver in which a task was last polled.
    step: AtomicU64,
    /// tokio's time in that step, before it ends.
    began: Mutex<Option<TokioInstant>>,
    /// The virtual time at which a task was last polled, in nanoseconds, and the polls at that instant.
    instant: AtomicU64,
    polls: AtomicU64,
}

impl WakeCheck {
    pub(crate) fn new(activity: Activity) -> Arc<Self> {
        Arc::new(Self {
            activity,
            step: AtomicU64::new(u64::MAX),
            began: Mutex::default(),
            instant: AtomicU64::new(0),
            polls: AtomicU64::new(0),
        })
    }

    /// Counts a poll of a task. Returns false if there were too many at this instant: the step would not end, so no task may be polled in it
    /// any more. The machine has its turns on one thread, so that no operation has to be atomic.
    pub(crate) fn may_poll(&self) -> bool {
        let now = virtual_time::nanos().unwrap_or_default();
        if self.instant.load(Relaxed) != now {
            self.instant.store(now, Relaxed);
            self.polls.store(0, Relaxed);
        }
        let polls = self.polls.load(Relaxed) + 1;
        self.polls.store(polls, Relaxed);
        if polls == POLLS_MAX {
            self.activity.misused(&Misuse::NeverWaits);
        }
        polls < POLLS_MAX
    }

    /// Polls a task of the machine.
    pub(crate) fn polling<T>(&self, poll: impl FnOnce() -> T) -> T {
        let step = self.activity.steps();
        // tokio moves its clock at the end of a step only, so the first poll of a step has the time at which it began.
        if self.step.load(Relaxed) != step {
            self.step.store(step, Relaxed);
            *lock(&self.began) = Some(tokio_now());
        }
        as_task(Polling::Machine, poll)
    }

    /// Checks who wakes a task now.
    fn on_wake(&self) {
        let polling = POLLING.get();
        if polling == Polling::Machine {
            return;
        }
        self.activity.machine_woken();
        if polling == Polling::Process {
            return;
        }
        if virtual_time::nanos().is_none() {
            return self.activity.misused(&Misuse::OtherThread);
        }
        // Outside of a runtime, the driver moves the clock, or turmoil delivers messages.
        let is_in_turn = Handle::try_current().is_ok();
        // turmoil's own tasks for bytes that stay on a machine sleep for a step.
        if is_in_turn && !self.activity.has_loopback() && lock(&self.began).is_some_and(|began| tokio_now() > began) {
            self.activity.misused(&Misuse::TokioClock);
        }
    }
}

/// The waker of one task, which checks who uses it.
#[derive(Default)]
pub(crate) struct CheckedWaker(Option<(Waker, Waker)>);

struct Checked {
    waker: Waker,
    check: Arc<WakeCheck>,
}

impl CheckedWaker {
    /// Returns `waker` with the check. It stays the same for as long as `waker` does, so that it need not be registered again.
    pub(crate) fn for_task(&mut self, waker: &Waker, check: &Arc<WakeCheck>) -> &Waker {
        let is_known = self.0.as_ref().is_some_and(|(known, _)| known.will_wake(waker));
        if !is_known {
            self.0 = None;
        }
        let (_, checked) = self.0.get_or_insert_with(|| {
            (waker.clone(), Waker::from(Arc::new(Checked { waker: waker.clone(), check: check.clone() })))
        });
        checked
    }
}

impl Wake for Checked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.check.on_wake();
        self.waker.wake_by_ref();
    }
}
