//! The virtual clock: a time and an ordered queue of timers.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use kernel::{time::Instant, world::Sleep};

use crate::{interpose, trace};

/// A host of the simulation, by its place in the order of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostId(pub(crate) usize);

impl HostId {
    /// First in every step.
    pub(crate) const CLIENT: Self = Self(0);

    /// The host of `server-{index}`.
    pub(crate) fn server(index: usize) -> Self {
        Self(index + 1)
    }

    /// As records call it.
    pub(crate) fn name(self) -> String {
        self.0.checked_sub(1).map_or_else(|| "client".to_owned(), kernel::scenario::server_name)
    }
}

/// Every sleep, deadline, arrival, service time, link delay and fault of a simulation is a timer in here. Timers due at
/// one instant fire in the order they were set in, so ties are no matter of chance.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// In nanoseconds. Moved on under the lock; read without, as hosts look at it many times a request.
    now: AtomicU64,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    /// By deadline, then by the order they were set in.
    pending: BTreeMap<(Instant, u64), Due>,
    set: u64,
    /// The hosts that have yet to come to rest at this instant. `None` if any may have to: then no host may go on by
    /// itself until the driver has moved the clock.
    busy: Option<Vec<HostId>>,
    /// Woken when a host may go on, by host.
    watchers: Vec<Option<Waker>>,
}

#[derive(Debug)]
struct Due {
    /// On whose behalf.
    host: HostId,
    waker: Waker,
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// Completes once the clock has reached `at`, for a task of `host`.
    pub(crate) fn sleep_until(self: &Arc<Self>, host: HostId, at: Instant) -> Sleep {
        Box::pin(Timer { clock: self.clone(), host, at, key: None })
    }

    /// Has `waker`, of `host`, woken at `at`, whatever becomes of its task until then.
    pub(crate) fn wake_at(&self, host: HostId, at: Instant, waker: Waker) {
        let mut timers = self.timers();
        timers.set += 1;
        let key = (at, timers.set);
        timers.pending.insert(key, Due { host, waker });
    }

    /// Has `waker` woken the next time that `host` may go on by itself.
    pub(crate) fn watch(&self, host: HostId, waker: &Waker) {
        let watchers = &mut self.timers().watchers;
        if watchers.len() <= host.0 {
            watchers.resize(host.0 + 1, None);
        }
        watchers[host.0] = Some(waker.clone());
    }

    /// Moves on to the next deadline and fires its timers, between two steps. False if no timer is set.
    pub(crate) fn advance(&self) -> bool {
        let mut timers = self.timers();
        timers.busy = Some(Vec::new());
        self.fire(timers)
    }

    /// Says that any host may have something to do at this instant.
    pub(crate) fn disturb(&self) {
        self.timers().busy = None;
    }

    /// Moves on to the next deadline and fires its timers, in the turn of `host`, which has come to rest. False if
    /// another host has not, or has a timer of its own at that deadline.
    pub(crate) fn go_on(&self, host: HostId) -> bool {
        let mut timers = self.timers();
        let Some(busy) = &mut timers.busy else { return false };
        busy.retain(|other| *other != host);
        if !busy.is_empty() {
            return false;
        }
        let Some((&(deadline, _), first)) = timers.pending.first_key_value() else { return false };
        let others = |((at, _), due): (&(Instant, u64), &Due)| *at == deadline && due.host != host;
        if first.host != host {
            // Its turn may yet come in this step.
            let next = first.host;
            let watcher = timers.watchers.get_mut(next.0).and_then(Option::take);
            drop(timers);
            watcher.into_iter().for_each(Waker::wake);
            return false;
        }
        if timers.pending.iter().take_while(|((at, _), _)| *at == deadline).any(others) {
            return false;
        }
        self.fire(timers)
    }

    /// Fires the timers of the next deadline, and has their hosts watched. False if there is none.
    fn fire(&self, mut timers: MutexGuard<'_, Timers>) -> bool {
        let Some((&(deadline, _), _)) = timers.pending.first_key_value() else { return false };
        self.now.store(deadline.as_nanos(), Ordering::Relaxed);
        interpose::set_now(deadline);
        let mut due = Vec::new();
        #[cfg(feature = "canaries")]
        timers.tie_by_address(deadline);
        while let Some(entry) = timers.pending.first_entry().filter(|entry| entry.key().0 == deadline) {
            let Due { host, waker } = entry.remove();
            trace::note(Some(host), || "a timer fires".to_owned());
            due.push(waker);
            let Timers { busy: Some(busy), watchers, .. } = &mut *timers else { continue };
            if !busy.contains(&host) {
                busy.push(host);
                due.extend(watchers.get_mut(host.0).and_then(Option::take));
            }
        }
        // A waker may drop a task, and with it a timer, which takes the lock.
        drop(timers);
        due.into_iter().for_each(Waker::wake);
        true
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "canaries")]
impl Timers {
    /// Puts what is due at `deadline` into the order of addresses, if that leak is planted.
    fn tie_by_address(&mut self, deadline: Instant) {
        if !crate::canary::is(crate::canary::Canary::TimerTies) {
            return;
        }
        let keys: Vec<_> = self.pending.keys().take_while(|(at, _)| *at == deadline).copied().collect();
        let mut due: Vec<Due> = keys.iter().filter_map(|key| self.pending.remove(key)).collect();
        due.sort_by_key(|due| due.waker.data().addr());
        self.pending.extend(keys.into_iter().zip(due));
    }
}

struct Timer {
    clock: Arc<Clock>,
    host: HostId,
    at: Instant,
    /// Its place in the queue, while it is in there.
    key: Option<(Instant, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut timers = this.clock.timers();
        if this.clock.now() >= this.at {
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
        let due = || Due { host: this.host, waker: cx.waker().clone() };
        timers.pending.entry(key).or_insert_with(due).waker.clone_from(cx.waker());
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
    use std::{sync::atomic::AtomicUsize, task::Wake, time::Duration};

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
        let mut sleeps: Vec<_> = [30, 10, 20, 10].map(|millis| clock.sleep_until(HostId::CLIENT, at(millis))).into();
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
        let mut sleep = clock.sleep_until(HostId::CLIENT, at(10));
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
        let mut sleep = clock.sleep_until(HostId::CLIENT, at(10));
        for count in &counts {
            let waker = Waker::from(count.clone());
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        clock.advance();
        assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
