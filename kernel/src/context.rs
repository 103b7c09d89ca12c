//! The attempt on whose behalf code of a user runs, known to it without being passed.
//!
//! It is a thread-local variable that is set around each poll of the code, so it is right on the threads of any runtime.

use std::{
    cell::RefCell,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task,
};

use crate::{
    record::{AttemptId, CallId, Name},
    sync::lock,
    time::Instant,
};

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// On whose behalf code runs. Its clones count the computations and the calls together.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    attempt: AttemptId,
    /// The time by which the attempt has to be answered.
    deadline: Instant,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    computations: AtomicU32,
    /// Calls so far, by the service that was called.
    calls: Mutex<Vec<(Name, u32)>>,
}

impl Context {
    pub(crate) fn of_attempt(attempt: AttemptId) -> Self {
        Self { attempt, deadline: Instant::NEVER, counts: Arc::default() }
    }

    /// Returns the context, which has to end at `deadline`.
    pub(crate) fn until(self, deadline: Instant) -> Self {
        Self { deadline, ..self }
    }

    /// Returns the context of the code that is being polled on this thread.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(crate) fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Returns the number of computations before this one, which is counted.
    pub(crate) fn next_computation(&self) -> u32 {
        self.counts.computations.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the time by which the attempt has to be answered; [`Instant::NEVER`] if there is none.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the next call of `service`, which is counted.
    pub(crate) fn next_call(&self, service: &Name) -> CallId {
        let mut calls = lock(&self.counts.calls);
        let before = match calls.iter_mut().find(|(name, _)| name == service) {
            Some((_, count)) => std::mem::replace(count, *count + 1),
            None => {
                calls.push((service.clone(), 1));
                0
            }
        };
        self.attempt.call.inner(self.attempt.number, service, before)
    }
}

/// Runs `code` on behalf of `context`.
pub(crate) async fn within<T>(context: Context, code: impl Future<Output = T>) -> T {
    let mut code = pin!(code);
    std::future::poll_fn(|cx| poll_within(&context, code.as_mut(), cx)).await
}

fn poll_within<T>(
    context: &Context,
    code: Pin<&mut impl Future<Output = T>>,
    cx: &mut task::Context<'_>,
) -> task::Poll<T> {
    poll_in(context, || code.poll(cx))
}

/// Runs one `poll` of code on behalf of `context`.
pub(crate) fn poll_in<T>(context: &Context, poll: impl FnOnce() -> T) -> T {
    let _reset = Reset(CURRENT.replace(Some(context.clone())));
    poll()
}

/// Restores the context from before a poll, also after a panic.
struct Reset(Option<Context>);

impl Drop for Reset {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures_util::FutureExt;

    use super::*;

    fn context(request: u64) -> Context {
        Context::of_attempt(AttemptId::of_request(request, 1))
    }

    fn current() -> Option<u64> {
        Context::current().and_then(|context| context.attempt().call.request())
    }

    #[test]
    fn code_knows_its_context_after_it_has_waited_and_inside_of_another() {
        let mut code = pin!(within(context(1), async {
            tokio::task::yield_now().await;
            (current(), within(context(2), async { current() }).await, current())
        }));
        assert_eq!((&mut code).now_or_never(), None);
        assert_eq!(current(), None, "between two polls");
        assert_eq!(code.now_or_never(), Some((Some(1), Some(2), Some(1))));
        assert_eq!(current(), None);
    }

    #[test]
    fn a_panic_leaves_no_context() {
        let panicking = within(context(1), async { panic!("planted") });
        assert!(catch_unwind(AssertUnwindSafe(|| panicking.now_or_never())).is_err());
        assert_eq!(current(), None);
    }

    #[test]
    fn clones_count_computations_together() {
        let context = context(1);
        assert_eq!(
            [context.next_computation(), context.clone().next_computation(), context.next_computation()],
            [0, 1, 2]
        );
    }
}
