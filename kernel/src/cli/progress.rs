//! Progress on standard error. Nothing is drawn where it is not a terminal.

use std::{
    io::{IsTerminal, stderr},
    sync::mpsc,
    thread,
    time::Duration,
};

pub use indicatif::ProgressBar;
use indicatif::ProgressStyle;

/// The time that work may take before its progress is shown.
const DELAY: Duration = Duration::from_secs(2);

/// Time between two updates.
const TICK: Duration = Duration::from_millis(100);

/// Returns a bar of `total` steps that looks like `template`, in indicatif's notation.
///
/// # Panics
/// The template is malformed.
pub fn bar(total: u64, template: &str) -> ProgressBar {
    ProgressBar::new(total).with_style(style(template))
}

/// Returns a bar of this time, for [`advance`], that looks like `template`, in indicatif's notation.
///
/// # Panics
/// The template is malformed.
pub fn time_bar(total: Duration, template: &str) -> ProgressBar {
    bar(millis(total), template)
}

/// Advances a bar of [`time_bar`] by this time.
pub fn advance(bar: &ProgressBar, time: Duration) {
    bar.inc(millis(time));
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a spinner that looks like `template`, in indicatif's notation, and turns by itself.
///
/// # Panics
/// The template is malformed.
pub fn spinner(template: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_style(style(template));
    spinner.enable_steady_tick(TICK);
    spinner
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

/// Runs `work` on another thread and returns its result. If it takes longer than two seconds on a terminal, the progress
/// bar that `bar` returns is shown and updated by `update` until it is done.
///
/// # Panics
/// `work` panics.
pub fn while_working<T: Send>(
    bar: impl FnOnce() -> ProgressBar,
    update: impl Fn(&ProgressBar),
    work: impl FnOnce() -> T + Send,
) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let (running, finished) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let result = work();
            drop(running);
            result
        });
        if !is_finished(&finished, DELAY) {
            let bar = bar();
            while !is_finished(&finished, TICK) {
                update(&bar);
            }
            bar.finish_and_clear();
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Waits for at most `wait`, and returns whether the sender of `finished` is gone by then.
fn is_finished(finished: &mpsc::Receiver<()>, wait: Duration) -> bool {
    finished.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_returns_its_result() {
        assert_eq!(while_working(|| bar(1, "{bar:40} {pos} of {len}"), |bar| bar.inc(1), || 7), 7);
    }

    #[test]
    fn a_bar_starts_at_nothing_and_a_spinner_has_no_length() {
        assert_eq!((bar(9, "{pos} of {len}").position(), bar(9, "{pos}").length()), (0, Some(9)));
        assert_eq!(spinner("{spinner} {msg}").length(), None);
    }
}
