//! The processors of a machine that all processes of a run share.
//!
//! A calibration with a table `[machine]` describes one host: how many processors it has, and how long each piece of work takes on processors
//! that are warm and on processors that have slept. All processes of a run are then on one machine of that kind, as those of a real run
//! are. Each piece of work takes its time on one of the processors: a timer that wakes a thread, a message with all that is done to encode,
//! send, receive and decode it, the computing of a service, and what follows a call away from its path. Without that table each process
//! has as many processors as it needs, and they are always warm.
//!
//! | module | contents |
//! | --- | --- |
//! | `cores` | the processors, and how they are shared |
//! | `pauses` | times in which no processor runs |
//! | `times` | what a calibration says about the machine |

mod cores;
mod pauses;
mod times;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

use kernel::{coldness::Coldness, entropy::Entropy, sync::lock, time::Instant, variation::Variation};

use crate::{clock::Clock, host_id::HostId};
use cores::{Alarm, Cores, Needs};
use pauses::Pauses;
pub(crate) use times::{MachineTimes, MessageWork, by_units};

/// The processors of the machine on which all processes run.
#[derive(Debug)]
pub(crate) struct Processors {
    clock: Arc<Clock>,
    times: MachineTimes,
    entropy: Entropy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cores: Cores,
    coldness: Coldness,
    variation: Variation,
    /// The waker of each piece of work, by its number; it is used when the work is complete.
    waiting: BTreeMap<u64, Waker>,
}

/// How long one piece of work takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// Processor time on a warm machine.
    pub(crate) warm: Duration,
    /// Time until it is done on a machine that has slept for long.
    pub(crate) cold: Duration,
    /// How much longer it takes, as a share of its time, for each other processor that computes at the same time; 0 if it does not compute.
    pub(crate) contention: f64,
    /// True if it wakes up a server, whose processor may have slept while the client worked.
    pub(crate) wakes_server: bool,
}

impl Piece {
    /// A piece that computes nothing, of this time on a warm and on a cold machine.
    pub(crate) fn new(warm: Duration, cold: Duration) -> Self {
        Self { warm, cold, contention: 0.0, wakes_server: false }
    }
}

impl Processors {
    pub(crate) fn new(clock: Arc<Clock>, times: MachineTimes, entropy: Entropy) -> Arc<Self> {
        let pauses = Pauses::new(times.pauses.clone(), entropy.stream("machine.pauses"));
        let cores = Cores::new(times.cores.get(), times.slice(), pauses);
        let variation = Variation::new(&times.variation, entropy);
        let state = State { cores, coldness: Coldness::new(times.coldness), variation, waiting: BTreeMap::new() };
        Arc::new(Self { clock, times, entropy, state: Mutex::new(state) })
    }

    /// Returns what the calibration says about the machine.
    pub(crate) fn times(&self) -> &MachineTimes {
        &self.times
    }

    /// Begins a piece of work of `host`, and wakes `done` when it is complete. Returns its number.
    pub(crate) fn begin(self: &Arc<Self>, host: HostId, piece: Piece, done: Waker) -> u64 {
        let now = self.clock.now();
        self.change(|state, alarms| {
            let coldness = if piece.wakes_server { state.coldness.of_server(now) } else { state.coldness.at(now) };
            let wake_up = piece.cold.saturating_sub(piece.warm).mul_f64(coldness);
            let needs = Needs { time: piece.warm, wake_up, contention: piece.contention };
            let slept = state.coldness.slept(now);
            state.cores.set_coldness(slept);
            let number = state.cores.ready(now, host, needs, alarms);
            state.waiting.insert(number, done);
            number
        })
    }

    /// Makes a piece of work that is not complete yet take longer by `more`.
    pub(crate) fn extend(self: &Arc<Self>, number: u64, more: Duration) {
        let now = self.clock.now();
        self.change(|state, alarms| state.cores.extend(now, number, more, alarms));
    }

    /// Does a piece of work of `host`.
    pub(crate) async fn run(self: &Arc<Self>, host: HostId, piece: Piece) {
        let end = Arc::new(End::default());
        self.begin(host, piece, Waker::from(end.clone()));
        poll_fn(|cx| end.poll(cx.waker())).await;
    }

    /// Does what an expired timer of `host` takes until its task continues, besides [`late`](Self::late).
    pub(crate) async fn wake_up(self: &Arc<Self>, host: HostId, at: Instant) {
        let timer = &self.times.timer;
        let probability = self.of_timer(host, at);
        let sleeping = timer.cold.quantile(probability).saturating_sub(timer.warm.quantile(probability));
        self.run(host, Piece::new(times::THREAD_SWITCH, times::THREAD_SWITCH + sleeping)).await;
    }

    /// Returns by how much the timer of `host` that expires `at` is late even on a warm and idle machine, beyond the processor time of
    /// [`wake_up`](Self::wake_up). Timers of one host that expire at one instant are late together.
    pub(crate) fn late(&self, host: HostId, at: Instant) -> Duration {
        self.times.timer.warm.quantile(self.of_timer(host, at)).saturating_sub(times::THREAD_SWITCH)
    }

    fn of_timer(&self, host: HostId, at: Instant) -> f64 {
        let mut rng = self.entropy.stream_of("machine.timer", &[host.number as u64, at.as_nanos()]);
        let own = kernel::entropy::unit(&mut rng);
        self.state().variation.probability(at, own)
    }

    /// Returns the probability at which work that begins now takes its time. `own` is what was drawn for it alone.
    pub(crate) fn varied(&self, own: f64) -> f64 {
        let now = self.clock.now();
        self.state().variation.probability(now, own)
    }

    /// Lets the machine do what follows a call of `host` away from its path, if that takes any time: the record of the call is written and
    /// passed on, and its memory is freed.
    pub(crate) fn follow_up(self: &Arc<Self>, host: HostId, time: Duration) {
        if !time.is_zero() {
            self.begin(host, Piece::new(time, time), Waker::noop().clone());
        }
    }

    /// Stops the work of a process, as SIGSTOP does.
    pub(crate) fn stop(self: &Arc<Self>, host: HostId) {
        let now = self.clock.now();
        self.change(|state, alarms| state.cores.stop(now, host, alarms));
    }

    /// Lets the work of a process continue, as SIGCONT does.
    pub(crate) fn resume(self: &Arc<Self>, host: HostId) {
        let now = self.clock.now();
        self.change(|state, alarms| state.cores.resume(now, host, alarms));
    }

    /// Drops the work of a process, as SIGKILL does. What waits for it is never woken.
    pub(crate) fn kill(self: &Arc<Self>, host: HostId) {
        let now = self.clock.now();
        let dropped: Vec<Waker> = self.change(|state, alarms| {
            let numbers = state.cores.kill(now, host, alarms);
            numbers.iter().filter_map(|number| state.waiting.remove(number)).collect()
        });
        // A waker may own what locks this when it is dropped.
        drop(dropped);
    }

    /// Forgets what waits for work, at the end of a simulation. It may own these processors.
    pub(crate) fn clear(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        // The lock is not held: what is dropped may lock it.
        drop(waiting);
    }

    /// Continues at the time of an alarm.
    fn alarm(self: &Arc<Self>, core: usize, number: u64) {
        let now = self.clock.now();
        let done = self.change(|state, alarms| {
            let complete = state.cores.alarm(now, core, number, alarms)?;
            state.waiting.remove(&complete)
        });
        done.into_iter().for_each(Waker::wake);
    }

    /// Changes the state, notes whether the machine works, and sets the alarms.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Vec<Alarm>) -> T) -> T {
        let mut alarms = Vec::new();
        let mut state = self.state();
        let result = change(&mut state, &mut alarms);
        let now = self.clock.now();
        if state.cores.are_idle() {
            state.coldness.end_work(now);
        } else {
            state.coldness.begin_work(now);
        }
        drop(state);
        for Alarm { at, host, core, number } in alarms {
            let waker = Waker::from(Arc::new(AlarmWaker { processors: self.clone(), core, number }));
            self.clock.wake_at(host, at, waker);
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Calls [`Processors::alarm`].
struct AlarmWaker {
    processors: Arc<Processors>,
    core: usize,
    number: u64,
}

impl Wake for AlarmWaker {
    fn wake(self: Arc<Self>) {
        self.processors.alarm(self.core, self.number);
    }
}

/// The end of a piece of work, for the task that waits for it.
#[derive(Default)]
struct End {
    is_there: AtomicBool,
    waiter: Mutex<Option<Waker>>,
}

impl End {
    fn poll(&self, waiter: &Waker) -> Poll<()> {
        if self.is_there.load(Relaxed) {
            return Poll::Ready(());
        }
        match &mut *lock(&self.waiter) {
            Some(known) => known.clone_from(waiter),
            none => *none = Some(waiter.clone()),
        }
        Poll::Pending
    }
}

impl Wake for End {
    fn wake(self: Arc<Self>) {
        self.is_there.store(true, Relaxed);
        let waiter = lock(&self.waiter).take();
        waiter.into_iter().for_each(Waker::wake);
    }
}
