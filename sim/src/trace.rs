//! Everything that a simulation does, in order, for comparing two simulations of one plan.
//!
//! The trace is finer than the records: it has every turn of a task, timer, segment, row, and every draw of random bytes
//! by a dependency. A difference here will sooner or later make a difference in the records. Without a listener, an
//! entry costs one read of a flag.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
};

use kernel::record::{CallMoment, Recorder, Records, Row, ServerMoment, Sink};
use serde::{Deserialize, Serialize};

use crate::{host_id::HostId, moments, virtual_time};

/// One thing that a simulation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Virtual time, in nanoseconds.
    pub at_ns: u64,
    /// The host that did it: `client`, the name of a server, or `driver`.
    pub host: String,
    /// A short description, or a row of the records as JSON.
    pub what: String,
}

/// Receives the entries in the order in which they happen, on the simulation's thread.
pub type Listener = Box<dyn FnMut(Entry) + Send>;

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
    /// The host whose turn it is.
    static HOST: Cell<Option<HostId>> = const { Cell::new(None) };
}

/// Calls a listener for everything that this thread's simulation does, until it is dropped.
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

/// Ends the trace with the run. What is dropped after it, in an order that nothing decides, is no part of the run.
pub(crate) fn end() {
    moments::end();
    LISTENING.set(false);
}

/// Reports to the listener that `host`, or without one the host whose turn it is, does `what` now.
pub(crate) fn note(host: Option<HostId>, what: impl FnOnce() -> String) {
    if !LISTENING.get() {
        return;
    }
    let host = host.or_else(|| HOST.get()).map_or_else(|| "driver".to_owned(), HostId::name);
    let entry = Entry { at_ns: virtual_time::nanos().unwrap_or(0), host, what: what() };
    // The listener may itself do something that is reported, such as asking for random bytes: that is no part of the run.
    let _ = LISTENER.try_with(|listener| {
        if let Ok(mut listener) = listener.try_borrow_mut()
            && let Some(listener) = &mut *listener
        {
            listener(entry);
        }
    });
}

/// Runs `turn` as a turn of a task of `host`, or without one of a machine.
pub(crate) fn turn<T>(host: Option<HostId>, turn: impl FnOnce() -> T) -> T {
    if !LISTENING.get() {
        return turn();
    }
    let before = HOST.replace(host);
    note(None, || "a task runs".to_owned());
    let result = turn();
    HOST.set(before);
    result
}

/// A sink that keeps the rows, and reports each to the listener as it is recorded.
pub(crate) struct TraceSink(pub(crate) Arc<Mutex<Records>>);

impl Sink for TraceSink {
    fn take(&self, row: Row) {
        note(None, || serde_json::to_string(&row).expect("plain data is always written"));
        self.0.take(row);
    }

    fn measures(&self) -> bool {
        moments::are_kept()
    }

    fn measure(&self, recorder: &Recorder, what: CallMoment) {
        moments::keep(|| ServerMoment { at_us: recorder.now().as_micros(), server: recorder.source().clone(), what });
    }
}
