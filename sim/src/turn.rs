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
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
};

use tokio::task::yield_now;

use crate::{
    activity::Activity,
    clock::Clock,
    host_id::{HostId, MachineId},
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
}

impl Turn {
    pub(crate) fn new(machine: MachineId, clock: Arc<Clock>, activity: Activity) -> Arc<Self> {
        Arc::new(Self { machine, clock, activity, polls: AtomicU64::new(0) })
    }

    /// Runs `task` of `host`, or without one of the machine itself, and counts its polls, which show that the machine is not idle. Every task of a machine must be
    /// run through this.
    ///
    /// A panic ends the simulation, and does not reach tokio: unwinding there drops the runtime's other tasks while the
    /// runtime is borrowed by this one, which panics again and ends the process, with all simulations in it.
    pub(crate) async fn counted<T>(self: Arc<Self>, host: Option<HostId>, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        let mut has_panicked = false;
        poll_fn(|cx| {
            self.polls.fetch_add(1, Relaxed);
            if has_panicked {
                return Poll::Pending;
            }
            let polled = catch_unwind(AssertUnwindSafe(|| trace::turn(host, || task.as_mut().poll(cx))));
            polled.unwrap_or_else(|_| {
                has_panicked = true;
                self.activity.panicked();
                Poll::Pending
            })
        })
        .await
    }

    /// Moves the clock whenever this machine may. It runs as a task of the machine, for as long as the simulation.
    pub(crate) async fn go_on(self: Arc<Self>) {
        loop {
            self.woken().await;
            self.rest().await;
            while !self.activity.is_under_way() && self.clock.go_on(self.machine) {
                self.rest().await;
            }
        }
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
    async fn rest(&self) {
        loop {
            let before = self.polls.load(Relaxed);
            yield_now().await;
            if self.polls.load(Relaxed) == before {
                return;
            }
        }
    }
}
