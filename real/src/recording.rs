//! Writes the rows of a run to its folder while the run goes on.
//!
//! Rows wait in memory for [`WRITE_INTERVAL`] at most, then a thread writes all that wait; another thread brings them to the
//! disk from time to time. While the disk is slow, the orchestrator reads no more reports than fit into memory here, and the
//! processes keep theirs (see [`Outbox`](crate::outbox::Outbox)): the run itself never waits.

use std::{
    panic,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use kernel::{
    record::Row,
    run_folder::{FolderError, Journal, JournalSyncer, WaitingLines},
    sync::lock,
};
use tokio::sync::Notify;

use crate::{
    events::Waiting,
    rehearsal::{RehearsalError, system},
};

/// Time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// Time between two looks at whether the folder is still there, and between two waits for the disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Number of writes between two looks at the folder.
const WRITES_PER_LOOK: u128 = SYNC_INTERVAL.as_millis() / WRITE_INTERVAL.as_millis();

/// Bytes of lines that may wait to be written.
const BYTES_MAX: usize = 16 << 20;

/// The rows of a run on their way to its folder.
pub(crate) struct Recording {
    queue: Arc<Queue>,
    /// The threads end when this is dropped.
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// The state that the threads share with the run.
#[derive(Default)]
pub(crate) struct Queue {
    lines: Mutex<WaitingLines>,
    /// Takes each line, too, if rows are sent to a topic.
    events: Option<Arc<Waiting>>,
    /// Notified when lines have been written.
    room: Notify,
    failure: Mutex<Option<FolderError>>,
    /// Notified when there is a failure.
    failed: Notify,
}

impl Queue {
    /// Takes a row, which is written soon.
    pub(crate) fn push(&self, row: &Row) {
        let mut lines = lock(&self.lines);
        let line = lines.push(row);
        if let Some(events) = &self.events {
            events.push(row, line);
        }
    }

    /// Completes when there is room for more rows. Awaited before each row, it bounds the memory of all that wait.
    pub(crate) async fn room(&self) {
        loop {
            let written = self.room.notified();
            if lock(&self.lines).len() < BYTES_MAX {
                return;
            }
            written.await;
        }
    }

    /// Completes when rows cannot be written any more.
    pub(crate) async fn failed(&self) {
        self.failed.notified().await;
    }

    fn fail(&self, error: FolderError) {
        lock(&self.failure).get_or_insert(error);
        self.failed.notify_one();
    }
}

impl Recording {
    /// Starts to write rows to `journal`, and to pass them on to `events`, if rows are sent to a topic.
    pub(crate) fn start(journal: Journal, events: Option<Arc<Waiting>>) -> Result<Self, RehearsalError> {
        let queue = Arc::new(Queue { events, ..Queue::default() });
        let syncer = journal.syncer()?;
        let mut recording = Self { queue: queue.clone(), stops: Vec::new(), threads: Vec::new() };
        recording.spawn("rows", move |stop| write(&queue, journal, stop))?;
        let queue = recording.queue.clone();
        recording.spawn("disk", move |stop| sync(&queue, syncer, stop))?;
        Ok(recording)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Receiver<()>) + Send + 'static) -> Result<(), RehearsalError> {
        let (sender, stop) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stop));
        self.threads.push(thread.map_err(system("cannot start a thread"))?);
        self.stops.push(sender);
        Ok(())
    }

    /// Returns what the run gives its rows to.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    /// Writes what waits. Fails if a row could not be written.
    ///
    /// # Panics
    ///
    /// Panics if a thread did: rows are missing then.
    pub(crate) fn end(mut self) -> Result<(), FolderError> {
        if let Err(panic) = self.stop() {
            panic::resume_unwind(panic);
        }
        lock(&self.queue.failure).take().map_or(Ok(()), Err)
    }

    fn stop(&mut self) -> thread::Result<()> {
        self.stops.clear();
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        ended.into_iter().collect()
    }
}

impl Drop for Recording {
    /// Writes what waits, also when a panic ends the run.
    fn drop(&mut self) {
        // A panic of a thread has been reported, and the rows before it are in the folder.
        let _ = self.stop();
    }
}

/// Writes lines until it is stopped or fails.
fn write(queue: &Queue, mut journal: Journal, stop: &Receiver<()>) {
    let mut lines = WaitingLines::default();
    for write in 1_u128.. {
        let is_last = waits(stop, WRITE_INTERVAL);
        std::mem::swap(&mut *lock(&queue.lines), &mut lines);
        let written = journal.append(&mut lines);
        queue.room.notify_waiters();
        let is_there = if is_last || write.is_multiple_of(WRITES_PER_LOOK) { journal.check_place() } else { Ok(()) };
        match written.and(is_there) {
            Err(error) => return queue.fail(error),
            Ok(()) if is_last => return,
            Ok(()) => {}
        }
    }
}

/// Brings lines to the disk until it is stopped or fails.
fn sync(queue: &Queue, mut syncer: JournalSyncer, stop: &Receiver<()>) {
    while !waits(stop, SYNC_INTERVAL) {
        if let Err(error) = syncer.sync() {
            return queue.fail(error);
        }
    }
}

/// Waits for `time`. Returns true at once when it must stop.
fn waits(stop: &Receiver<()>, time: Duration) -> bool {
    stop.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
}
