//! Shows on a terminal how far a simulation has come, if it takes long.

use std::{
    io::{IsTerminal, stderr},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Nobody minds a wait this short.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs `work`. `now` is the virtual time it has reached, in nanoseconds, and `duration` the time it is going to.
pub(crate) fn shown<T: Send>(duration: Duration, now: &AtomicU64, work: impl FnOnce() -> T + Send) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let (done, finished) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let result = work();
            drop(done);
            result
        });
        show_until(&finished, duration, now);
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns when the other end of `finished` is gone.
fn show_until(finished: &mpsc::Receiver<()>, duration: Duration, now: &AtomicU64) {
    if finished.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
        return;
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} s simulated, {eta} left")
        .expect("the template is well-formed");
    let bar = ProgressBar::new(duration.as_secs()).with_style(style);
    while finished.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
        bar.set_position(now.load(Ordering::Relaxed) / 1_000_000_000);
    }
    bar.finish_and_clear();
}
