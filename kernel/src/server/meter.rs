//! The meter: how long the code of a service computes, measured for a calibration.

use std::{future::poll_fn, pin::pin, time::Duration};

use crate::{
    record::{AttemptId, Event, Recorder},
    world::World,
};

/// Records that a computation took `time`: what it was, and its units.
pub(crate) fn record_computing(recorder: &Recorder, attempt: AttemptId, (what, units): (&str, u64), time: Duration) {
    let event = recorder.event(Event::Computed).of_attempt(attempt);
    event.cause(format!("{what} {units}")).duration(time).record();
}

/// Runs `code`, and returns its result with its self time: the time within its polls, without those in which it waits.
pub(super) async fn metered<T>(world: &dyn World, code: impl Future<Output = T>) -> (T, Duration) {
    let mut code = pin!(code);
    let mut time = Duration::ZERO;
    let result = poll_fn(|cx| {
        let began = world.now();
        let polled = code.as_mut().poll(cx);
        time += world.now().since(began);
        polled
    })
    .await;
    (result, time)
}
