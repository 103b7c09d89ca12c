//! Timers with an accuracy of about ten microseconds.
//!
//! tokio's timers round up to whole milliseconds, which is longer than a request takes. These are a queue, and a thread
//! that waits for its first entry.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU64,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use kernel::sync::{ignore_poison, lock};

use crate::clock::machine_ns;

/// All timers of a process. Clones share them; the thread ends after the last clone and the last sleep are dropped.
#[derive(Clone)]
pub(crate) struct Timer {
    owner: Arc<Owner>,
}

/// Ends the thread when it is dropped.
struct Owner {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    /// Wakes the thread if it would be late, or to end. Most timers are timeouts that are dropped long before they expire;
    /// to wake the thread for each of them would cost more than the rest of a short call.
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Wakers by time, then in the order in which they were set.
    wakers: BTreeMap<TimerKey, Waker>,
    /// Number of timers set so far.
    set: u64,
    /// Time at which the thread checks the queue next; 0 while it does.
    looks_at: u64,
    orphaned: bool,
}

/// Expiry in nanoseconds since the machine started, and the number of the timer.
type TimerKey = (u64, u64);

impl Timer {
    /// Starts the thread. Fails if the operating system allows no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let waiting = queue.clone();
        thread::Builder::new().name("timer".to_owned()).spawn(move || waiting.wake_in_time())?;
        Ok(Self { owner: Arc::new(Owner { queue }) })
    }

    /// Completes `at` nanoseconds after the machine started; at once if that time has passed.
    pub(crate) fn sleep_until(&self, at: u64) -> Sleep {
        Sleep { timer: self.clone(), at, key: None }
    }
}

/// A timer as a future.
pub(crate) struct Sleep {
    timer: Timer,
    at: u64,
    /// Key of its entry in the queue, after the first poll.
    key: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let queue = self.timer.owner.queue.clone();
        let mut state = queue.state();
        if let Some(key) = self.key {
            // The thread has removed the entry: the timer has expired.
            let Some(waker) = state.wakers.get_mut(&key) else { return Poll::Ready(()) };
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        // A timer that expires after the thread's next check cannot have expired: no look at the clock, no wake-up.
        if at < state.looks_at {
            if machine_ns() >= at {
                return Poll::Ready(());
            }
            queue.changed.notify_one();
        }
        state.set += 1;
        let key = (at, state.set);
        state.wakers.insert(key, cx.waker().clone());
        drop(state);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timer.owner.queue.state().wakers.remove(&key);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.state().orphaned = true;
        self.queue.changed.notify_one();
    }
}

impl Queue {
    /// Runs the thread: it wakes the tasks of expired timers, and waits for the next one.
    fn wake_in_time(&self) {
        // By default Linux lets a thread wait up to 50 µs longer than it asked for, to save power.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut state = self.state();
        while !state.orphaned {
            let now = machine_ns();
            let later = state.wakers.split_off(&(now + 1, 0));
            let expired = std::mem::replace(&mut state.wakers, later);
            if !expired.is_empty() {
                // Not under the lock: a waker can run code that sets a timer.
                drop(state);
                expired.into_values().for_each(Waker::wake);
                state = self.state();
                continue;
            }
            state.looks_at = state.wakers.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            state = match state.looks_at {
                u64::MAX => ignore_poison(self.changed.wait(state)),
                at => {
                    let wait = Duration::from_nanos(at - now);
                    ignore_poison(self.changed.wait_timeout(state, wait)).0
                }
            };
            state.looks_at = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Wake};

    use tokio::runtime::Runtime;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A waker that records the order in which wakers are called.
    struct RecordingWaker {
        place: u64,
        order: Arc<Mutex<Vec<u64>>>,
    }

    impl Wake for RecordingWaker {
        fn wake(self: Arc<Self>) {
            self.order.lock().unwrap().push(self.place);
        }
    }

    #[test]
    fn a_timer_is_never_early_and_hardly_late() {
        let timer = Timer::start().unwrap();
        let runtime = Runtime::new().unwrap();
        let mut late: Vec<_> = (0..200)
            .map(|_| {
                let at = machine_ns() + MS / 3;
                runtime.block_on(timer.sleep_until(at));
                machine_ns().checked_sub(at).expect("it is not early")
            })
            .collect();
        late.sort_unstable();
        // Loose, as other tests run at the same time. tokio's timers would be 0.67 ms late at least.
        assert!(late[100] < MS / 2, "a median of {} ns", late[100]);
    }

    #[test]
    fn timers_complete_in_the_order_of_their_times() {
        let timer = Timer::start().unwrap();
        let runtime = Runtime::new().unwrap();
        // Long enough for all to be set before the first expires. The order of the wake-ups is the timer's; the runtime
        // chooses the order in which it polls the tasks.
        let start = machine_ns() + 300 * MS;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut sleeps = [3, 1, 2, 0].map(|place| (place, Box::pin(timer.sleep_until(start + place * 2 * MS))));
        for (place, sleep) in &mut sleeps {
            let waker = Arc::new(RecordingWaker { place: *place, order: order.clone() }).into();
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        runtime.block_on(timer.sleep_until(start + 8 * MS));
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_dropped_timer_leaves_no_entry_and_a_past_one_does_not_wait() {
        let timer = Timer::start().unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut sleep = Box::pin(timer.sleep_until(u64::MAX));
            let pending = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await;
            assert!(pending);
            assert_eq!(timer.owner.queue.state().wakers.len(), 1);
            drop(sleep);
            assert!(timer.owner.queue.state().wakers.is_empty());
            timer.sleep_until(machine_ns()).await;
        });
    }
}
