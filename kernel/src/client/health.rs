//! The health of each server, as far as the client knows.
//!
//! HEALTHY → UNHEALTHY when an active check fails with UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL, an attempt with a status of
//! `[client.passive_health]`, or a connection cannot be opened. UNHEALTHY → HEALTHY when an active check or an attempt
//! succeeds. Servers start out healthy. An active check runs every interval and as soon as a connection is ready; its result
//! is valid until the next one.
//!
//! With `method = "watch"`, a server reports its health itself instead. Until its first report over a connection its health is not known,
//! and attempts that succeed say nothing.
//!
//! Each of the two, active checks and conclusions from attempts, can be off. Without active checks, a new connection makes a
//! server healthy again. With neither, every server stays healthy.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::failure::{Cause, Failure};
use crate::{
    client::settings::Client,
    planted::planted,
    policy::{Changes, Servers},
    record::{Event, Recorder},
    status::Code,
    sync::lock,
};

/// The health of all servers. Clones share it.
#[derive(Clone)]
pub(super) struct Health {
    recorder: Recorder,
    names: Arc<[String]>,
    rules: Arc<Rules>,
    healthy: Arc<Mutex<Servers>>,
    /// The servers that are asked for their health and have not answered.
    asked: Arc<Mutex<Servers>>,
    /// Notified when an attempt has made a server unhealthy, by server.
    doubts: Arc<[Notify]>,
    changes: Changes,
}

/// The observations from which a client concludes that a server is healthy.
#[derive(Debug)]
struct Rules {
    /// The statuses of attempts after which a server is unhealthy; `None` if attempts say nothing.
    passive: Option<Vec<Code>>,
    /// True if servers are checked.
    is_checked: bool,
    /// True if servers report their health.
    is_watched: bool,
}

/// The health of one server.
#[derive(Clone)]
pub(super) struct ServerHealth {
    health: Health,
    server: usize,
}

impl Health {
    pub(super) fn new(recorder: Recorder, names: Vec<String>, settings: &Client, changes: Changes) -> Self {
        let healthy = Arc::new(Mutex::new(Servers::below(names.len())));
        let passive = settings.passive_health.as_ref().map(|table| table.status_codes.clone());
        let is_watched = settings.watches_health();
        let rules = Arc::new(Rules { passive, is_checked: settings.health_check.is_some(), is_watched });
        let asked = if is_watched { Servers::below(names.len()) } else { Servers::NONE };
        let asked = Arc::new(Mutex::new(asked));
        let doubts = names.iter().map(|_| Notify::new()).collect();
        Self { recorder, names: names.into(), rules, healthy, asked, doubts, changes }
    }

    /// Returns a handle to the health of `server`.
    pub(super) fn server(&self, server: usize) -> ServerHealth {
        ServerHealth { health: self.clone(), server }
    }

    /// Returns the servers that are healthy.
    pub(super) fn healthy(&self) -> Servers {
        *lock(&self.healthy)
    }

    /// Returns the servers that are asked for their health and have not answered.
    pub(super) fn asked(&self) -> Servers {
        *lock(&self.asked)
    }

    /// Updates the health of `server` after an attempt that succeeded, if `failure` is `None`, or failed.
    pub(super) fn observe_attempt(&self, server: usize, failure: Option<&Failure>) {
        let Some(unhealthy) = &self.rules.passive else { return };
        // A server that reports that it does not serve may answer all the same.
        if self.rules.is_watched && failure.is_none() {
            return;
        }
        let was_healthy = self.healthy().contains(server);
        self.observe(server, failure, unhealthy);
        if self.rules.is_watched && was_healthy && !self.healthy().contains(server) {
            self.doubts[server].notify_one();
        }
    }

    /// Notes that `server` is asked to report its health.
    pub(super) fn ask(&self, server: usize) {
        lock(&self.asked).set(server, true);
    }

    /// Updates the health of `server` after its report, in which an error is the reason why it does not serve.
    pub(super) fn observe_report(&self, server: usize, report: Result<(), Cause>) {
        match &report {
            Ok(()) => self.mark_healthy(server),
            Err(cause) => self.mark_unhealthy(server, cause),
        }
        if lock(&self.asked).set(server, false) {
            self.changes.notify();
        }
    }

    /// Completes when an attempt has made `server` unhealthy.
    pub(super) async fn is_doubted(&self, server: usize) {
        loop {
            self.doubts[server].notified().await;
            // It may have reported since.
            if !self.healthy().contains(server) {
                return;
            }
        }
    }

    /// Updates the health of `server` after an active check that succeeded, if `failure` is `None`, or failed.
    pub(super) fn observe_check(&self, server: usize, failure: Option<&Failure>) {
        self.observe(server, failure, &[Code::Unavailable, Code::DeadlineExceeded, Code::Internal]);
    }

    fn observe(&self, server: usize, failure: Option<&Failure>, unhealthy: &[Code]) {
        match failure {
            None => self.mark_healthy(server),
            Some(failure) if unhealthy.contains(&failure.code) => self.mark_unhealthy(server, &failure.cause),
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
            self.changes.notify();
        }
    }

    fn mark_unhealthy(&self, server: usize, cause: &Cause) {
        let was_healthy = lock(&self.healthy).set(server, false);
        if was_healthy {
            let event = self.recorder.event(Event::Unhealthy).target(&self.names[server]);
            event.cause(cause.to_string()).record();
            self.changes.notify();
        }
    }
}

impl ServerHealth {
    /// Returns the index of the server.
    pub(super) fn server(&self) -> usize {
        self.server
    }

    /// Notes that the server could not be connected to because of `cause`. No health check can report it.
    pub(super) fn on_not_connected(&self, cause: &Cause) {
        let Rules { passive, is_checked, .. } = &*self.health.rules;
        if passive.is_some() || *is_checked {
            self.health.mark_unhealthy(self.server, cause);
        }
    }

    /// Notes that the server is connected.
    pub(super) fn on_connected(&self) {
        // With checks, the one that follows at once says more. Without, nothing else would return a server to service: it gets
        // no attempts while there are healthy ones.
        if !self.health.rules.is_checked {
            self.health.mark_healthy(self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::settings::PassiveHealth, fuzzing::network::Network, record::Records};

    /// The health of two servers under `settings`.
    fn health(settings: &Client) -> Health {
        let names = vec!["server-0".to_owned(), "server-1".to_owned()];
        let records = Arc::<Mutex<Records>>::default();
        let recorder = Recorder::new(Arc::new(Network::default()).host("client"), "client", records);
        Health::new(recorder, names, settings, Changes::default())
    }

    /// The servers that are healthy after server 0 has failed with `code` in an attempt, and server 1 in a check.
    fn healthy_after(settings: &Client, code: Code) -> Vec<usize> {
        let health = health(settings);
        let failure = Failure::new(code, Cause::Answer("it fails".to_owned()));
        health.observe_attempt(0, Some(&failure));
        health.observe_check(1, Some(&failure));
        health.healthy().iter().collect()
    }

    #[test]
    fn only_statuses_of_a_server_that_does_not_work_make_it_unhealthy() {
        let settings = Client::default();
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal] {
            assert!(healthy_after(&settings, code).is_empty(), "{code}");
        }
        for code in [Code::Cancelled, Code::InvalidArgument, Code::ResourceExhausted] {
            assert_eq!(healthy_after(&settings, code), [0, 1], "{code}");
        }
        let passive_health = Some(PassiveHealth { status_codes: vec![Code::ResourceExhausted] });
        let settings = Client { passive_health, ..settings };
        assert_eq!(healthy_after(&settings, Code::ResourceExhausted), [1]);
        assert_eq!(healthy_after(&settings, Code::Unavailable), [0]);
    }

    #[test]
    fn what_is_off_says_nothing_about_a_server() {
        let mut settings = Client { passive_health: None, ..Client::default() };
        assert_eq!(healthy_after(&settings, Code::Unavailable), [0]);
        let not_connected = |settings: &Client| {
            let health = health(settings);
            health.server(0).on_not_connected(&Cause::ConnectionRefused);
            let after = health.healthy().contains(0);
            health.server(0).on_connected();
            (after, health.healthy().contains(0))
        };
        // A check follows as soon as the server is connected.
        assert_eq!(not_connected(&settings), (false, false));
        settings.health_check = None;
        assert_eq!(not_connected(&settings), (true, true), "no rule rates servers");
        settings.passive_health = Some(PassiveHealth::default());
        assert_eq!(not_connected(&settings), (false, true), "nothing else would return it to service");
    }
}
