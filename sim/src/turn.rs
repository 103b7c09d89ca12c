//! A machine's turn in a step of turmoil, and how it goes on to later instants by itself.
//!
//! A step visits every machine, which costs about a microsecond each, whether it has something to do or not. But the events
//! of one instant mostly happen on one machine, and the next timer is often one of that machine too: a server computes and
//! completes, a client receives a response and sends the next request. So when a machine is idle and no other has
//! anything left to do at this instant, the clock may move on within this machine's turn, as long as only its own timers
//! fire. When the next timer belongs to another machine, that one continues when its turn comes in the same step, or the
//! driver moves the clock.
//!
//! The order and the times of all events are the same as if the driver had taken a step for every instant.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    task::yield_now,
};

use crate::{
    activity::Activity,
    clock::Clock,
    host_id::{HostId, MachineId},
    misuse::{CheckedWaker, Misuse, WakeCheck},
    trace,
};

/// The turns of one machine.
#[derive(Debug)]
pub(crate) struct Turn {
    machine: MachineId,
    clock: Arc<Clock>,
    activity: Activity,
    /// Polls of this machine's tasks, so far.
    polls: AtomicU64,
    /// The tasks that run [`counted`](Self::counted) or are about to.
    tasks: AtomicU64,
    wakes: Arc<WakeCheck>,
}

/// Adds `change` to `count`, which only the thread of the simulation changes: a locked operation would cost a poll several nanoseconds.
fn add(count: &AtomicU64, change: i64) {
    count.store(count.load(Relaxed).wrapping_add_signed(change), Relaxed);
}

/// A task that is counted for as long as this lives.
struct CountedTask(Arc<Turn>);

impl CountedTask {
    fn new(turn: Arc<Turn>) -> Self {
        add(&turn.tasks, 1);
        Self(turn)
    }
}

impl Drop for CountedTask {
    fn drop(&mut self) {
        add(&self.0.tasks, -1);
    }
}

impl Turn {
    pub(crate) fn new(machine: MachineId, clock: Arc<Clock>, activity: Activity) -> Arc<Self> {
        let wakes = WakeCheck::new(activity.clone());
        Arc::new(Self { machine, clock, activity, polls: AtomicU64::new(0), tasks: AtomicU64::new(0), wakes })
    }

    /// Returns a future that runs `task` of `host`, or without one of the machine itself, and counts its polls, which show that the
    /// machine is not idle. Every task of a machine must be run through this: one that is not ends the simulation.
    ///
    /// A panic ends the simulation, and does not reach tokio: unwinding there drops the runtime's other tasks while the
    /// runtime is borrowed by this one, which panics again and ends the process, with all simulations in it.
    pub(crate) fn counted<T>(
        self: Arc<Self>,
        host: Option<HostId>,
        task: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        // Counted from here and not from its first poll: the runtime counts a task as soon as it is spawned.
        let counted = CountedTask::new(self);
        async move {
            let turn = &counted.0;
            let mut task = pin!(task);
            let mut has_panicked = false;
            let mut waker = CheckedWaker::default();
            poll_fn(|cx| {
                let mut cx = Context::from_waker(waker.for_task(cx.waker(), &turn.wakes));
                turn.poll(host, task.as_mut(), &mut has_panicked, &mut cx)
            })
            .await
        }
    }

    fn poll<T>(
        &self,
        host: Option<HostId>,
        task: Pin<&mut impl Future<Output = T>>,
        has_panicked: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        add(&self.polls, 1);
        if *has_panicked || !self.wakes.may_poll() {
            return Poll::Pending;
        }
        let polled = catch_unwind(AssertUnwindSafe(|| self.wakes.polling(|| trace::turn(host, || task.poll(cx)))));
        polled.unwrap_or_else(|_| {
            *has_panicked = true;
            self.activity.panicked();
            Poll::Pending
        })
    }

    /// Moves the clock whenever this machine may. It runs as a task of the machine, for as long as the simulation.
    pub(crate) async fn go_on(self: Arc<Self>) {
        let wakes = self.wakes.clone();
        let mut going_on = pin!(self.go_on_unchecked());
        poll_fn(|cx| wakes.polling(|| going_on.as_mut().poll(cx))).await
    }

    async fn go_on_unchecked(self: Arc<Self>) {
        let runtime = Handle::current().metrics();
        loop {
            self.woken().await;
            self.rest(&runtime).await;
            while self.is_last_to_act() && self.clock.go_on(self.machine) {
                self.rest(&runtime).await;
            }
        }
    }

    /// Returns false if something has happened at this instant that the driver has yet to see to.
    fn is_last_to_act(&self) -> bool {
        !self.activity.is_under_way() && !self.activity.is_process_woken()
    }

    /// Completes when the clock has fired timers of this machine, or when the next timer is one of this machine.
    async fn woken(&self) {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.clock.watch(self.machine, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Completes when no other task of this machine is ready to run. tokio continues a task that has yielded when the queue
    /// of ready tasks is empty, but sometimes earlier too; so this yields until no poll comes between.
    async fn rest(&self, runtime: &RuntimeMetrics) {
        loop {
            let before = self.polls.load(Relaxed);
            yield_now().await;
            if self.polls.load(Relaxed) == before {
                return self.check_tasks(runtime);
            }
        }
    }

    /// Ends the simulation if a task runs that was not spawned through the World. A freeze does not stop such a task, a crash does not
    /// end it, and this machine counts as idle while it runs.
    fn check_tasks(&self, runtime: &RuntimeMetrics) {
        // The task that asks is not counted by itself.
        let known = self.tasks.load(Relaxed) as usize + 1;
        let escaped = runtime.num_alive_tasks().saturating_sub(known);
        // turmoil's own tasks for bytes that stay on a machine are as many as there are segments under way.
        if escaped > 0 && !self.activity.has_loopback() {
            self.activity.misused(&Misuse::EscapedTasks(escaped));
        }
    }
}
