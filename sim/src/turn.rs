//! A host's turn in a step of turmoil, and how it goes on to later instants by itself.
//!
//! A step visits every host, which costs about a microsecond each, whether it has something to do or not. But what
//! happens at an instant mostly happens on one host, and what comes next often concerns nobody else either: a server
//! computes and is done, a client gets an answer and next sends a request. So when a host comes to rest and nobody else
//! has anything left to do at this instant, the clock may move on within its turn, as long as only its own timers fire.
//! What is next on another host's list, that host goes on with when its turn comes in the same step, or the driver does.
//!
//! Order and time of what happens are the same as if the driver had taken a step for every instant.

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
    clock::{Clock, HostId},
    net::Activity,
    trace,
};

/// The turns of one host.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) host: HostId,
    clock: Arc<Clock>,
    activity: Activity,
    /// Of this host's tasks, so far.
    polls: AtomicU64,
}

impl Turn {
    pub(crate) fn new(host: HostId, clock: Arc<Clock>, activity: Activity) -> Arc<Self> {
        Arc::new(Self { host, clock, activity, polls: AtomicU64::new(0) })
    }

    /// `task`, whose polls show that this host is not at rest. Every task of a host is to be run through this.
    ///
    /// One that panics ends the simulation, and does not come to tokio: in unwinding that takes down the runtime's other
    /// tasks while it is borrowed by this one, which panics again and ends the process, and all simulations in it.
    pub(crate) async fn counted<T>(self: Arc<Self>, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        let mut has_panicked = false;
        poll_fn(|cx| {
            self.polls.fetch_add(1, Relaxed);
            if has_panicked {
                return Poll::Pending;
            }
            let turn = || trace::turn(self.host, || task.as_mut().poll(cx));
            catch_unwind(AssertUnwindSafe(turn)).unwrap_or_else(|_| {
                has_panicked = true;
                self.activity.panicked();
                Poll::Pending
            })
        })
        .await
    }

    /// Goes on whenever it may. A task of the host that it serves, for as long as that runs.
    pub(crate) async fn go_on(self: Arc<Self>) {
        loop {
            self.woken().await;
            self.rest().await;
            while !self.activity.is_under_way() && self.clock.go_on(self.host) {
                self.rest().await;
            }
        }
    }

    /// Completes when the clock has had this host's timers fire, or would have next.
    async fn woken(&self) {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.clock.watch(self.host, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Completes when no other task of this host wants to run. tokio wakes who has yielded when its queue is empty, but
    /// also now and then before.
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
