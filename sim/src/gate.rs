//! SIGSTOP and SIGCONT for a host: while its gate is shut, none of its process's tasks runs.
//!
//! The work of the operating system goes on outside of the gate: connections complete, and bytes arrive in the socket's
//! buffer. A task that is woken meanwhile, by a timer or by data, runs when the gate opens; tasks run in the order in
//! which they were woken.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use kernel::{sync::lock, time::Instant};

/// The gate of one process.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// True while tasks may not run: the process is stopped, or was killed. It follows from the state, for polls, which are far more frequent
    /// than its changes and need not lock it.
    is_closed: AtomicBool,
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    /// The process was killed, and the tasks that are behind the gate have not been dropped yet.
    killed: bool,
    /// The instant at which it was shut, while it is.
    shut: Option<Instant>,
    /// The time for which it was shut before.
    stopped_before: Duration,
    /// The tasks that were woken since.
    waiting: Vec<Waker>,
}

impl Gate {
    /// Shuts the gate, as SIGSTOP does. A gate that is shut stays as it is.
    pub(crate) fn shut(&self, now: Instant) {
        self.change(|state| {
            state.shut.get_or_insert(now);
        });
    }

    /// Opens the gate, as SIGCONT does. A gate that is open stays as it is.
    pub(crate) fn open(&self, now: Instant) {
        let waiting = self.change(|state| {
            let Some(since) = state.shut.take() else { return Vec::new() };
            state.stopped_before += now.since(since);
            std::mem::take(&mut state.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Stops the tasks of the process for good, as SIGKILL does. From now on the gate can be shut for the next process.
    pub(crate) fn kill(&self) {
        self.change(|state| {
            state.killed = true;
            state.shut = None;
        });
    }

    /// Opens the gate for a new process, unless that was stopped in the meantime. The tasks of the process before it were
    /// dropped.
    pub(crate) fn reset(&self) {
        self.change(|state| *state = GateState { shut: state.shut, ..GateState::default() });
    }

    /// Returns true if the process was killed and the tasks behind the gate have not been dropped yet.
    pub(crate) fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// Returns the time that the process has had to run by `now`.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        let state = self.state();
        let stopped = state.shut.map_or(Duration::ZERO, |since| now.since(since));
        now.since(Instant::START) - state.stopped_before - stopped
    }

    /// Returns whether the process may run. If not, the waker that `waiting` returns is woken when it may.
    pub(crate) fn admits(&self, waiting: impl FnOnce() -> Waker) -> bool {
        let is_open = !self.is_closed.load(Relaxed);
        if !is_open {
            self.state().waiting.push(waiting());
        }
        is_open
    }

    /// Puts `task` behind this gate.
    pub(crate) fn guard<F>(self: &Arc<Self>, task: F) -> Gated<F> {
        Gated { gate: self.clone(), task }
    }

    /// Changes the state, and derives from it whether tasks may run.
    fn change<T>(&self, change: impl FnOnce(&mut GateState) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        self.is_closed.store(state.killed || state.shut.is_some(), Relaxed);
        result
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        lock(&self.state)
    }
}

/// A task behind a gate.
pub(crate) struct Gated<F> {
    gate: Arc<Gate>,
    task: F,
}

impl<F: Future + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.gate.admits(|| cx.waker().clone()) {
            return Poll::Pending;
        }
        Pin::new(&mut self.task).poll(cx)
    }
}
