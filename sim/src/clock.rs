//! The virtual clock: a time and an ordered queue of timers.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use kernel::{
    sync::lock,
    time::Instant,
    world::{Calm, Sleep},
};

use crate::{
    host_id::{HostId, MachineId},
    interpose,
    planted::planted,
    thread::Watch,
    trace, virtual_time,
};

/// Holds the virtual time and every timer of a simulation: each sleep, deadline, arrival, service time, link delay and
/// fault is one. Timers with the same deadline fire in the order in which they were set, so ties are no matter of chance.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Virtual time in nanoseconds. It is stored under the lock, and read without it, as hosts read it many times for
    /// each request.
    now: AtomicU64,
    /// The bounds beyond which only the driver moves the clock, since it ends the simulation there.
    bounds: ClockBounds,
    timers: Mutex<Timers>,
}

/// How far machines may move the clock by themselves.
#[derive(Debug)]
pub(crate) struct ClockBounds {
    /// The latest time.
    pub(crate) until: Instant,
    /// Most timers that fire.
    pub(crate) timers: u64,
    /// The watch that the thread that waits for the simulation reads, and that it sets when the simulation has taken too long.
    pub(crate) watch: Arc<Watch>,
}

impl Default for ClockBounds {
    fn default() -> Self {
        Self { until: Instant::NEVER, timers: u64::MAX, watch: Arc::default() }
    }
}

#[derive(Debug, Default)]
struct Timers {
    /// Timers by deadline, then by the order in which they were set.
    pending: BTreeMap<(Instant, u64), PendingTimer>,
    /// Timers set so far.
    set: u64,
    /// Timers that have fired and were no idle sleeps, and the time of the last one.
    happened: (u64, Instant),
    /// The machines that are not yet idle at this instant. `None` if the instant is dirty, that is, any machine may have
    /// something to do: then none may move the clock by itself until the driver has moved it.
    busy: Option<Vec<MachineId>>,
    /// Empty, with the room that the wakers of one deadline took.
    due: Vec<Waker>,
    /// The wakers to wake when a machine may move the clock, by machine.
    watchers: Vec<Option<Waker>>,
}

#[derive(Debug)]
struct PendingTimer {
    /// The host whose timer it is.
    host: HostId,
    /// It is of a task that only watches others.
    is_idle: bool,
    waker: Waker,
}

impl Clock {
    /// Creates a clock that machines move within `bounds` only.
    pub(crate) fn within(bounds: ClockBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Returns how many timers have fired.
    pub(crate) fn fired(&self) -> u64 {
        self.bounds.watch.fired()
    }

    /// Returns true once the simulation has taken too long.
    pub(crate) fn is_overtime(&self) -> bool {
        self.bounds.watch.is_overtime()
    }

    /// Returns the virtual time.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// Returns a future for a task of `host` that completes once the clock has reached `at`.
    pub(crate) fn sleep_until(self: &Arc<Self>, host: HostId, at: Instant) -> Sleep {
        Box::pin(Timer { clock: self.clone(), host, is_idle: false, at, key: None })
    }

    /// Returns the same for a task that only watches others; see [`Calm`].
    pub(crate) fn sleep_idly_until(self: &Arc<Self>, host: HostId, at: Instant) -> Sleep {
        Box::pin(Timer { clock: self.clone(), host, is_idle: true, at, key: None })
    }

    /// Returns what the timers say of the time until something happens.
    pub(crate) fn calm(&self) -> Calm {
        let timers = self.timers();
        let next = timers.pending.iter().find(|(_, timer)| !timer.is_idle);
        let until = next.map_or(Instant::NEVER, |((at, _), _)| *at);
        let (happened, since) = timers.happened;
        Calm { happened, since, until }
    }

    /// Sets a timer of `host` that wakes `waker` at `at`. It cannot be cancelled.
    pub(crate) fn wake_at(&self, host: HostId, at: Instant, waker: Waker) {
        let mut timers = self.timers();
        timers.set += 1;
        let key = (at, timers.set);
        timers.pending.insert(key, PendingTimer { host, is_idle: false, waker });
    }

    /// Drops all timers, at the end of a simulation. What they wake may own this clock.
    pub(crate) fn clear(&self) {
        let pending = std::mem::take(&mut self.timers().pending);
        // The lock is not held: a task that is dropped drops timers of its own.
        drop(pending);
    }

    /// Wakes `waker` the next time that `machine` may move the clock by itself.
    pub(crate) fn watch(&self, machine: MachineId, waker: &Waker) {
        let watchers = &mut self.timers().watchers;
        if watchers.len() <= machine.0 {
            watchers.resize(machine.0 + 1, None);
        }
        watchers[machine.0] = Some(waker.clone());
    }

    /// Moves to the next deadline and fires its timers, between two steps. Returns false if no timer is set.
    pub(crate) fn advance(&self) -> bool {
        let mut timers = self.timers();
        timers.busy = Some(Vec::new());
        self.fire(timers)
    }

    /// Marks this instant as dirty: any machine may have something to do, so only the driver may move the clock.
    pub(crate) fn mark_dirty(&self) {
        self.timers().busy = None;
    }

    /// Moves to the next deadline and fires its timers, in the turn of `machine`, which is idle. Returns false, and does
    /// not move, if another machine is not idle or has a timer at that deadline.
    pub(crate) fn go_on(&self, machine: MachineId) -> bool {
        let mut timers = self.timers();
        let Some(busy) = &mut timers.busy else { return false };
        busy.retain(|other| *other != machine);
        if !busy.is_empty() {
            return false;
        }
        let Some((&(deadline, _), first)) = timers.pending.first_key_value() else { return false };
        if first.host.machine != machine {
            // The turn of the next timer's machine may still come in this step; it can then move the clock itself.
            let next = first.host.machine;
            let watcher = timers.watchers.get_mut(next.0).and_then(Option::take);
            drop(timers);
            watcher.into_iter().for_each(Waker::wake);
            return false;
        }
        if timers
            .pending
            .iter()
            .take_while(|((at, _), _)| *at == deadline)
            .any(|(_, timer)| timer.host.machine != machine)
        {
            return false;
        }
        // A machine that goes on and on within one turn would never let the driver look at the limits.
        if deadline > self.bounds.until || self.fired() > self.bounds.timers || self.is_overtime() {
            return false;
        }
        self.fire(timers)
    }

    /// Fires the timers of the next deadline, and wakes the watchers of their machines. Returns false if no timer is set.
    fn fire(&self, mut timers: MutexGuard<'_, Timers>) -> bool {
        let Some((&(deadline, _), _)) = timers.pending.first_key_value() else { return false };
        self.now.store(deadline.as_nanos(), Ordering::Relaxed);
        virtual_time::set(deadline);
        interpose::pass_branches(deadline);
        let mut due = std::mem::take(&mut timers.due);
        if planted!(Canary::TimerTies) {
            timers.sort_ties_by_address(deadline);
        }
        while let Some(entry) = timers.pending.first_entry().filter(|entry| entry.key().0 == deadline) {
            let PendingTimer { host, is_idle, waker } = entry.remove();
            trace::note(Some(host), || "a timer fires".to_owned());
            self.bounds.watch.timer_fires(deadline);
            if !is_idle {
                timers.happened = (timers.happened.0 + 1, deadline);
            }
            due.push(waker);
            let Timers { busy: Some(busy), watchers, .. } = &mut *timers else { continue };
            if !busy.contains(&host.machine) {
                busy.push(host.machine);
                due.extend(watchers.get_mut(host.machine.0).and_then(Option::take));
            }
        }
        // A waker may drop a task, and with it a timer, whose drop takes the lock.
        drop(timers);
        due.drain(..).for_each(Waker::wake);
        self.timers().due = due;
        true
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        lock(&self.timers)
    }
}

impl Timers {
    /// Sorts the timers of `deadline` by the addresses of their wakers: a planted leak.
    fn sort_ties_by_address(&mut self, deadline: Instant) {
        let keys: Vec<_> = self.pending.keys().take_while(|(at, _)| *at == deadline).copied().collect();
        let mut due: Vec<PendingTimer> = keys.iter().filter_map(|key| self.pending.remove(key)).collect();
        due.sort_by_key(|due| due.waker.data().addr());
        self.pending.extend(keys.into_iter().zip(due));
    }
}

/// The future of a sleep.
struct Timer {
    clock: Arc<Clock>,
    host: HostId,
    is_idle: bool,
    at: Instant,
    /// Key of its entry in the queue, if it has been polled before its deadline.
    key: Option<(Instant, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut timers = this.clock.timers();
        if this.clock.now() >= this.at {
            // A timer that fired has left the queue already. Any other must not stay there when its task is done with it.
            if let Some(key) = this.key.take() {
                timers.pending.remove(&key);
            }
            return Poll::Ready(());
        }
        // A timer that never fires would have the driver move the clock to the end of time instead of reporting a
        // standstill.
        if this.at == Instant::NEVER {
            return Poll::Pending;
        }
        let key = *this.key.get_or_insert_with(|| {
            timers.set += 1;
            (this.at, timers.set)
        });
        let entry = timers.pending.entry(key);
        let pending =
            entry.or_insert_with(|| PendingTimer { host: this.host, is_idle: this.is_idle, waker: cx.waker().clone() });
        pending.waker.clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.clock.timers().pending.remove(&key);
            // The waker is dropped after the lock: it may hold the last reference to a task with timers of its own.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake, time::Duration};

    use super::*;

    /// A waker that adds its number to a list when it is woken.
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
    fn timers_fire_by_deadline_and_ties_fire_in_the_order_in_which_they_were_set() {
        let clock = Arc::new(Clock::default());
        let order = Arc::default();
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
    fn idle_sleeps_do_not_count_as_something_that_happens() {
        let clock = Arc::new(Clock::default());
        let mut idle = clock.sleep_idly_until(HostId::CLIENT, at(10));
        let mut sleep = clock.sleep_until(HostId::server(0), at(20));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(idle.as_mut().poll(&mut cx).is_pending() && sleep.as_mut().poll(&mut cx).is_pending());
        assert_eq!(clock.calm(), Calm { happened: 0, since: at(0), until: at(20) });
        clock.advance();
        assert_eq!((clock.now(), clock.calm()), (at(10), Calm { happened: 0, since: at(0), until: at(20) }));
        clock.advance();
        assert_eq!((clock.now(), clock.calm()), (at(20), Calm { happened: 1, since: at(20), until: Instant::NEVER }));
        clock.wake_at(HostId::CLIENT, at(30), Waker::noop().clone());
        assert_eq!(clock.calm().until, at(30));
    }

    #[test]
    fn a_dropped_timer_does_not_fire() {
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
