//! The settings of calls and attempts that can change while the client is used.

use std::{sync::Arc, time::Duration};

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
    pub(super) fn new(settings: &settings::Client) -> Arc<Self> {
        Arc::new(Self {
            deadline: settings.deadline,
            attempt_timeout: settings.attempt_timeout,
            // The timeout of an attempt that starts with its call, as most do.
            timeouts: Timeouts::new(settings.attempt_timeout.min(settings.deadline)),
            retry: RetryPolicy::new(settings.retry.clone()),
            hedging: settings.policies.hedging.clone(),
            fallback: settings.policies.fallback.clone(),
        })
    }
}

impl Client {
    /// Goes on with `settings`, of which those count that can change in a run (see [`changeable`](crate::scenario::changeable)). What is
    /// under way keeps what it began with, and the policies keep their states.
    pub fn change(&self, settings: &settings::Client) {
        *lock(&self.shared.live) = Live::new(settings);
        self.shared.chain.change(settings, self.shared.world.now());
    }
}
