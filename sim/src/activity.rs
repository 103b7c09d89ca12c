//! The flag that keeps the driver at the present instant.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use kernel::sync::lock;

use crate::{error::SimulationError, misuse::Misuse};

/// Reports to the driver that something has happened at this instant that a host has yet to see, so that the driver
/// takes another step before it moves the clock. Messages that cross the network are not reported: their arrival is a
/// timer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity {
    happened: Arc<AtomicBool>,
    panicked: Arc<AtomicBool>,
    failed: Arc<OnceLock<Mutex<Option<SimulationError>>>>,
    steps: Arc<AtomicU64>,
    has_loopback: Arc<AtomicBool>,
    process_woken: Arc<AtomicBool>,
    machine_woken: Arc<AtomicBool>,
}

impl Activity {
    /// Reports that something has happened.
    pub(crate) fn happened(&self) {
        self.happened.store(true, Ordering::Relaxed);
    }

    /// Counts a step of the driver, which begins.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of steps that have begun.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Reports that two processes of one machine are connected. turmoil carries their bytes by tasks of its own.
    pub(crate) fn uses_loopback(&self) {
        self.has_loopback.store(true, Ordering::Relaxed);
    }

    /// Returns true once two processes of one machine are connected.
    pub(crate) fn has_loopback(&self) -> bool {
        self.has_loopback.load(Ordering::Relaxed)
    }

    /// Sets whether a process with a runtime of its own waits for a turn, which it gets behind the step. Machines do not move the clock by
    /// themselves before.
    pub(crate) fn set_process_woken(&self, is_woken: bool) {
        self.process_woken.store(is_woken, Ordering::Relaxed);
    }

    /// Returns whether a process with a runtime of its own waits for a turn.
    pub(crate) fn is_process_woken(&self) -> bool {
        self.process_woken.load(Ordering::Relaxed)
    }

    /// Reports that a task of a machine was woken from outside of the turns of machines, so that it is polled in the next step only.
    pub(crate) fn machine_woken(&self) {
        self.machine_woken.store(true, Ordering::Relaxed);
    }

    /// Notes that a step has ended, in which the machines have polled all tasks that were woken.
    pub(crate) fn step_ended(&self) {
        self.machine_woken.store(false, Ordering::Relaxed);
    }

    /// Returns false if nothing but processes with a runtime of their own was woken since the last step, so that another one would find no
    /// task to poll.
    pub(crate) fn needs_step(&self) -> bool {
        // turmoil's own tasks for bytes that stay on a machine sleep for a step.
        !self.is_process_woken() || self.machine_woken.load(Ordering::Relaxed) || self.has_loopback()
    }

    /// Reports that a task of a host has panicked: the driver ends the simulation.
    pub(crate) fn panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
        self.happened();
    }

    /// Reports what code did past the World: the driver ends the simulation.
    pub(crate) fn misused(&self, misuse: &Misuse) {
        self.failed_with(SimulationError::Misuse(misuse.to_string()));
    }

    /// Reports the `error` that ends the simulation.
    pub(crate) fn failed_with(&self, error: SimulationError) {
        // The first failure counts.
        let _ = self.failed.set(Mutex::new(Some(error)));
        self.happened();
    }

    /// Returns the error that ends the simulation, once.
    pub(crate) fn failure(&self) -> Option<SimulationError> {
        self.failed.get().and_then(|error| lock(error).take())
    }

    /// Returns true once a task has panicked.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Returns true if something has happened since the driver last took notice with [`Self::take`].
    pub(crate) fn is_under_way(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    /// Returns true if something has happened since the last call.
    pub(crate) fn take(&self) -> bool {
        self.happened.swap(false, Ordering::Relaxed)
    }
}
