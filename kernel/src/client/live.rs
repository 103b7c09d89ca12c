//! The settings of calls and attempts that can change while the client is used.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Client, retry::RetryPolicy, settings, timeouts::Timeouts};
use crate::{
    policy::{Fallback, Hedging},
    sync::lock,
};

/// The settings that a decision is made by. Each decision takes those of its moment: a call keeps the deadline and the hedging that it began
/// with, an attempt its timeout, and a backoff its length.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) deadline: Duration,
    pub(super) attempt_timeout: Duration,
    pub(super) timeouts: Timeouts,
    pub(super) retry: RetryPolicy,
    pub(super) hedging: Option<Hedging>,
    pub(super) fallback: Option<Fallback>,
}

impl Live {
    fn new(settings: &settings::Client) -> Self {
        Self {
            deadline: settings.deadline,
            attempt_timeout: settings.attempt_timeout,
            // The timeout of an attempt that starts with its call, as most do.
            timeouts: Timeouts::new(settings.attempt_timeout.min(settings.deadline)),
            retry: RetryPolicy::new(settings.retry.clone()),
            hedging: settings.policies.hedging.clone(),
            fallback: settings.policies.fallback.clone(),
        }
    }
}

/// The settings as they are now. Most clients are never given others, so that a decision takes neither a lock nor a reference count before
/// the first change.
#[derive(Debug)]
pub(super) struct Changeable {
    first: Live,
    has_changed: AtomicBool,
    /// The settings of the last change.
    changed: Mutex<Option<Arc<Live>>>,
}

impl Changeable {
    pub(super) fn new(settings: &settings::Client) -> Self {
        Self { first: Live::new(settings), has_changed: AtomicBool::new(false), changed: Mutex::default() }
    }

    /// Returns the settings of this moment.
    pub(super) fn now(&self) -> Present<'_> {
        if !self.has_changed.load(Ordering::Acquire) {
            return Present::First(&self.first);
        }
        lock(&self.changed).clone().map_or(Present::First(&self.first), Present::Changed)
    }

    fn change(&self, settings: &settings::Client) {
        *lock(&self.changed) = Some(Arc::new(Live::new(settings)));
        self.has_changed.store(true, Ordering::Release);
    }
}

/// The settings of one moment.
pub(super) enum Present<'a> {
    First(&'a Live),
    Changed(Arc<Live>),
}

impl Deref for Present<'_> {
    type Target = Live;

    fn deref(&self) -> &Live {
        match self {
            Self::First(live) => live,
            Self::Changed(live) => live,
        }
    }
}

impl Client {
    /// Goes on with `settings`, of which those count that can change in a run (see [`changeable`](crate::scenario::changeable)). What is
    /// under way keeps what it began with, and the policies keep their states.
    pub fn change(&self, settings: &settings::Client) {
        self.shared.live.change(settings);
        self.shared.chain.change(settings, self.shared.world.now());
    }
}
