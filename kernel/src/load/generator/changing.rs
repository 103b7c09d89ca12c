//! A load that changes while it is offered, in ways that were not known at its start.

use std::{future::pending, pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, watch};

use super::Running;
use crate::{
    load::{Schedule, User, settings::Load},
    time::Instant,
};

/// The changes of a load that is being offered.
pub(super) struct Changes {
    running: Arc<Running>,
    loads: watch::Receiver<Load>,
    /// Number of users who have been started.
    users: usize,
    busy: mpsc::Sender<()>,
}

impl Running {
    /// Follows `loads`, with this number of users at the start, each of whom holds `busy` to the end.
    pub(super) fn follow(
        self: &Arc<Self>,
        loads: watch::Receiver<Load>,
        users: usize,
        busy: &mpsc::Sender<()>,
    ) -> Changes {
        Changes { running: self.clone(), loads, users, busy: busy.clone() }
    }

    /// The time from which on nothing is sent.
    fn end(&self) -> Instant {
        Instant::START + self.load.duration
    }

    /// Waits until `due`, or until the end if nothing is due, unless the load changes before.
    async fn wait(&self, due: Option<Instant>, loads: &mut watch::Receiver<Load>) -> Waited {
        let cancelled = pin!(self.is_cancelled_before(due.unwrap_or_else(|| self.end())));
        match select(cancelled, pin!(change(loads))).await {
            Either::Left((true, _)) => Waited::Over,
            Either::Left((false, _)) => due.map_or(Waited::Over, Waited::Due),
            Either::Right(((), _)) => Waited::Changed,
        }
    }
}

/// The reason why a wait ended.
enum Waited {
    /// It is this time, at which something is due.
    Due(Instant),
    /// The load has changed.
    Changed,
    /// The load has ended, or is cancelled.
    Over,
}

/// Waits until another load is sent. Without a sender that is never.
async fn change(loads: &mut watch::Receiver<Load>) {
    if loads.changed().await.is_err() {
        pending::<()>().await;
    }
}

impl Changes {
    /// Waits for the next arrival; `None` if the load has ended, or the client is cancelled.
    pub(super) async fn next_arrival(&mut self, schedule: &mut Schedule) -> Option<Instant> {
        loop {
            let before = schedule.clone();
            match self.running.wait(schedule.next(), &mut self.loads).await {
                Waited::Due(intended) => return Some(intended),
                Waited::Over => return None,
                Waited::Changed => {
                    let load = self.loads.borrow_and_update().clone();
                    // What was due is drawn again, with the same draws, at the other rate.
                    *schedule = before;
                    schedule.follow(&load);
                    self.add_users(&load);
                }
            }
        }
    }

    /// Starts the users who are new.
    fn add_users(&mut self, load: &Load) {
        let users = User::all(load, self.running.load.duration, self.running.load.entropy);
        let count = users.len().max(self.users);
        for (number, user) in (0..).zip(users).skip(self.users) {
            self.play_user(number, user);
        }
        self.users = count;
    }

    /// Makes the calls of a user, one after the other, as the load of each time has them.
    pub(super) fn play_user(&self, number: u32, user: User) {
        let running = self.running.clone();
        let loads = self.loads.clone();
        let busy = self.busy.clone();
        self.running.load.world.spawn(Box::pin(async move {
            running.play_changing_user(number, user, loads).await;
            drop(busy);
        }));
    }
}

impl Running {
    async fn play_changing_user(&self, number: u32, mut user: User, mut loads: watch::Receiver<Load>) {
        let mut ready = Instant::START;
        loop {
            match self.wait(user.due(ready), &mut loads).await {
                Waited::Due(intended) => {
                    let Some(done) = self.call(self.request(intended, Some(number))).await else { return };
                    ready = user.ready(done);
                }
                Waited::Changed => user.follow(&loads.borrow_and_update(), number.into(), self.load.duration),
                Waited::Over => return,
            }
        }
    }
}
