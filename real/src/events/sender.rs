//! The thread that sends rows, again and again until the broker has them.

use std::{
    collections::BTreeMap,
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
    batch::Outgoing,
    message::Messages,
    target::Target,
    topic::{Problem, Topic},
    waiting::Waiting,
};
use crate::{clock::machine_ns, export::Exporter, timer::Timer};

/// Time that rows are collected for, while few come. A message costs some hundred microseconds of processor time whatever is in it.
const INTERVAL: Duration = Duration::from_millis(250);

/// Time that a broker may take for messages that are sent together.
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
            outgoing: Outgoing::default(),
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
    outgoing: Outgoing,
    /// The problems since rows were last delivered that have been reported.
    outage: Vec<Problem>,
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
            if self.outgoing.is_delivered() {
                // Before the rows are taken: what comes between the two is taken.
                let is_last = deadline.is_some();
                self.outgoing.take(&self.waiting);
                self.export();
                if self.outgoing.is_delivered() {
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
            match delivered {
                Ok(()) => {
                    retry = RETRY.0;
                    self.recover();
                    if self.outgoing.is_delivered() && !Outgoing::is_full(&self.waiting) {
                        self.pause(INTERVAL).await;
                    }
                }
                Err(problem) => {
                    self.outgoing.fail();
                    // The broker takes less than Kafka does by default. That is no outage as long as less can be sent at a time.
                    if matches!(problem, Problem::TooLarge(_)) && self.outgoing.shrink() {
                        continue;
                    }
                    // What is left of the connection is of no use: who leads which partition may have changed.
                    self.topic = None;
                    self.report(problem);
                    self.pause(retry).await;
                    retry = (2 * retry).min(RETRY.1);
                }
            }
        }
    }

    /// Waits for this time, or until the run ends. After that it waits for the shortest time between two tries.
    async fn pause(&self, time: Duration) {
        let ends = self.shared.stops.load(Ordering::Acquire);
        let time = if ends { time.min(RETRY.0) } else { time };
        let wait = self.timer.sleep_until(machine_ns() + nanos(time));
        select(wait, pin!(self.shared.stopped.notified())).await;
    }

    /// Sends the next batch.
    async fn deliver(&mut self) -> Result<(), Problem> {
        if self.topic.is_none() {
            self.topic = Some(Topic::open(&self.target).await?);
        }
        let Some(topic) = &self.topic else { return Ok(()) };
        // The topic may have another number of partitions than for the last batch.
        self.outgoing.make_batch(&self.messages, topic.partitions());
        let now = clock_gettime(ClockId::Realtime);
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "less than a second")]
        let timestamp = DateTime::from_timestamp(now.tv_sec, now.tv_nsec as u32).unwrap_or_default();
        let Outgoing { rows, batch, .. } = &mut self.outgoing;
        let sends = batch.parts().iter().map(|part| {
            let rows = part.rows.iter().map(|&index| rows.get(index));
            let records = rows.map(|row| Record {
                key: Some(self.messages.key(row)),
                value: Some(self.messages.value(row)),
                headers: BTreeMap::new(),
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
                    let delivered = batch.acknowledge(partition);
                    self.shared.delivered.fetch_add(delivered as u64, Ordering::AcqRel);
                }
            }
        }
        result
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
