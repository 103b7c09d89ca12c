//! The workers of a replica and the queue before them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Admission, Injector, Settings, counters::Counters};
use crate::{
    planted::planted,
    record::{Event, Recorder},
    status::Code,
    time::Instant,
    workload::{Ending, Job, Output},
    world::SharedWorld,
};

/// A fixed number of workers that take work in order of arrival.
pub(super) struct Workers {
    world: SharedWorld,
    counters: Arc<Counters>,
    work: mpsc::UnboundedSender<Work>,
    /// Running or waiting; bounds the channel, which is not bounded itself.
    admitted: Arc<AtomicUsize>,
    settings: Settings,
}

/// A finished kernel run.
pub(super) struct Done {
    pub(super) output: Output,
    /// Waiting for a worker.
    pub(super) queued: Duration,
    /// Holding one.
    pub(super) service: Duration,
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDone {
    #[error("all workers are busy and the queue of {0} is full")]
    QueueFull(usize),
    #[error("the deadline passed while the request waited for a worker")]
    Late,
    #[error("{0} requests are in progress, as many as are admitted")]
    TooMany(usize),
    #[error("the request waited for a worker too long")]
    Shed,
    #[error("the backend fails on purpose")]
    Failed(Code),
}

struct Work {
    job: Job,
    arrived: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Done, NotDone>>,
}

impl Workers {
    pub(super) fn start(world: SharedWorld, recorder: Recorder, settings: Settings, injector: Arc<Injector>) -> Self {
        let counters = Arc::new(Counters::default());
        let admitted = Arc::new(AtomicUsize::new(0));
        let (work, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..settings.workers {
            let worker = Worker {
                world: world.clone(),
                recorder: recorder.clone(),
                counters: counters.clone(),
                admitted: admitted.clone(),
                queue: queue.clone(),
                injector: injector.clone(),
                service_time_min: settings.service_time_min,
                max_queue_time: settings.admission.as_ref().and_then(|admission| admission.max_queue_time),
            };
            world.spawn(Box::pin(worker.run()));
        }
        Self { world, counters, work, admitted, settings }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn admission(&self) -> Option<&Admission> {
        self.settings.admission.as_ref()
    }

    /// Has `job` done, if there is room. Dropping the future tells the workers that nobody waits any more.
    pub(super) async fn run(&self, job: Job, deadline: Instant) -> Result<Done, NotDone> {
        let most = self.admission().and_then(|admission| admission.max_concurrent_requests);
        let room = most.unwrap_or(self.settings.workers + self.settings.queue);
        let admit = |admitted| (admitted < room).then_some(admitted + 1);
        if self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_err() {
            return Err(most.map_or(NotDone::QueueFull(self.settings.queue), NotDone::TooMany));
        }
        Counters::count(&self.counters.queued);
        let (reply, done) = oneshot::channel();
        let work = Work { job, arrived: self.world.now(), deadline, reply };
        self.work.send(work).map_err(|_| ()).expect("workers outlive the connections they serve");
        done.await.expect("a worker answers whatever it takes")
    }
}

struct Worker {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    admitted: Arc<AtomicUsize>,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Work>>>,
    injector: Arc<Injector>,
    service_time_min: Duration,
    max_queue_time: Option<Duration>,
}

impl Worker {
    async fn run(self) {
        while let Some(work) = self.next().await {
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            Counters::count(&self.counters.running);
            self.handle(work).await;
            self.counters.running.fetch_sub(1, Ordering::Relaxed);
            self.admitted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn next(&self) -> Option<Work> {
        self.queue.lock().await.recv().await
    }

    async fn handle(&self, mut work: Work) {
        let started = self.world.now();
        if work.reply.is_closed() {
            return self.skip(&work.job, "caller left");
        }
        if started >= work.deadline {
            self.skip(&work.job, "deadline passed");
            let _ = work.reply.send(Err(NotDone::Late));
            return;
        }
        if self.max_queue_time.is_some_and(|longest| started.since(work.arrived) > longest) {
            let _ = work.reply.send(Err(NotDone::Shed));
            return;
        }
        let (request, attempt) = (work.job.request, work.job.attempt);
        let slow = self.injector.slow();
        let conduct = work.job.workload.conduct(request, attempt);
        let output = self.world.compute(work.job).await;
        let least = self.service_time_min.max(conduct.delay);
        let service_time = times(self.world.now().since(started).max(least), slow);
        self.hold_until(started + service_time).await;
        match conduct.ending {
            Ending::Answer => {}
            Ending::Fail(code) => {
                self.abort(request, attempt, code.name());
                let _ = work.reply.send(Err(NotDone::Failed(code)));
                return;
            }
            Ending::Hang => {
                self.abort(request, attempt, "hangs");
                return work.reply.closed().await;
            }
        }
        let (queued, service) = (started.since(work.arrived), self.world.now().since(started));
        self.counters.finish(queued, service);
        self.recorder.event(Event::Finished).request(request).attempt(attempt).duration(service).record();
        if planted!(Bug::TwiceDone) {
            self.recorder.event(Event::Finished).request(request).attempt(attempt).duration(service).record();
        }
        // Nobody may be waiting any more; the work is done all the same.
        let _ = work.reply.send(Ok(Done { output, queued, service }));
    }

    fn abort(&self, request: u64, attempt: u32, cause: &str) {
        Counters::count(&self.counters.aborted);
        self.recorder.event(Event::Aborted).request(request).attempt(attempt).cause(cause).record();
    }

    /// Keeps the worker busy. A past time costs nothing, not even a look at the clock's queue.
    async fn hold_until(&self, at: Instant) {
        if at > self.world.now() {
            self.world.sleep_until(at).await;
        }
    }

    fn skip(&self, job: &Job, cause: &str) {
        Counters::count(&self.counters.skipped);
        self.recorder.event(Event::Skipped).request(job.request).attempt(job.attempt).cause(cause).record();
    }
}

/// As long as there is, if that is not enough: many faults that overlap slow a server down beyond that.
fn times(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
