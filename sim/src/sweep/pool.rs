//! Threads that run the tasks of a sweep, several at a time.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use kernel::{experiment::sweep::RunRow, sync::lock};

use super::{Sweep, Task};
use crate::SimulationError;

/// Result of a task: the row of its run.
pub type TaskResult = Result<RunRow, SimulationError>;

/// Threads that run the tasks of a sweep.
#[derive(Debug)]
pub struct Pool<'a> {
    /// The sweep whose tasks are run.
    pub sweep: &'a Sweep,
    /// Number of simulations at a time.
    pub jobs: NonZeroUsize,
    /// Flag that, once set, keeps further tasks from being started.
    pub stop: &'a AtomicBool,
}

impl Pool<'_> {
    /// Runs `tasks` and passes the result of each to `take`, on this thread, in the order in which they end. Returns
    /// when all have ended; if `stop` is set or `take` breaks, when those that were started have ended.
    pub fn run(
        &self,
        tasks: impl Iterator<Item = Task> + Send,
        mut take: impl FnMut(Task, TaskResult) -> ControlFlow<()>,
    ) {
        let tasks = Mutex::new(tasks);
        // The bound makes the threads wait for a slow `take`, so results do not pile up.
        let (ended, incoming) = mpsc::sync_channel(self.jobs.get());
        thread::scope(|scope| {
            for index in 0..self.jobs.get() {
                let ended = ended.clone();
                let tasks = &tasks;
                let spawned = thread::Builder::new().spawn_scoped(scope, move || self.work(tasks, &ended));
                // With fewer threads than were asked for it takes longer, and ends all the same.
                assert!(spawned.is_ok() || index > 0, "the operating system has no thread for any simulation");
                if spawned.is_err() {
                    break;
                }
            }
            // The receiver ends once no thread has a sender any more; this one would keep it waiting.
            drop(ended);
            // A break drops the receiver, by which the threads end: their next result cannot be sent.
            let _ = incoming.into_iter().try_for_each(|(task, result)| take(task, result));
        });
    }

    fn work(&self, tasks: &Mutex<impl Iterator<Item = Task>>, ended: &mpsc::SyncSender<(Task, TaskResult)>) {
        while !self.stop.load(Relaxed) {
            let Some(task) = lock(tasks).next() else { return };
            if ended.send((task, self.sweep.run(task))).is_err() {
                return;
            }
        }
    }
}
