//! Threads that play tasks, as many at a time as there are cores for.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use kernel::experiment::sweep::RunRow;

use super::{Sweep, Task};
use crate::SimulationError;

/// What came of a task.
pub type Outcome = Result<RunRow, SimulationError>;

/// Plays the tasks of a sweep.
#[derive(Debug)]
pub struct Pool<'a> {
    pub sweep: &'a Sweep,
    /// Simulations at a time.
    pub jobs: NonZeroUsize,
    /// Once set, no task is begun any more.
    pub stop: &'a AtomicBool,
}

impl Pool<'_> {
    /// Plays `tasks` and hands what came of each to `take`, on this thread, in the order in which they end. Returns
    /// when all have, or `stop` was set or `take` broke off and those under way have ended.
    pub fn play(
        &self,
        tasks: impl Iterator<Item = Task> + Send,
        mut take: impl FnMut(Task, Outcome) -> ControlFlow<()>,
    ) {
        let tasks = Mutex::new(tasks);
        // A rendezvous for each: whoever takes slowly is waited for.
        let (ended, incoming) = mpsc::sync_channel(self.jobs.get());
        thread::scope(|scope| {
            for _ in 0..self.jobs.get() {
                let (ended, tasks) = (ended.clone(), &tasks);
                scope.spawn(move || self.work(tasks, &ended));
            }
            drop(ended);
            // Once this is broken off nobody receives any more, and the threads end.
            let _ = incoming.into_iter().try_for_each(|(task, outcome)| take(task, outcome));
        });
    }

    fn work(&self, tasks: &Mutex<impl Iterator<Item = Task>>, ended: &mpsc::SyncSender<(Task, Outcome)>) {
        while !self.stop.load(Relaxed) {
            let Some(task) = tasks.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            if ended.send((task, self.sweep.play(task))).is_err() {
                return;
            }
        }
    }
}
