//! The workers of a replica and the queue in front of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    Admission, Injector, ReplicaSettings,
    counters::Counters,
    queue::{FairReceiver, PeerNumber, Waiting},
};
use crate::{
    planted::planted,
    record::{Event, Recorder},
    status::Code,
    time::Instant,
    workload::{AttemptEnding, Job, Output},
    world::SharedWorld,
};

/// A fixed number of workers that take work as [`FairReceiver`] gives it.
pub(super) struct Workers {
    world: SharedWorld,
    counters: Arc<Counters>,
    work: mpsc::UnboundedSender<Waiting<Work>>,
    /// Number of requests that run or wait. It bounds the channel, which is not bounded itself.
    admitted: Arc<AtomicUsize>,
    settings: ReplicaSettings,
}

/// Result of a job that a worker has completed.
pub(super) struct Done {
    /// Output of the workload function.
    pub(super) output: Output,
    /// Time for which the job waited for a worker.
    pub(super) queued: Duration,
    /// Time for which the job occupied its worker.
    pub(super) service: Duration,
}

/// Reason why a job has no result. Its text is the message of the response's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDone {
    /// The queue, of this many places, is full.
    #[error("all workers are busy and the queue of {0} is full")]
    QueueFull(usize),
    /// The deadline passed before a worker took the job.
    #[error("the deadline passed while the request waited for a worker")]
    Late,
    /// The number of requests in progress is the one that `admission` allows, which is this.
    #[error("{0} requests are in progress, as many as are admitted")]
    TooMany(usize),
    /// The job waited longer than `admission` allows.
    #[error("the request waited for a worker too long")]
    Shed,
    /// The workload fails on purpose, with this status.
    #[error("the backend fails on purpose")]
    Failed(Code),
}

/// A job in the queue.
struct Work {
    job: Job,
    arrived: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Done, NotDone>>,
}

impl Workers {
    /// Starts the workers of a replica with `settings`, each as a task of `world`.
    pub(super) fn start(
        world: SharedWorld,
        recorder: Recorder,
        settings: ReplicaSettings,
        injector: Arc<Injector>,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let admitted = Arc::new(AtomicUsize::new(0));
        let (work, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(FairReceiver::new(queue)));
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

    /// Returns the replica's counters.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the settings of load shedding, if it is on.
    pub(super) fn admission(&self) -> Option<&Admission> {
        self.settings.admission.as_ref()
    }

    /// Queues `job` of `peer`, if there is room, and waits for its result. Dropping the future signals that the caller has left: the
    /// job is then dropped if no worker has taken it yet.
    pub(super) async fn run(&self, job: Job, peer: Option<PeerNumber>, deadline: Instant) -> Result<Done, NotDone> {
        let concurrent_max = self.admission().and_then(|admission| admission.max_concurrent_requests);
        let room = concurrent_max.unwrap_or(self.settings.workers + self.settings.queue);
        if !self.admit(room) {
            return Err(concurrent_max.map_or(NotDone::QueueFull(self.settings.queue), NotDone::TooMany));
        }
        Counters::count(&self.counters.queued);
        let (reply, done) = oneshot::channel();
        let work = Work { job, arrived: self.world.now(), deadline, reply };
        self.work.send((peer, work)).map_err(|_| ()).expect("workers outlive the connections they serve");
        done.await.expect("a worker answers whatever it takes")
    }

    /// Counts one more request in progress, unless there are `room` already. Returns true if it did.
    fn admit(&self, room: usize) -> bool {
        // One atomic step, so that two requests that arrive together do not both take the last place.
        self.admitted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |admitted| (admitted < room).then_some(admitted + 1))
            .is_ok()
    }
}

/// One worker, which processes one job at a time.
struct Worker {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    admitted: Arc<AtomicUsize>,
    queue: Arc<Mutex<FairReceiver<Work>>>,
    injector: Arc<Injector>,
    service_time_min: Duration,
    max_queue_time: Option<Duration>,
}

impl Worker {
    /// Processes jobs until the replica is gone.
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
        self.queue.lock().await.next().await
    }

    /// Processes one job and sends its result to the caller.
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
        let Job { request, attempt, .. } = work.job;
        // Read before the job runs: a fault that begins during the job must not change its service time.
        let slow_factor = self.injector.slow_factor();
        let behavior = work.job.workload.behavior(request, attempt);
        let output = self.world.compute(work.job).await;
        let least = self.service_time_min.max(behavior.delay);
        let service_time = multiplied(self.world.now().since(started).max(least), slow_factor);
        self.hold_until(started + service_time).await;
        match behavior.ending {
            AttemptEnding::Answer => {}
            AttemptEnding::Fail(code) => {
                self.abort(request, attempt, code.name());
                let _ = work.reply.send(Err(NotDone::Failed(code)));
                return;
            }
            AttemptEnding::Hang => {
                self.abort(request, attempt, "hangs");
                return work.reply.closed().await;
            }
        }
        let queued = started.since(work.arrived);
        let service = self.world.now().since(started);
        self.counters.finish(queued, service);
        self.recorder.event(Event::Finished).request(request).attempt(attempt).duration(service).record();
        if planted!(Bug::TwiceDone) {
            self.recorder.event(Event::Finished).request(request).attempt(attempt).duration(service).record();
        }
        // An error means that the caller left while the job ran; the job is finished and counted all the same.
        let _ = work.reply.send(Ok(Done { output, queued, service }));
    }

    fn abort(&self, request: u64, attempt: u32, cause: &str) {
        Counters::count(&self.counters.aborted);
        self.recorder.event(Event::Aborted).request(request).attempt(attempt).cause(cause).record();
    }

    /// Occupies the worker until `at`. A time that has passed costs nothing: no timer is created for it.
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

/// Returns `span * factor`, or the longest duration if the product is longer, as many overlapping faults can make it.
fn multiplied(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
