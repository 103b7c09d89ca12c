//! The tasks of one process, which end together when it is killed.
//!
//! Processes share the runtime of their machine, which cannot drop the tasks of one of them. So the runtime's tasks are
//! shells: the futures belong to the process, which drops them when it is killed, in the order in which they were spawned.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use crate::moments::Paused;
use kernel::{sync::lock, world::BoxFuture};

/// The tasks of one process.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of tasks so far, which numbers the next one.
    added: u64,
    /// The tasks that have not completed, in the order in which they were added.
    slots: BTreeMap<u64, Arc<Mutex<Slot>>>,
}

/// A task, for as long as its process lives.
struct Slot {
    future: Option<BoxFuture<'static, ()>>,
    /// Wakes the runtime's task, so that it ends when the future has been dropped.
    waker: Option<Waker>,
}

impl Slot {
    /// Takes out what there is, to be dropped after the lock.
    fn empty(&mut self) -> (Option<BoxFuture<'static, ()>>, Option<Waker>) {
        (self.future.take(), self.waker.take())
    }
}

impl Tasks {
    /// Adds a task, and returns the shell that the machine's runtime has to run.
    pub(crate) fn add(self: &Arc<Self>, future: BoxFuture<'static, ()>) -> Task {
        let slot = Arc::new(Mutex::new(Slot { future: Some(future), waker: None }));
        let mut state = lock(&self.state);
        state.added += 1;
        let number = state.added;
        state.slots.insert(number, slot.clone());
        Task { tasks: self.clone(), number, slot }
    }

    /// Drops all tasks, also those that are added while others are dropped.
    ///
    /// It has to be called in the turn of the process's machine, since turmoil closes sockets in their own host's turn only,
    /// and not by a task of the process, which would be dropped while it runs.
    pub(crate) fn drop_all(&self) {
        // A process that is killed measures nothing any more.
        let _paused = Paused::begin();
        loop {
            // The lock is not held while a task is dropped: that may add another one.
            let first = lock(&self.state).slots.pop_first();
            let Some((_, slot)) = first else { return };
            let (future, waker) = lock(&slot).empty();
            drop(future);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// A task of a process, as the machine's runtime sees it. It completes when the task has completed or was dropped.
pub(crate) struct Task {
    tasks: Arc<Tasks>,
    number: u64,
    slot: Arc<Mutex<Slot>>,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = lock(&self.slot);
        let Some(future) = &mut slot.future else { return Poll::Ready(()) };
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Task {
    /// Drops the future: the task has completed, or the simulation is being dropped.
    fn drop(&mut self) {
        lock(&self.tasks.state).slots.remove(&self.number);
        let emptied = lock(&self.slot).empty();
        drop(emptied);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::pending};

    use super::*;

    /// Adds its number to the list when it is dropped.
    struct Note(u32, Arc<Mutex<Vec<u32>>>);

    impl Drop for Note {
        fn drop(&mut self) {
            lock(&self.1).push(self.0);
        }
    }

    #[test]
    fn a_task_that_completes_is_dropped_and_forgotten() {
        let tasks = Arc::new(Tasks::default());
        let dropped = Arc::default();
        let note = Note(1, Arc::clone(&dropped));
        let task = tasks.add(Box::pin(async move { drop(note) }));
        assert_eq!(lock(&tasks.state).slots.len(), 1);
        assert_eq!(task.now_or_never(), Some(()));
        assert_eq!((lock(&tasks.state).slots.len(), &lock(&dropped)[..]), (0, &[1][..]));
    }

    #[test]
    fn all_tasks_are_dropped_in_order_and_their_shells_end() {
        let tasks = Arc::new(Tasks::default());
        let dropped = Arc::default();
        let mut shells = Vec::new();
        for number in 0..3 {
            let note = Note(number, Arc::clone(&dropped));
            shells.push(tasks.add(Box::pin(async move {
                let _note = note;
                pending().await
            })));
        }
        assert!(shells.iter_mut().all(|shell| shell.now_or_never().is_none()));
        tasks.drop_all();
        assert_eq!(lock(&dropped)[..], [0, 1, 2]);
        assert!(shells.iter_mut().all(|shell| shell.now_or_never().is_some()));
        // The next process of the host has tasks again.
        assert!(tasks.add(Box::pin(async {})).now_or_never().is_some());
    }

    #[test]
    fn a_task_that_is_added_while_others_are_dropped_is_dropped_too() {
        struct Adds(Arc<Tasks>, Arc<Mutex<Vec<u32>>>);
        impl Drop for Adds {
            fn drop(&mut self) {
                let note = Note(7, self.1.clone());
                // Its shell is never run, as nothing runs at that moment.
                std::mem::forget(self.0.add(Box::pin(async move {
                    let _note = note;
                    pending().await
                })));
            }
        }
        let tasks = Arc::new(Tasks::default());
        let dropped = Arc::default();
        let adds = Adds(tasks.clone(), Arc::clone(&dropped));
        let mut shell = tasks.add(Box::pin(async move {
            let _adds = adds;
            pending().await
        }));
        assert!((&mut shell).now_or_never().is_none());
        tasks.drop_all();
        assert_eq!(lock(&dropped)[..], [7]);
    }

    #[test]
    fn a_killed_process_wakes_the_shells_of_its_tasks() {
        struct Woken(Mutex<bool>);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                *lock(&self.0) = true;
            }
        }
        let tasks = Arc::new(Tasks::default());
        let mut shell = tasks.add(Box::pin(pending()));
        let woken = Arc::new(Woken(Mutex::new(false)));
        let waker = Waker::from(woken.clone());
        assert!(Pin::new(&mut shell).poll(&mut Context::from_waker(&waker)).is_pending());
        tasks.drop_all();
        assert!(*lock(&woken.0));
    }
}
