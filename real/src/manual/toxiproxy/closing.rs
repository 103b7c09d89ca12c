//! The reset of connections after a time, as the toxics `timeout` and `reset_peer` have it.

use std::{pin::pin, sync::Mutex, time::Duration};

use futures_util::future::{Either, select};
use kernel::{
    entropy::{Entropy, unit},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};
use tokio::sync::Notify;

/// A toxic that resets connections.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    /// Name of the toxic.
    pub(super) toxic: String,
    /// When it was added.
    pub(super) since: Instant,
    /// Time from then, or from the start of a later connection, to the end.
    pub(super) after: Duration,
    /// Share of the connections that it applies to.
    pub(super) share: f64,
}

/// The times at which the connections of a proxy are closed.
#[derive(Debug, Default)]
pub(in super::super) struct Closings {
    deadlines: Mutex<Vec<Deadline>>,
    changed: Notify,
}

impl Closings {
    /// Adds what ends connections, in place of that of the same toxic.
    pub(super) fn set(&self, deadline: Deadline) {
        let mut deadlines = lock(&self.deadlines);
        deadlines.retain(|other| other.toxic != deadline.toxic);
        deadlines.push(deadline);
        self.changed.notify_waiters();
    }

    /// Removes that of a toxic.
    pub(super) fn remove(&self, toxic: &str) {
        lock(&self.deadlines).retain(|other| other.toxic != toxic);
        self.changed.notify_waiters();
    }

    /// Waits until the connection of this number, which begins now, has to be reset.
    pub(in super::super) async fn closed(&self, world: &SharedWorld, number: u64) {
        let begun = world.now();
        loop {
            // Registered before the look at the list, so that a change between the two is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let Some(at) = self.next(begun, number) else {
                changed.await;
                continue;
            };
            if let Either::Left(_) = select(world.sleep_until(at), changed).await {
                return;
            }
        }
    }

    fn next(&self, begun: Instant, number: u64) -> Option<Instant> {
        let deadlines = lock(&self.deadlines);
        let applies = |deadline: &&Deadline| {
            let name = format!("toxiproxy.{}", deadline.toxic);
            deadline.share >= 1.0 || unit(&mut Entropy::new(0).stream_of(&name, &[number])) < deadline.share
        };
        deadlines.iter().filter(applies).map(|deadline| deadline.since.max(begun) + deadline.after).min()
    }
}
