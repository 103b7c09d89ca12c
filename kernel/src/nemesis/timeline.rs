//! The order of the steps of a fault script.
//!
//! A step is the start or the end of a fault on one server. The steps of a server are played in the order of their scripted
//! instants; at one instant, ends come before starts, and both are in the order of the file. Only a restart at the instant of
//! its own crash (`restart_after = "0s"`) comes after the starts of that instant.
//!
//! A timer that is late, or a killed process that takes its time to exit, would change that order and with it the outcome of
//! both faults. So a step waits for those that are scripted before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Mutex,
    task::{Poll, Waker},
    time::Duration,
};

use crate::{fault::Fault, sync::lock};

/// A step of the script of one server. Steps are played in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    /// The scripted instant, from the start of the run.
    pub(super) at: Duration,
    kind: StepKind,
    /// The index of the fault.
    fault: usize,
}

/// The kinds of steps, in the order in which those of one instant are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StepKind {
    /// The end of a fault that started before.
    End,
    Start,
    /// The end of a fault that started at the same instant.
    EndAtStart,
}

impl Step {
    /// Returns the start of the fault with this index.
    pub(super) fn start(index: usize, fault: &Fault) -> Self {
        Self { at: fault.at, kind: StepKind::Start, fault: index }
    }

    /// Returns the end of the fault with this index; none if it lasts until the run ends, or has no end of its own.
    pub(super) fn end(index: usize, fault: &Fault) -> Option<Self> {
        let lasts = fault.kind.lasts()?;
        let kind = if lasts.is_zero() { StepKind::EndAtStart } else { StepKind::End };
        Some(Self { at: fault.at + lasts, kind, fault: index })
    }
}

/// The steps of one server that have not been played yet.
#[derive(Default)]
pub(super) struct Timeline {
    state: Mutex<TimelineState>,
}

#[derive(Default)]
struct TimelineState {
    steps: BTreeSet<Step>,
    /// The steps that are due and wait for the ones before them.
    waiting: BTreeMap<Step, Waker>,
}

impl Timeline {
    /// Adds the steps of the fault with this index.
    pub(super) fn add(&self, index: usize, fault: &Fault) {
        let steps = &mut lock(&self.state).steps;
        steps.insert(Step::start(index, fault));
        steps.extend(Step::end(index, fault));
    }

    /// Waits until every step before `step` is finished. Returns whether it had to wait.
    pub(super) async fn turn(&self, step: Step) -> bool {
        let mut has_waited = false;
        poll_fn(|cx| {
            let TimelineState { steps, waiting } = &mut *lock(&self.state);
            if steps.first().is_none_or(|first| *first >= step) {
                return Poll::Ready(());
            }
            has_waited = true;
            waiting.insert(step, cx.waker().clone());
            Poll::Pending
        })
        .await;
        has_waited
    }

    /// Removes `step`, which was played or will not be, so that the next one has its turn.
    pub(super) fn finish(&self, step: Step) {
        let next = {
            let TimelineState { steps, waiting } = &mut *lock(&self.state);
            steps.remove(&step);
            steps.first().and_then(|first| waiting.remove(first))
        };
        // After the lock: a waker may run its task at once.
        next.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;
    use crate::fault::FaultKind;

    fn crash(at_ms: u64, restart_ms: u64) -> Fault {
        let restart_after = Some(Duration::from_millis(restart_ms));
        Fault {
            at: Duration::from_millis(at_ms),
            targets: vec![0],
            kind: FaultKind::Crash { restart_after },
            caller: None,
        }
    }

    #[test]
    fn at_one_instant_ends_come_first_then_starts_then_restarts_of_that_instant() {
        let [early, instant, late] = [crash(1_000, 1_000), crash(2_000, 0), crash(2_000, 500)];
        let mut steps = vec![
            ("restart at once", Step::end(1, &instant).unwrap()),
            ("second start", Step::start(2, &late)),
            ("first start", Step::start(1, &instant)),
            ("end of the earlier one", Step::end(0, &early).unwrap()),
            ("last", Step::end(2, &late).unwrap()),
        ];
        steps.sort_by_key(|(_, step)| *step);
        let names: Vec<_> = steps.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["end of the earlier one", "first start", "second start", "restart at once", "last"]);
    }

    #[test]
    fn a_fault_that_lasts_until_the_run_ends_has_no_end() {
        let reset = Fault { kind: FaultKind::Reset { duration: None, share: None }, ..crash(1, 1) };
        assert_eq!(Step::end(0, &reset), None);
        assert_eq!(Step::end(0, &Fault { kind: FaultKind::Freeze { duration: None }, ..reset }), None);
    }

    #[test]
    fn a_step_waits_for_those_before_it_and_for_no_others() {
        let timeline = Timeline::default();
        let [first, second] = [crash(1_000, 500), crash(2_000, 500)];
        timeline.add(0, &first);
        timeline.add(1, &second);
        let mut turn = pin!(timeline.turn(Step::start(1, &second)));
        assert!(turn.as_mut().now_or_never().is_none());
        assert_eq!(timeline.turn(Step::start(0, &first)).now_or_never(), Some(false));
        timeline.finish(Step::start(0, &first));
        assert!(turn.as_mut().now_or_never().is_none(), "the restart is before it, too");
        timeline.finish(Step::end(0, &first).unwrap());
        assert_eq!(turn.now_or_never(), Some(true));
    }
}
