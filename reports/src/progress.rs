//! Shows on a terminal that work goes on, if it takes long.

use std::{
    io::{IsTerminal, stderr},
    sync::mpsc,
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Nobody minds a wait this short.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does `work`.
pub(crate) fn shown<T: Send>(work: impl FnOnce() -> T + Send) -> T {
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
        if finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            spin_until(&finished);
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns when the other end of `finished` is gone.
fn spin_until(finished: &mpsc::Receiver<()>) {
    let style =
        ProgressStyle::with_template("{spinner} reading and drawing, {elapsed}").expect("the template is well-formed");
    let spinner = ProgressBar::new_spinner().with_style(style);
    while finished.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
        spinner.tick();
    }
    spinner.finish_and_clear();
}
