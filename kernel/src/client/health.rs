//! What the client believes of each server.
//!
//! HEALTHY → UNHEALTHY when an attempt or an active check fails with UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL, or
//! a connection cannot be opened. UNHEALTHY → HEALTHY when an active check or an attempt succeeds. Servers start out
//! healthy. An active check runs every interval and as soon as a connection is ready; its result is believed until
//! the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::{Cause, Failure};
use crate::{
    policy::Servers,
    record::{Event, Recorder},
    status::Code,
};

/// Beliefs about all servers. Clones share them.
#[derive(Clone)]
pub(super) struct Health {
    recorder: Recorder,
    servers: Arc<[String]>,
    healthy: Arc<Mutex<Servers>>,
}

/// The belief about one server.
#[derive(Clone)]
pub(super) struct Belief {
    health: Health,
    server: usize,
}

impl Health {
    pub(super) fn new(recorder: Recorder, servers: Vec<String>) -> Self {
        let healthy = Arc::new(Mutex::new(Servers::below(servers.len())));
        Self { recorder, servers: servers.into(), healthy }
    }

    pub(super) fn of(&self, server: usize) -> Belief {
        Belief { health: self.clone(), server }
    }

    /// Those believed healthy.
    pub(super) fn healthy(&self) -> Servers {
        *self.beliefs()
    }

    /// Draws the consequence of an attempt or a check: `None` says that it succeeded.
    pub(super) fn observe(&self, server: usize, failure: Option<&Failure>) {
        match failure {
            None => self.is_well(server),
            Some(failure) if tells_of_ill_health(failure.code) => self.is_ill(server, &failure.cause),
            Some(_) => {}
        }
    }

    fn is_well(&self, server: usize) {
        #[cfg(feature = "canaries")]
        if crate::bug::is(crate::bug::Bug::Grudge) {
            return;
        }
        let was_healthy = self.beliefs().set(server, true);
        if !was_healthy {
            self.recorder.event(Event::Healthy).target(&self.servers[server]).record();
        }
    }

    fn is_ill(&self, server: usize, cause: &Cause) {
        let was_healthy = self.beliefs().set(server, false);
        if was_healthy {
            let event = self.recorder.event(Event::Unhealthy).target(&self.servers[server]);
            event.cause(cause.to_string()).record();
        }
    }

    fn beliefs(&self) -> MutexGuard<'_, Servers> {
        self.healthy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Belief {
    pub(super) fn is_unhealthy(&self, cause: &Cause) {
        self.health.is_ill(self.server, cause);
    }
}

fn tells_of_ill_health(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Internal)
}
