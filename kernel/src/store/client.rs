//! A client's use of a store: look-ups and writes that cost a call little, whatever the store does.
//!
//! After a failure the store is away for the time of the pause: look-ups have no result, and nothing is sent. Then one command is sent,
//! and decides whether the store is back. So a store that is dead costs one call per pause its time limit.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;

use super::{
    connection::{Connection, text_of},
    entry::{self, Entry},
    resp::{self, Value},
};
use crate::{
    grpc::Reply,
    link::Link,
    policy::CacheKey,
    record::{Event, Recorder},
    sync::lock,
    time::Instant,
    world::{SharedWorld, timeout_at},
};

/// The most commands that wait for their answers. One more fails at once.
const WAITING_MAX: usize = 1_024;

/// How a client reaches its store.
#[derive(Clone)]
pub struct StoreAccess {
    /// The link to the store.
    pub link: Arc<Link>,
    /// The prefix of the client's keys. Clients of one run share it, and no others.
    pub prefix: String,
    /// The credentials that the client logs in with, if it does.
    pub login: Option<Login>,
}

/// A password, and the user whose it is; without one it is that of the default user. Its `Debug` output does not contain the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The settings of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreSettings {
    /// The number of its database.
    pub(crate) database: u32,
    /// Time for a command.
    pub(crate) timeout: Duration,
    /// Time for which it is left alone after a failure.
    pub(crate) pause: Duration,
    /// Time for which it keeps an answer.
    pub(crate) keep: Duration,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// The answer, and the time at which it arrived.
    pub(crate) entry: Entry,
    /// The time at which it was found.
    pub(crate) at: Instant,
}

/// A store, as a client uses it.
pub(crate) struct Store {
    world: SharedWorld,
    recorder: Recorder,
    access: StoreAccess,
    settings: StoreSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// Number of connections that were opened.
    opened: u64,
    /// Commands that wait for their answers.
    waiting: usize,
    /// The time until which nothing is sent, if the store is away.
    away_until: Option<Instant>,
    /// A command is under way that decides whether the store is back.
    trial: bool,
    /// The keys of answers that are being renewed.
    renewals: BTreeSet<String>,
}

/// The right to send one command. When it is dropped, the command has ended or is not waited for any more.
struct Permit<'a> {
    store: &'a Store,
    connection: Arc<Connection>,
    /// The number of the connection.
    number: u64,
    is_trial: bool,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.store.state();
        state.waiting -= 1;
        if self.is_trial {
            state.trial = false;
        }
    }
}

impl Store {
    pub(crate) fn new(world: SharedWorld, recorder: Recorder, access: StoreAccess, settings: StoreSettings) -> Self {
        Self { world, recorder, access, settings, state: Mutex::default() }
    }

    /// Looks up the answer to `key` for `request`, whose call ends at `deadline`; `None` without one, and if the store is away.
    pub(crate) async fn look_up(&self, key: &CacheKey, request: u64, deadline: Instant) -> Option<Found> {
        let name = entry::key(&self.access.prefix, key);
        let value = self.ask(resp::command(&[b"GET", name.as_bytes()]), request, deadline).await?;
        let at = self.world.now();
        match value {
            Value::Bulk(None) => None,
            Value::Bulk(Some(bytes)) => {
                // A time to come is none of this run.
                let entry = entry::read(bytes).filter(|entry| entry.arrived <= at);
                if entry.is_none() {
                    self.record_failure(request, "its value is no answer");
                }
                entry.map(|entry| Found { entry, at })
            }
            _ => {
                self.record_failure(request, "its answer is none to a look-up");
                None
            }
        }
    }

    /// Keeps `reply` as the answer to `key`, as a task of the host, which ends a renewal of it. `request` is whose call has it.
    pub(crate) fn keep(self: &Arc<Self>, key: &CacheKey, reply: &Reply, request: u64) {
        let name = entry::key(&self.access.prefix, key);
        let now = self.world.now();
        if self.is_away(now) {
            self.state().renewals.remove(&name);
            return;
        }
        let command = self.write(&name, &Entry { arrived: now, reply: reply.clone() });
        let store = self.clone();
        self.world.spawn(Box::pin(async move {
            match command {
                Err(cause) => store.record_failure(request, cause),
                Ok(command) => match store.ask(command, request, Instant::NEVER).await {
                    None | Some(Value::Text(_)) => {}
                    Some(_) => store.record_failure(request, "its answer is none to a write"),
                },
            }
            store.state().renewals.remove(&name);
        }));
    }

    /// Returns the command that writes `entry` at the key `name`.
    fn write(&self, name: &str, entry: &Entry) -> Result<Bytes, &'static str> {
        let value = entry::write(entry).ok_or("an answer that cannot be kept")?;
        if value.len() > resp::BULK_BYTES_MAX {
            return Err("an answer that is too large to be kept");
        }
        let keep = self.settings.keep.as_millis().max(1).to_string();
        Ok(resp::command(&[b"SET", name.as_bytes(), &value, b"PX", keep.as_bytes()]))
    }

    /// Returns whether the caller must renew the answer to `key`: no other call is doing it.
    pub(crate) fn begin_renewal(&self, key: &CacheKey) -> bool {
        self.state().renewals.insert(entry::key(&self.access.prefix, key))
    }

    /// Notes that the renewal of the answer to `key` has failed.
    pub(crate) fn end_renewal(&self, key: &CacheKey) {
        self.state().renewals.remove(&entry::key(&self.access.prefix, key));
    }

    /// Sends a command for a call that ends at `deadline`, and waits for its answer; `None` if there is none, or if it is an error.
    async fn ask(&self, command: Bytes, request: u64, deadline: Instant) -> Option<Value> {
        let now = self.world.now();
        let permit = match self.admit(now) {
            Ok(permit) => permit?,
            Err(cause) => {
                self.record_failure(request, cause);
                return None;
            }
        };
        let answered = permit.connection.send(command);
        // Half of the time that the call has left, so that a store that hangs leaves it the other half.
        let until = now + self.settings.timeout.min(deadline.since(now) / 2);
        let cause = match timeout_at(&*self.world, until, answered).await {
            Ok(Ok(Ok(Value::Error(text)))) => {
                // It answers, so that it is not away.
                self.answered(&permit);
                self.record_failure(request, &format!("answered with an error: {}", text_of(&text)));
                return None;
            }
            Ok(Ok(Ok(value))) => {
                self.answered(&permit);
                return Some(value);
            }
            Ok(Ok(Err(cause))) => cause,
            // Another command has given the connection up.
            Ok(Err(_)) => "connection given up".to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.failed(&permit, &cause);
        self.record_failure(request, &cause);
        None
    }

    /// Returns the right to send a command, `now`; `None` while the store is away.
    ///
    /// # Errors
    ///
    /// Returns an error if too many commands wait.
    fn admit(&self, now: Instant) -> Result<Option<Permit<'_>>, &'static str> {
        let mut state = self.state();
        let is_trial = match state.away_until {
            Some(until) if now < until || state.trial => return Ok(None),
            away_until => away_until.is_some(),
        };
        if state.waiting >= WAITING_MAX {
            return Err("too many commands wait");
        }
        // One that was closed while nothing was under way, as a store does when it is started again, is replaced.
        if state.connection.as_ref().is_none_or(|connection| connection.is_closed()) {
            state.opened += 1;
            state.connection = Some(Arc::new(Connection::open(&self.world, &self.access.link, self.greeting())));
        }
        let Some(connection) = state.connection.clone() else { return Ok(None) };
        state.waiting += 1;
        state.trial = is_trial;
        Ok(Some(Permit { store: self, connection, number: state.opened, is_trial }))
    }

    /// Returns the commands with which a connection begins.
    fn greeting(&self) -> Vec<Bytes> {
        let login = self.access.login.as_ref().map(|Login { user, password }| match user {
            Some(user) => resp::command(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
            None => resp::command(&[b"AUTH", password.as_bytes()]),
        });
        let database = self.settings.database.to_string();
        let select = (self.settings.database > 0).then(|| resp::command(&[b"SELECT", database.as_bytes()]));
        login.into_iter().chain(select).collect()
    }

    /// Notes that the store has answered.
    fn answered(&self, permit: &Permit<'_>) {
        let was_away = {
            let mut state = self.state();
            state.opened == permit.number && state.away_until.take().is_some()
        };
        if was_away {
            self.recorder.event(Event::StoreRestored).target(super::NAME).record();
        }
    }

    /// Notes that the connection of `permit` has failed, and leaves the store alone for a while. Of the commands of one connection the
    /// first to fail counts.
    fn failed(&self, permit: &Permit<'_>, cause: &str) {
        let is_new = {
            let mut state = self.state();
            if state.opened != permit.number || state.connection.take().is_none() {
                return;
            }
            state.away_until.replace(self.world.now() + self.settings.pause).is_none()
        };
        if is_new {
            let event = self.recorder.event(Event::StoreLost).target(super::NAME);
            event.cause(cause).duration(self.settings.pause).record();
        }
    }

    fn is_away(&self, now: Instant) -> bool {
        let state = self.state();
        state.away_until.is_some_and(|until| now < until || state.trial)
    }

    fn record_failure(&self, request: u64, cause: &str) {
        self.recorder.event(Event::StoreFailed).target(super::NAME).request(request).cause(cause).record();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
