//! The effects of toxics on the bytes that a proxy passes on, beyond those of a link: a limit, small pieces, and a late end.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use kernel::{
    entropy::{Entropy, unit},
    link::Way,
    sync::lock,
    world::{SharedWorld, Sleep},
};

/// The effect of a toxic on the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// No byte is passed on. What was discarded is missing, so that the connection ends when the toxic does.
    Discard,
    /// The connection ends after this many bytes.
    LimitData(u64),
    /// The end of the direction is passed on this much later.
    SlowClose(Duration),
    /// The bytes are passed on in pieces of this size, which varies this much, with this time between two.
    Slicer { average: u64, variation: u64, delay: Duration },
}

/// A toxic of a direction.
#[derive(Debug, Clone)]
struct Treated {
    toxic: String,
    /// Its number among those that were added.
    number: u64,
    way: Way,
    /// Share of the connections that it applies to.
    share: f64,
    treatment: Treatment,
}

/// The treatments of a proxy.
#[derive(Debug, Default)]
pub(in super::super) struct Flows {
    treated: Mutex<Vec<Treated>>,
    /// True while there is one, beside the lock, because every chunk checks it.
    any: AtomicBool,
    added: Mutex<u64>,
}

impl Flows {
    /// Adds a treatment; that of a toxic which is there changes.
    pub(super) fn set(&self, toxic: &str, way: Way, share: f64, treatment: Treatment) {
        let mut treated = lock(&self.treated);
        match treated.iter_mut().find(|other| other.toxic == toxic) {
            Some(there) => (there.share, there.treatment) = (share, treatment),
            None => {
                let mut added = lock(&self.added);
                *added += 1;
                treated.push(Treated { toxic: toxic.to_owned(), number: *added, way, share, treatment });
            }
        }
        self.any.store(true, Ordering::Release);
    }

    /// Removes the treatment of a toxic.
    pub(super) fn remove(&self, toxic: &str) {
        let mut treated = lock(&self.treated);
        treated.retain(|other| other.toxic != toxic);
        self.any.store(!treated.is_empty(), Ordering::Release);
    }
}

/// One direction of one connection of a proxy.
pub(in super::super) struct Flow<'a> {
    flows: &'a Flows,
    world: &'a SharedWorld,
    /// Number of the connection.
    connection: u64,
    way: Way,
    /// Bytes that were passed on.
    passed: u64,
    /// The same when each toxic was first seen.
    before: BTreeMap<u64, u64>,
    pause: Option<Sleep>,
    /// The end has been delayed.
    is_late: bool,
    /// Bytes were discarded.
    has_lost: bool,
}

impl<'a> Flow<'a> {
    /// The direction `way` of the connection of this number.
    pub(in super::super) fn new(flows: &'a Flows, world: &'a SharedWorld, connection: u64, way: Way) -> Self {
        Self {
            flows,
            world,
            connection,
            way,
            passed: 0,
            before: BTreeMap::new(),
            pause: None,
            is_late: false,
            has_lost: false,
        }
    }

    fn treatments(&self) -> Vec<Treated> {
        if !self.flows.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let applies = |treated: &&Treated| {
            let draw = || unit(&mut Entropy::new(0).stream_of("toxiproxy.flow", &[treated.number, self.connection]));
            treated.way == self.way && (treated.share >= 1.0 || draw() < treated.share)
        };
        lock(&self.flows.treated).iter().filter(applies).cloned().collect()
    }

    /// Waits until the pause between two pieces, or before an end, is over.
    pub(in super::super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn pause_for(&mut self, time: Duration) {
        self.pause = (!time.is_zero()).then(|| self.world.sleep_until(self.world.now() + time));
    }

    /// Returns whether bytes are discarded.
    pub(in super::super) fn discards(&mut self) -> bool {
        let discards = self.treatments().iter().any(|treated| treated.treatment == Treatment::Discard);
        self.has_lost |= discards;
        discards
    }

    /// Returns how many of `bytes` are passed on in one piece; 0 if the limit is reached, or if bytes before them are missing.
    pub(in super::super) fn piece(&mut self, bytes: usize) -> usize {
        if self.has_lost {
            return 0;
        }
        let mut most = bytes as u64;
        for Treated { number, treatment, .. } in self.treatments() {
            match treatment {
                Treatment::LimitData(limit) => {
                    let before = *self.before.entry(number).or_insert(self.passed);
                    most = most.min(limit.saturating_sub(self.passed - before));
                }
                Treatment::Slicer { average, variation, .. } => {
                    let draw = unit(
                        &mut Entropy::new(0).stream_of("toxiproxy.slice", &[number, self.connection, self.passed]),
                    );
                    let size = average as f64 + (2.0 * draw - 1.0) * variation as f64;
                    most = most.min((size as u64).max(1));
                }
                Treatment::SlowClose(_) | Treatment::Discard => {}
            }
        }
        most as usize
    }

    /// Notes that bytes were passed on.
    pub(in super::super) fn pass(&mut self, bytes: usize) {
        self.passed += bytes as u64;
        let pauses = self.treatments().into_iter().filter_map(|treated| match treated.treatment {
            Treatment::Slicer { delay, .. } => Some(delay),
            _ => None,
        });
        if let Some(longest) = pauses.max() {
            self.pause_for(longest);
        }
    }

    /// Notes that the direction ends, which may be passed on later.
    pub(in super::super) fn end(&mut self) {
        if std::mem::replace(&mut self.is_late, true) {
            return;
        }
        let delays = self.treatments().into_iter().filter_map(|treated| match treated.treatment {
            Treatment::SlowClose(delay) => Some(delay),
            _ => None,
        });
        if let Some(longest) = delays.max() {
            self.pause_for(longest);
        }
    }
}
