//! The wakers of a process that are used outside of its turn.
//!
//! A waker of tokio that is used outside of the runtime's turn writes to a file descriptor, and the driver does not learn that the runtime has
//! something to do. So everything that the simulation gives to a process is polled with wakers that lead here; they are fired in the turn
//! that they ask for, where it is cheap.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use kernel::sync::lock;

use super::{Job, Key, table::Turns, turn};
use crate::{misuse::Misuse, virtual_time};

/// The wakers of one process, and the work for its next turn.
pub(super) struct Inbox {
    key: Key,
    turns: Arc<Turns>,
    /// Work for the next turn, in order; `None` once the process has ended.
    due: Mutex<Option<Vec<Due>>>,
    /// It is stopped, and gets a turn when it continues.
    is_stopped: AtomicBool,
    /// Asks for a turn.
    waker: Waker,
}

/// Work for a turn.
enum Due {
    Wake(Waker),
    Do(Job),
}

impl Inbox {
    pub(super) fn new(key: Key, turns: Arc<Turns>) -> Arc<Self> {
        Arc::new_cyclic(|inbox: &std::sync::Weak<Self>| {
            let waker = Waker::from(Arc::new(Asking(inbox.clone())));
            Self { key, turns, due: Mutex::new(Some(Vec::new())), is_stopped: AtomicBool::new(false), waker }
        })
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Returns the waker that asks for a turn, and does nothing in it.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns the waker of a process that is stopped: it asks for the turn that the process did not get.
    pub(super) fn continuing(self: &Arc<Self>) -> Waker {
        self.is_stopped.store(true, Relaxed);
        Waker::from(Arc::new(Continuing(self.clone())))
    }

    pub(super) fn do_in_turn(&self, job: Job) {
        self.push(Due::Do(job));
    }

    fn push(&self, due: Due) {
        let mut waiting = lock(&self.due);
        // What is left of a process that has ended wakes nothing.
        let Some(waiting) = &mut *waiting else { return drop(due) };
        waiting.push(due);
        if waiting.len() == 1 {
            self.ask();
        }
    }

    /// Asks for a turn.
    fn ask(&self) {
        if !self.is_stopped.load(Relaxed) {
            self.turns.ask(self.key);
        }
    }

    /// Does what is due. It is the turn of the process.
    pub(super) fn deliver(&self) {
        let due = lock(&self.due).as_mut().map(std::mem::take).unwrap_or_default();
        for due in due {
            match due {
                Due::Wake(waker) => waker.wake(),
                Due::Do(job) => job(),
            }
        }
    }

    /// Drops what is due, and what will be.
    pub(super) fn close(&self) {
        let due = lock(&self.due).take();
        drop(due);
    }

    /// Returns `future`, which others complete, for a task of the process.
    pub(super) fn outer<F>(self: &Arc<Self>, future: F) -> Outer<F> {
        Outer { future, waker: InboxWaker::new(self.clone()) }
    }
}

/// Asks for a turn of a process that may have ended.
struct Asking(std::sync::Weak<Inbox>);

impl Wake for Asking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.upgrade().iter().for_each(|inbox| inbox.ask());
    }
}

/// Asks for the turn that a stopped process did not get.
struct Continuing(Arc<Inbox>);

impl Wake for Continuing {
    fn wake(self: Arc<Self>) {
        self.0.is_stopped.store(false, Relaxed);
        self.0.ask();
    }
}

/// The waker of a task of a process, for those who are outside.
pub(super) struct InboxWaker {
    inbox: Arc<Inbox>,
    /// The waker that it was last asked for, and the one that leads to the inbox.
    known: Option<(Waker, Waker)>,
}

impl InboxWaker {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, known: None }
    }

    /// Returns the waker for `task`. It stays the same for as long as `task` does.
    pub(super) fn for_task(&mut self, task: &Waker) -> &Waker {
        let is_known = self.known.as_ref().is_some_and(|(known, _)| known.will_wake(task));
        if !is_known {
            self.known = None;
        }
        let inbox = &self.inbox;
        let (_, outer) = self.known.get_or_insert_with(|| {
            (task.clone(), Waker::from(Arc::new(TaskWaker { inbox: inbox.clone(), task: task.clone() })))
        });
        outer
    }
}

/// Wakes a task of a process, at once in the turn of the process and otherwise in its next one.
struct TaskWaker {
    inbox: Arc<Inbox>,
    task: Waker,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if turn::is_of(self.inbox.key) {
            self.task.wake_by_ref();
        } else if virtual_time::nanos().is_none() {
            self.inbox.turns.activity().misused(&Misuse::OtherThread);
        } else {
            self.inbox.push(Due::Wake(self.task.clone()));
        }
    }
}

/// A future of the simulation that a task of a process waits for.
pub(super) struct Outer<F> {
    future: F,
    waker: InboxWaker,
}

impl<F: Future + Unpin> Future for Outer<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, waker } = self.get_mut();
        Pin::new(future).poll(&mut Context::from_waker(waker.for_task(cx.waker())))
    }
}
