//! The processes of a simulation that have a runtime of their own, and which of them get a turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kernel::sync::lock;

use super::{Key, Process, inbox::Inbox};
use crate::{activity::Activity, host::Host};

/// The processes of a simulation.
pub(crate) struct Processes {
    turns: Arc<Turns>,
    /// Processes so far, which numbers the next one.
    created: AtomicU64,
    running: Mutex<BTreeMap<Key, Arc<Process>>>,
    /// Those that must be dropped, between two steps: not all that they drop may be dropped within one.
    ended: Mutex<Vec<Arc<Process>>>,
}

/// The processes that ask for a turn.
pub(super) struct Turns {
    activity: Activity,
    asking: Mutex<BTreeSet<Key>>,
}

impl Turns {
    pub(super) fn ask(&self, key: Key) {
        lock(&self.asking).insert(key);
        self.activity.set_process_woken(true);
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Processes {
    pub(crate) fn new(activity: Activity) -> Self {
        let turns = Arc::new(Turns { activity, asking: Mutex::default() });
        Self { turns, created: AtomicU64::new(0), running: Mutex::default(), ended: Mutex::default() }
    }

    /// Starts a process of `host`, which runs what is spawned in its World.
    pub(crate) fn start(&self, host: Arc<Host>) -> Arc<Process> {
        let key = (host.id.number, self.created.fetch_add(1, Relaxed));
        let process = Arc::new(Process::new(host, Inbox::new(key, self.turns.clone())));
        lock(&self.running).insert(key, process.clone());
        process
    }

    /// Drops all of `process` before the next turns.
    pub(crate) fn end(&self, process: &Process) {
        let ended = lock(&self.running).remove(&process.inbox.key());
        lock(&self.ended).extend(ended);
        self.turns.activity.set_process_woken(true);
        self.turns.activity.happened();
    }

    /// Gives a turn to each process that asks for one, in the order of their hosts, until none does.
    pub(crate) fn take_turns(&self) {
        if !self.turns.activity.is_process_woken() {
            return;
        }
        self.drop_ended();
        loop {
            let first = lock(&self.turns.asking).pop_first();
            let Some(key) = first else { break };
            let process = lock(&self.running).get(&key).cloned();
            process.iter().for_each(|process| process.turn());
        }
        self.turns.activity.set_process_woken(false);
    }

    fn drop_ended(&self) {
        let ended = std::mem::take(&mut *lock(&self.ended));
        ended.iter().for_each(|process| process.end());
    }

    /// Drops all processes, at the end of a simulation.
    pub(crate) fn clear(&self) {
        let running = std::mem::take(&mut *lock(&self.running));
        running.values().for_each(|process| process.end());
        self.drop_ended();
    }
}
