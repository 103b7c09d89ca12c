//! SIGSTOP and SIGCONT for a host: while its gate is shut, none of its tasks runs.
//!
//! What the kernel of a stopped machine does goes on outside the gate: connections complete and bytes arrive in the
//! socket's buffer. A task that is woken meanwhile, by a timer or by data, runs when the gate opens, in the order of
//! the wakes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use kernel::{time::Instant, world::BoxFuture};

/// The gate of one process.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it is shut.
    shut: Option<Instant>,
    /// How long it was shut before.
    stood_still: Duration,
    /// Tasks that wanted to run since.
    waiting: Vec<Waker>,
}

impl Gate {
    /// SIGSTOP; nothing if it is stopped.
    pub(crate) fn shut(&self, now: Instant) {
        self.state().shut.get_or_insert(now);
    }

    /// SIGCONT; nothing if it runs.
    pub(crate) fn open(&self, now: Instant) {
        let waiting = {
            let mut state = self.state();
            let Some(since) = state.shut.take() else { return };
            state.stood_still += now.since(since);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Open, for a new process. The tasks of the one before are gone.
    pub(crate) fn reset(&self) {
        *self.state() = State::default();
    }

    /// The time the process has had to run by `now`.
    pub(crate) fn running_time(&self, now: Instant) -> Duration {
        let state = self.state();
        let stands_still = state.shut.map_or(Duration::ZERO, |since| now.since(since));
        now.since(Instant::START) - state.stood_still - stands_still
    }

    /// `task`, behind this gate.
    pub(crate) fn guard<T>(self: &Arc<Self>, task: BoxFuture<'static, T>) -> Gated<T> {
        Gated { gate: self.clone(), task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task behind a gate.
pub(crate) struct Gated<T> {
    gate: Arc<Gate>,
    task: BoxFuture<'static, T>,
}

impl<T> Future for Gated<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        {
            let mut state = self.gate.state();
            if state.shut.is_some() {
                state.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.task.as_mut().poll(cx)
    }
}
