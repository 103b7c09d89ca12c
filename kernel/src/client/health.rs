//! The health of each server, as far as the client knows.
//!
//! HEALTHY → UNHEALTHY when an attempt or an active check fails with UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL, or a
//! connection cannot be opened. UNHEALTHY → HEALTHY when an active check or an attempt succeeds. Servers start out healthy. An
//! active check runs every interval and as soon as a connection is ready; its result is valid until the next one.

use std::sync::{Arc, Mutex};

use super::failure::{Cause, Failure};
use crate::{
    planted::planted,
    policy::Servers,
    record::{Event, Recorder},
    status::Code,
    sync::lock,
};

/// The health of all servers. Clones share it.
#[derive(Clone)]
pub(super) struct Health {
    recorder: Recorder,
    names: Arc<[String]>,
    healthy: Arc<Mutex<Servers>>,
}

/// The health of one server.
#[derive(Clone)]
pub(super) struct ServerHealth {
    health: Health,
    server: usize,
}

impl Health {
    pub(super) fn new(recorder: Recorder, names: Vec<String>) -> Self {
        let healthy = Arc::new(Mutex::new(Servers::below(names.len())));
        Self { recorder, names: names.into(), healthy }
    }

    /// Returns a handle to the health of `server`.
    pub(super) fn server(&self, server: usize) -> ServerHealth {
        ServerHealth { health: self.clone(), server }
    }

    /// Returns the servers that are healthy.
    pub(super) fn healthy(&self) -> Servers {
        *lock(&self.healthy)
    }

    /// Updates the health of `server` after an attempt or a check that succeeded, if `failure` is `None`, or failed.
    pub(super) fn observe(&self, server: usize, failure: Option<&Failure>) {
        match failure {
            None => self.mark_healthy(server),
            Some(failure) if indicates_unhealthy(failure.code) => self.mark_unhealthy(server, &failure.cause),
            // Any other status says that the server works: it has understood the request and has answered it.
            Some(_) => {}
        }
    }

    fn mark_healthy(&self, server: usize) {
        if planted!(Bug::Grudge) {
            return;
        }
        let was_healthy = lock(&self.healthy).set(server, true);
        if !was_healthy {
            self.recorder.event(Event::Healthy).target(&self.names[server]).record();
        }
    }

    fn mark_unhealthy(&self, server: usize, cause: &Cause) {
        let was_healthy = lock(&self.healthy).set(server, false);
        if was_healthy {
            let event = self.recorder.event(Event::Unhealthy).target(&self.names[server]);
            event.cause(cause.to_string()).record();
        }
    }
}

impl ServerHealth {
    /// Returns the index of the server.
    pub(super) fn server(&self) -> usize {
        self.server
    }

    /// Marks the server as unhealthy because of `cause`.
    pub(super) fn mark_unhealthy(&self, cause: &Cause) {
        self.health.mark_unhealthy(self.server, cause);
    }
}

/// Returns true if an attempt that failed with `code` says that its server does not work.
fn indicates_unhealthy(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_of_a_server_that_does_not_work_indicate_unhealthy() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal] {
            assert!(indicates_unhealthy(code), "{code}");
        }
        for code in [Code::Ok, Code::Cancelled, Code::InvalidArgument, Code::ResourceExhausted] {
            assert!(!indicates_unhealthy(code), "{code}");
        }
    }
}
