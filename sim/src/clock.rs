//! The virtual clock: a time and an ordered queue of timers.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use kernel::{time::Instant, world::Sleep};

use crate::interpose;

/// Every sleep, deadline, arrival, service time, link delay and fault of a simulation is a timer in here. Timers due at
/// one instant fire in the order they were set in, so ties are no matter of chance.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    now: Instant,
    /// By deadline, then by the order they were set in.
    pending: BTreeMap<(Instant, u64), Waker>,
    set: u64,
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        self.timers().now
    }

    /// Completes once the clock has reached `at`.
    pub(crate) fn sleep_until(self: &Arc<Self>, at: Instant) -> Sleep {
        Box::pin(Timer { clock: self.clone(), at, key: None })
    }

    /// Has `waker` woken at `at`, whatever becomes of its task until then.
    pub(crate) fn wake_at(&self, at: Instant, waker: Waker) {
        let mut timers = self.timers();
        timers.set += 1;
        let key = (at, timers.set);
        timers.pending.insert(key, waker);
    }

    /// Moves on to the next deadline and fires its timers. False if no timer is set.
    pub(crate) fn advance(&self) -> bool {
        let mut timers = self.timers();
        let Some((&(deadline, _), _)) = timers.pending.first_key_value() else { return false };
        timers.now = deadline;
        interpose::set_now(deadline);
        let later = timers.pending.split_off(&(deadline, u64::MAX));
        let due = std::mem::replace(&mut timers.pending, later);
        // A waker may drop a task, and with it a timer, which takes the lock.
        drop(timers);
        due.into_values().for_each(Waker::wake);
        true
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Timer {
    clock: Arc<Clock>,
    at: Instant,
    /// Its place in the queue, while it is in there.
    key: Option<(Instant, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut timers = this.clock.timers();
        if timers.now >= this.at {
            // What fired is gone from the queue; what was never due is not.
            this.key.take().map(|key| timers.pending.remove(&key));
            return Poll::Ready(());
        }
        if this.at == Instant::NEVER {
            return Poll::Pending;
        }
        let key = *this.key.get_or_insert_with(|| {
            timers.set += 1;
            (this.at, timers.set)
        });
        timers.pending.entry(key).or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.clock.timers().pending.remove(&key);
            // Dropped after the lock: it may hold the last reference to a task with timers of its own.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering, task::Wake, time::Duration};

    use super::*;

    /// Notes the order in which wakers fire.
    struct Note(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    #[test]
    fn timers_fire_by_deadline_and_ties_in_the_order_they_were_set_in() {
        let (clock, order) = (Arc::new(Clock::default()), Arc::default());
        let mut sleeps: Vec<_> = [30, 10, 20, 10].map(|millis| clock.sleep_until(at(millis))).into();
        for (number, sleep) in sleeps.iter_mut().enumerate() {
            let waker = Waker::from(Arc::new(Note(number, Arc::clone(&order))));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let mut times = Vec::new();
        while clock.advance() {
            times.push(clock.now());
        }
        assert_eq!(*order.lock().unwrap(), [1, 3, 2, 0]);
        assert_eq!(times, [at(10), at(20), at(30)]);
    }

    #[test]
    fn a_dropped_timer_does_not_hold_up_the_clock() {
        let clock = Arc::new(Clock::default());
        let mut sleep = clock.sleep_until(at(10));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(sleep);
        assert!(!clock.advance());
        assert_eq!(clock.now(), Instant::START);
    }

    #[test]
    fn a_timer_wakes_the_task_that_polled_it_last() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let clock = Arc::new(Clock::default());
        let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
        let mut sleep = clock.sleep_until(at(10));
        for count in &counts {
            let waker = Waker::from(count.clone());
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        clock.advance();
        assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
