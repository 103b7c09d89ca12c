//! What a simulation does, one thing after the other, for those who compare two of them.
//!
//! Finer than the records: every turn of a task, timer, segment, row, and draw of what is random in dependencies. What
//! differs here will sooner or later make a difference there. Where nobody listens it costs a look at a flag.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
};

use kernel::{
    record::{Records, Row, Sink},
    time::Instant,
};
use serde::{Deserialize, Serialize};

use crate::{clock::HostId, interpose};

/// One thing that a simulation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Virtual time, in nanoseconds.
    pub at_ns: u64,
    /// On whose behalf: `client`, a server's name, or `driver`.
    pub host: String,
    /// In a few words, or a row as the record has it.
    pub what: String,
}

/// Takes entries in the order in which things happen, on the simulation's thread.
pub type Listener = Box<dyn FnMut(Entry) + Send>;

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
    /// Whose turn it is.
    static HOST: Cell<Option<HostId>> = const { Cell::new(None) };
}

/// While it lives, this thread's simulation is listened to.
pub(crate) struct Listening;

impl Listening {
    pub(crate) fn begin(listener: Listener) -> Self {
        LISTENER.set(Some(listener));
        LISTENING.set(true);
        Self
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.set(false);
        LISTENER.set(None);
    }
}

/// The run is over: what is taken down after it, in whatever order, is no part of it.
pub(crate) fn end() {
    LISTENING.set(false);
}

/// Tells of something that happens now on behalf of `host`, or of the host whose turn it is.
pub(crate) fn note(host: Option<HostId>, what: impl FnOnce() -> String) {
    if !LISTENING.get() {
        return;
    }
    let host = host.or_else(|| HOST.get()).map_or_else(|| "driver".to_owned(), HostId::name);
    let entry = Entry { at_ns: interpose::now().map_or(0, Instant::as_nanos), host, what: what() };
    // Who listens may itself ask for something that is noted.
    let _ = LISTENER.try_with(|listener| {
        if let Ok(mut listener) = listener.try_borrow_mut()
            && let Some(listener) = &mut *listener
        {
            listener(entry);
        }
    });
}

/// Does `turn` as a turn of a task of `host`.
pub(crate) fn turn<T>(host: HostId, turn: impl FnOnce() -> T) -> T {
    if !LISTENING.get() {
        return turn();
    }
    let before = HOST.replace(Some(host));
    note(None, || "a task runs".to_owned());
    let result = turn();
    HOST.set(before);
    result
}

/// A record whose rows are told of as they come.
pub(crate) struct Told(pub(crate) Arc<Mutex<Records>>);

impl Sink for Told {
    fn take(&self, row: Row) {
        note(None, || serde_json::to_string(&row).expect("plain data is always written"));
        self.0.take(row);
    }
}
