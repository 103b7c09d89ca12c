//! The thread that sends rows, again and again until the broker has them.

use std::{
    io, mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use kernel::{cli::complain, run_folder::EventsInfo};
use rskafka::{chrono::DateTime, record::Record};
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, sync::Notify};

use super::{
    message::{Messages, partition},
    target::Target,
    topic::{Problem, Topic},
    waiting::{Rows, Waiting},
};
use crate::{clock::machine_ns, export::Exporter, timer::Timer};

/// Time that rows are collected for, while few come. A message costs some hundred microseconds of processor time whatever is in it.
const INTERVAL: Duration = Duration::from_millis(250);

/// Bytes of lines in one message to a broker, half of what Kafka takes by default. If as many wait, they are not collected any longer.
const BATCH_BYTES: usize = 512 << 10;

/// Time that a broker may take for one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest and longest time between two tries of a broker that does not take messages.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Time that the rows that wait at the end of a run may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// The same if the broker did not take messages before the end.
const LAST_TIMEOUT_IN_OUTAGE: Duration = Duration::from_secs(3);

/// Time between two lines about rows that still wait.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Rows on their way to a topic, with the thread that sends them. Dropped, it does what [`end`](Self::end) does.
pub struct Stream {
    info: EventsInfo,
    waiting: Arc<Waiting>,
    shared: Arc<Shared>,
    /// Is closed when the thread has ended; `None` when that has been waited for.
    running: Option<Receiver<()>>,
}

/// The state that the thread shares with the run.
#[derive(Debug, Default)]
struct Shared {
    /// The run has ended.
    stops: AtomicBool,
    /// Notified then.
    stopped: Notify,
    delivered: AtomicU64,
}

impl Stream {
    /// Starts a thread that sends the rows of the run with this identifier in `world` to a topic.
    ///
    /// # Errors
    ///
    /// Fails if the operating system allows no more threads.
    pub fn start(target: &Target, run: &str, world: &str) -> io::Result<Self> {
        Self::start_exported(target, run, world, None)
    }

    /// Does the same, and counts the rows in the metrics of `exporter`.
    pub(super) fn start_exported(
        target: &Target,
        run: &str,
        world: &str,
        exporter: Option<Exporter>,
    ) -> io::Result<Self> {
        let waiting = Arc::<Waiting>::default();
        let shared = Arc::<Shared>::default();
        let mut sender = Sender {
            target: target.clone(),
            messages: Messages::new(run, world),
            waiting: waiting.clone(),
            shared: shared.clone(),
            timer: Timer::start()?,
            exporter,
            exported: (0, 0),
            topic: None,
            rows: Rows::default(),
            next: 0,
            batch: Vec::new(),
            outage: Vec::new(),
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (running, ended) = mpsc::channel();
        thread::Builder::new().name("events".to_owned()).spawn(move || {
            let _running: mpsc::Sender<()> = running;
            runtime.block_on(sender.send_all());
        })?;
        let info = EventsInfo { to: target.to_string(), run: run.to_owned(), delivered: 0, dropped: 0, undelivered: 0 };
        Ok(Self { info, waiting, shared, running: Some(ended) })
    }

    /// Returns what takes the rows.
    pub fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }

    /// Waits until all rows have been delivered, for ten seconds at most, and three if the broker did not take any before; then
    /// says on standard error how many were.
    pub fn end(mut self) -> EventsInfo {
        self.finish();
        self.info.clone()
    }

    fn finish(&mut self) {
        let Some(running) = self.running.take() else { return };
        self.shared.stops.store(true, Ordering::Release);
        self.shared.stopped.notify_one();
        // A panic of the thread has been reported, and closes the channel, too.
        while running.recv_timeout(PROGRESS_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let (_, waiting) = self.counts();
            complain(&format!("note: {waiting} rows still wait to be sent to {}", self.info.to));
        }
        let (dropped, undelivered) = self.counts();
        let delivered = self.shared.delivered.load(Ordering::Acquire);
        self.info = EventsInfo { delivered, dropped, undelivered, ..self.info.clone() };
        complain(&summary(&self.info));
    }

    /// Returns the number of rows that were dropped, and of those that have not been delivered.
    fn counts(&self) -> (u64, u64) {
        let counts = self.waiting.counts();
        let delivered = self.shared.delivered.load(Ordering::Acquire);
        (counts.dropped, (counts.taken - counts.dropped).saturating_sub(delivered))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Returns the line about what was delivered.
fn summary(info: &EventsInfo) -> String {
    let EventsInfo { to, run, delivered, dropped, undelivered } = info;
    if *dropped == 0 && *undelivered == 0 {
        return format!("note: all {delivered} rows of run {run} were delivered to {to}");
    }
    let all = delivered + dropped + undelivered;
    format!(
        "warning: {delivered} of {all} rows of run {run} were delivered to {to}; {dropped} were dropped as too many waited, and \
         {undelivered} were not taken before the end"
    )
}

/// The state of the thread that sends.
struct Sender {
    target: Target,
    messages: Messages,
    waiting: Arc<Waiting>,
    shared: Arc<Shared>,
    timer: Timer,
    exporter: Option<Exporter>,
    /// The numbers of delivered and of dropped rows that the metrics have.
    exported: (u64, u64),
    /// `None` before the first connection, and after a failure.
    topic: Option<Topic>,
    /// The rows that are being sent.
    rows: Rows,
    /// Index of the first of them that is not in the batch and was not.
    next: usize,
    /// The rows in the messages under way that no broker has acknowledged, by partition.
    batch: Vec<Part>,
    /// The problems since rows were last delivered that have been reported.
    outage: Vec<Problem>,
}

/// Rows of one partition, by their indexes.
#[derive(Debug)]
struct Part {
    partition: usize,
    rows: Vec<usize>,
}

impl Sender {
    /// Sends rows until the run has ended and none waits, or they take too long after the end.
    async fn send_all(&mut self) {
        let mut retry = RETRY.0;
        let mut deadline = None;
        loop {
            if self.shared.stops.load(Ordering::Acquire) && deadline.is_none() {
                let time = if self.outage.is_empty() { LAST_TIMEOUT } else { LAST_TIMEOUT_IN_OUTAGE };
                deadline = Some(machine_ns() + nanos(time));
            }
            if self.is_delivered() {
                // Before the rows are taken: what comes between the two is taken.
                let is_last = deadline.is_some();
                self.waiting.take(&mut self.rows);
                self.next = 0;
                self.export();
                if self.rows.len() == 0 {
                    if is_last {
                        return;
                    }
                    self.pause(INTERVAL).await;
                    continue;
                }
            }
            let limit = deadline.unwrap_or(u64::MAX).min(machine_ns() + nanos(ANSWER_TIMEOUT));
            let timer = self.timer.clone();
            let delivered = match select(pin!(self.deliver()), timer.sleep_until(limit)).await {
                Either::Left((delivered, _)) => delivered,
                Either::Right(_) => Err(Problem::Silent(ANSWER_TIMEOUT)),
            };
            if deadline.is_some_and(|deadline| machine_ns() >= deadline) {
                return;
            }
            if let Err(problem) = delivered {
                // What is left of the connection is of no use: who leads which partition may have changed.
                self.topic = None;
                self.report(problem);
                self.pause(retry).await;
                retry = (2 * retry).min(RETRY.1);
            } else {
                retry = RETRY.0;
                self.recover();
                if self.is_delivered() && self.waiting.bytes() < BATCH_BYTES {
                    self.pause(INTERVAL).await;
                }
            }
        }
    }

    /// Returns whether all rows that were taken have been delivered.
    fn is_delivered(&self) -> bool {
        self.batch.is_empty() && self.next == self.rows.len()
    }

    /// Waits for this time, or until the run ends. After that it waits for the shortest time between two tries.
    async fn pause(&self, time: Duration) {
        let ends = self.shared.stops.load(Ordering::Acquire);
        let time = if ends { time.min(RETRY.0) } else { time };
        let wait = self.timer.sleep_until(machine_ns() + nanos(time));
        select(wait, pin!(self.shared.stopped.notified())).await;
    }

    /// Sends a batch: the rest of one that has failed, or the next one.
    async fn deliver(&mut self) -> Result<(), Problem> {
        if self.topic.is_none() {
            self.topic = Some(Topic::open(&self.target).await?);
            // The topic may have another number of partitions than before.
            let mut rows: Vec<_> = mem::take(&mut self.batch).into_iter().flat_map(|part| part.rows).collect();
            rows.sort_unstable();
            self.batch(rows);
        }
        if self.batch.is_empty() {
            let mut bytes = 0;
            let start = self.next;
            while self.next < self.rows.len() && bytes < BATCH_BYTES {
                bytes += self.rows.get(self.next).line.len();
                self.next += 1;
            }
            self.batch((start..self.next).collect());
        }
        let Some(topic) = &self.topic else { return Ok(()) };
        let now = clock_gettime(ClockId::Realtime);
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "less than a second")]
        let timestamp = DateTime::from_timestamp(now.tv_sec, now.tv_nsec as u32).unwrap_or_default();
        let sends = self.batch.iter().map(|part| {
            let rows = part.rows.iter().map(|&index| self.rows.get(index));
            let records = rows.map(|row| Record {
                key: Some(self.messages.key(row)),
                value: Some(self.messages.value(row)),
                headers: std::collections::BTreeMap::new(),
                timestamp,
            });
            let records = records.collect();
            let partition = part.partition;
            async move { (partition, topic.send(partition, records).await) }
        });
        let mut sends: FuturesUnordered<_> = sends.collect();
        let mut result = Ok(());
        while let Some((partition, sent)) = sends.next().await {
            match sent {
                Err(problem) => result = result.and(Err(problem)),
                Ok(()) => {
                    let part = self.batch.extract_if(.., |part| part.partition == partition);
                    let delivered: usize = part.map(|part| part.rows.len()).sum();
                    self.shared.delivered.fetch_add(delivered as u64, Ordering::AcqRel);
                }
            }
        }
        result
    }

    /// Makes a batch of these rows.
    fn batch(&mut self, rows: Vec<usize>) {
        let partitions = self.topic.as_ref().map_or(1, Topic::partitions);
        let mut parts: Vec<_> = (0..partitions).map(|partition| Part { partition, rows: Vec::new() }).collect();
        let mut key = Vec::new();
        for index in rows {
            key.clear();
            self.messages.add_key(&mut key, self.rows.get(index));
            parts[partition(&key, partitions)].rows.push(index);
        }
        parts.retain(|part| !part.rows.is_empty());
        self.batch = parts;
    }

    /// Says once in an outage what is wrong.
    fn report(&mut self, problem: Problem) {
        if !self.outage.iter().any(|said| said.is_like(&problem)) {
            complain(&format!(
                "warning: rows are not sent to {}: {}; the run goes on, and they are sent again and again",
                self.target,
                problem.remedy(&self.target)
            ));
            self.outage.push(problem);
        }
        self.export();
    }

    /// Says that an outage is over.
    fn recover(&mut self) {
        if !self.outage.is_empty() {
            complain(&format!("note: rows are sent to {} again", self.target));
            self.outage.clear();
        }
        self.export();
    }

    /// Brings the metrics up to date.
    fn export(&mut self) {
        let Some(exporter) = &self.exporter else { return };
        let counts = self.waiting.counts();
        let delivered = self.shared.delivered.load(Ordering::Acquire);
        let (before, dropped_before) = mem::replace(&mut self.exported, (delivered, counts.dropped));
        let waiting = (counts.taken - counts.dropped).saturating_sub(delivered);
        exporter.note(|observer| observer.take_delivery(delivered - before, counts.dropped - dropped_before, waiting));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
