//! The thread that a simulation has for itself.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use kernel::{cli::Exit, entropy::branch::Branch, memory, time::Instant};

use crate::{error::SimulationError, interpose::Interposed, planted::planted};

/// The flag that ends the simulations of this process, if it has one.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Time between two looks at the flag.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Ends all simulations of this process within a tenth of a second after `stop` was set, as at a limit: what they have recorded is
/// kept. A signal handler can set it. Of several calls the first one counts.
pub fn stop_when(stop: Arc<AtomicBool>) {
    STOP.get_or_init(|| stop);
}

/// Returns whether the simulations of this process must end.
pub(crate) fn is_interrupted() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Relaxed))
}

/// The longest real time in which no timer of a simulation fires. What happens at one instant takes some seconds at most.
const STUCK_AFTER: Duration = Duration::from_secs(5 * 60);

/// The real time that a simulation has to end itself when it has taken too long, or is interrupted.
const GRACE: Duration = Duration::from_secs(30);

/// The state that a simulation shares with the thread that waits for it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The simulation has taken too long, and must end itself.
    overtime: AtomicBool,
    /// Timers that have fired.
    fired: AtomicU64,
    /// Virtual time of the last one, in nanoseconds.
    at: AtomicU64,
}

impl Watch {
    /// Counts a timer that fires at `at`. Only the thread of the simulation does.
    pub(crate) fn timer_fires(&self, at: Instant) {
        self.fired.store(self.fired() + 1, Relaxed);
        self.at.store(at.as_nanos(), Relaxed);
    }

    /// Returns the number of timers that have fired.
    pub(crate) fn fired(&self) -> u64 {
        self.fired.load(Relaxed)
    }

    /// Returns true once the simulation has taken too long.
    pub(crate) fn is_overtime(&self) -> bool {
        self.overtime.load(Relaxed)
    }

    /// Waits until the simulation has `ended`, for `real_time`, and as soon as it has taken longer or is interrupted, says so and waits for
    /// `grace` more. Returns false if it goes on even then, or if no timer fires for `stuck_after`: code in it does not return.
    ///
    /// Time is counted in short waits, so that a process that was stopped has not been waiting meanwhile.
    fn ends(&self, ended: &Receiver<()>, real_time: Duration, grace: Duration, stuck_after: Duration) -> bool {
        let mut left = real_time;
        let mut calm = Duration::ZERO;
        let mut fired = self.fired();
        loop {
            let wait = LOOK_INTERVAL.min(left);
            if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return true;
            }
            left -= wait;
            calm = if self.fired() == fired { calm + wait } else { Duration::ZERO };
            fired = self.fired();
            let is_over = left.is_zero() || (!self.is_overtime() && is_interrupted());
            if calm >= stuck_after || (is_over && self.is_overtime()) {
                return false;
            }
            if is_over {
                self.overtime.store(true, Relaxed);
                left = grace;
            }
        }
    }
}

/// Ends this process: a thread that computes for ever cannot be ended by itself.
#[expect(clippy::print_stderr, reason = "there is no caller to return an error to")]
fn exit_stuck(watch: &Watch) -> ! {
    let at = Instant::from_nanos(watch.at.load(Relaxed));
    eprintln!(
        "error: the simulation is stuck at {at} of virtual time: code of a service, a load or a workload does not return. A loop without an end \
         needs a `host.sleep`, and work that takes this long belongs into smaller parts"
    );
    std::process::exit(Exit::RunFailed as i32)
}

/// Runs `simulate` on a new thread that sees the virtual clock and the randomness of `seed`.
///
/// The thread is new because thread-local variables that another simulation has left behind could make a difference. If the
/// simulation takes longer than the real time beside `watch`, or is interrupted, it must end itself. One that is stuck in code that does not
/// return ends the process.
pub(crate) fn on_own_thread<T: Send>(
    (seed, branches): (u64, &[Branch]),
    (real_time, watch): (Duration, &Watch),
    simulate: impl FnOnce() -> Result<T, SimulationError> + Send,
) -> Result<T, SimulationError> {
    if planted!(Canary::SharedThread) {
        let _interposed = Interposed::enter(seed, branches);
        return simulate();
    }
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("simulation".to_owned()).spawn_scoped(scope, move || {
            let _running = running;
            let _interposed = Interposed::enter(seed, branches);
            memory::keep();
            simulate()
        });
        let spawned = spawned.map_err(|error| SimulationError::Failed(format!("no thread for it: {error}")))?;
        // The simulation's own thread cannot measure it: the clock that it sees is virtual.
        if !watch.ends(&ended, real_time, GRACE, STUCK_AFTER) {
            exit_stuck(watch);
        }
        let joined = spawned.join();
        joined.unwrap_or_else(|_| Err(SimulationError::panicked()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_simulation_that_ends_is_not_stuck() {
        let watch = Watch::default();
        let (running, ended) = mpsc::channel();
        drop(running);
        assert!(watch.ends(&ended, NEVER, NEVER, NEVER) && !watch.is_overtime());
    }

    #[test]
    fn a_simulation_that_takes_too_long_is_asked_to_end_first() {
        let watch = Watch::default();
        let (running, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let simulation = scope.spawn(|| {
                while !watch.is_overtime() {
                    thread::yield_now();
                }
                drop(running);
            });
            assert!(watch.ends(&ended, SHORT, NEVER, NEVER));
            simulation.join().unwrap();
        });
    }

    #[test]
    fn code_that_does_not_return_is_stuck_after_the_grace_or_without_timers() {
        let (_running, ended) = mpsc::channel();
        let late = Watch::default();
        assert!(!late.ends(&ended, SHORT, SHORT, NEVER) && late.is_overtime());
        let calm = Watch::default();
        assert!(!calm.ends(&ended, NEVER, NEVER, SHORT) && !calm.is_overtime());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what is watched is real time")]
    fn timers_that_fire_show_that_a_simulation_is_not_stuck() {
        let watch = Watch::default();
        let (running, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let simulation = scope.spawn(|| {
                for _ in 0..20 {
                    watch.timer_fires(Instant::START + SHORT);
                    thread::sleep(LOOK_INTERVAL / 5);
                }
                drop(running);
            });
            assert!(watch.ends(&ended, NEVER, NEVER, 4 * LOOK_INTERVAL));
            simulation.join().unwrap();
        });
        assert_eq!((watch.fired(), watch.at.load(Relaxed)), (20, SHORT.as_nanos() as u64));
    }
}
