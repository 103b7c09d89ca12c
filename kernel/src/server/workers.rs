//! The workers of a replica and the queue in front of them.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use http::Response;
use tokio::sync::{Mutex, mpsc, oneshot};
use tonic::{Status, body::Body};

use super::{
    Admission, Injector, ReplicaSettings,
    counters::Counters,
    meter::{metered, record_computing},
    occupancy::{Ending, Occupancy, OccupancyTimes, Served},
    queue::{FairReceiver, PeerNumber, Waiting},
    streaming::{LookedAt, StreamTerms, Streaming, look_ahead},
};
use crate::{
    context::{Context, within},
    planted::planted,
    record::{AttemptId, CallMoment, Event, Recorder},
    time::Instant,
    world::{BoxFuture, Cost, Payer, SharedWorld, timeout_at},
};

/// A fixed number of workers that take work as [`FairReceiver`] gives it.
pub(super) struct Workers {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    work: mpsc::UnboundedSender<Waiting<Work>>,
    /// Number of requests that run or wait. It bounds the channel, which is not bounded itself.
    admitted: Arc<AtomicUsize>,
    settings: ReplicaSettings,
}

/// An attempt that a worker answers.
pub(super) struct Task {
    pub(super) id: AttemptId,
    /// The method of a user's service, such as `shop.v1.Stock/Reserve`, which is dropped when its caller has left. `None` if it is one of
    /// this project, which runs to its end.
    pub(super) method: Option<String>,
    /// True if the reply may stream. One of a user always may.
    pub(super) may_stream: bool,
    /// Answers it, by the worker that is occupied.
    pub(super) answer: Answer,
}

/// What a service has answered.
enum Answered {
    /// A whole reply, after the time for which it occupies the worker.
    Whole(Response<Body>, Served),
    /// The begin of a reply that streams, and the time that the service has computed for it, if that is measured.
    Begun(Response<LookedAt>, Option<Duration>),
}

/// Answers an attempt.
type Answer = Box<dyn FnOnce(Occupancy) -> BoxFuture<'static, Response<Body>> + Send>;

/// Reason why a task was not begun. Its text is the message of the response's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDone {
    /// The queue, of this many places, is full.
    #[error("all workers are busy and the queue of {0} is full")]
    QueueFull(usize),
    /// The deadline passed before a worker took the task.
    #[error("the deadline passed while the request waited for a worker")]
    Late,
    /// The number of requests in progress is the one that `admission` allows, which is this.
    #[error("{0} requests are in progress, as many as are admitted")]
    TooMany(usize),
    /// The task waited longer than `admission` allows.
    #[error("the request waited for a worker too long")]
    Shed,
}

/// A task in the queue.
struct Work {
    task: Task,
    arrived: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Response<Body>, NotDone>>,
}

impl Workers {
    /// Starts the workers of a replica with `settings`, each as a task of `world`.
    pub(super) fn start(
        world: SharedWorld,
        recorder: Recorder,
        settings: ReplicaSettings,
        injector: Arc<Injector>,
        counters: Arc<Counters>,
    ) -> Self {
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
        Self { world, recorder, counters, work, admitted, settings }
    }

    /// Returns the replica's counters.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the settings of load shedding, if it is on.
    pub(super) fn admission(&self) -> Option<&Admission> {
        self.settings.admission.as_ref()
    }

    /// Queues `task` of `peer`, if there is room, and waits for its answer. Dropping the future signals that the caller has left: the
    /// task is then dropped if no worker has taken it yet.
    pub(super) async fn run(
        &self,
        task: Task,
        peer: Option<PeerNumber>,
        deadline: Instant,
    ) -> Result<Response<Body>, NotDone> {
        let concurrent_max = self.admission().and_then(|admission| admission.max_concurrent_requests);
        let room = concurrent_max.unwrap_or(self.settings.workers + self.settings.queue);
        if !self.admit(room) {
            return Err(concurrent_max.map_or(NotDone::QueueFull(self.settings.queue), NotDone::TooMany));
        }
        Counters::count(&self.counters.queued);
        self.recorder.measure(|| CallMoment::Queued);
        let (reply, answered) = oneshot::channel();
        let work = Work { task, arrived: self.world.now(), deadline, reply };
        self.work.send((peer, work)).map_err(|_| ()).expect("workers outlive the connections they serve");
        answered.await.expect("a worker answers whatever it takes")
    }

    /// Counts one more request in progress, unless there are `room` already. Returns true if it did.
    fn admit(&self, room: usize) -> bool {
        // One atomic step, so that two requests that arrive together do not both take the last place.
        self.admitted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |admitted| (admitted < room).then_some(admitted + 1))
            .is_ok()
    }
}

/// One worker, which answers one attempt at a time.
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
    /// Answers attempts until the replica is gone.
    async fn run(self) {
        while let Some(work) = self.next().await {
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            Counters::count(&self.counters.running);
            self.recorder.measure(|| CallMoment::Taken);
            self.handle(work).await;
            self.counters.running.fetch_sub(1, Ordering::Relaxed);
            self.recorder.measure(|| CallMoment::Left);
            self.admitted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn next(&self) -> Option<Work> {
        self.queue.lock().await.next().await
    }

    /// Answers one attempt.
    async fn handle(&self, mut work: Work) {
        let started = self.world.now();
        if work.reply.is_closed() {
            return self.skip(work.task.id, "caller left");
        }
        if started >= work.deadline {
            self.skip(work.task.id, "deadline passed");
            let _ = work.reply.send(Err(NotDone::Late));
            return;
        }
        if self.max_queue_time.is_some_and(|longest| started.since(work.arrived) > longest) {
            let _ = work.reply.send(Err(NotDone::Shed));
            return;
        }
        let Task { id, method, may_stream, answer } = work.task;
        let runs_to_end = method.is_none();
        let queued = started.since(work.arrived);
        // Read before the task runs: a fault that begins during the task must not change its service time.
        let slow_factor = self.injector.slow_factor();
        let times = OccupancyTimes { queued, service_time_min: self.service_time_min, slow_factor };
        let occupancy = Occupancy::new(self.world.clone(), self.recorder.clone(), self.counters.clone(), id, times);
        let answering = async {
            let (response, computed) = match &method {
                // A panic of a workload is a bug of this program, and ends it.
                None if may_stream => (look_ahead(answer(occupancy.clone()).await).await, None),
                None => {
                    let response = answer(occupancy.clone()).await;
                    return Answered::Whole(response, occupancy.complete(Duration::ZERO).await);
                }
                Some(method) => self.answer_by_user(&occupancy, method, answer).await,
            };
            let (response, streams) = response;
            if streams {
                occupancy.delay_begin().await;
                return Answered::Begun(response, computed);
            }
            Answered::Whole(response.map(Body::new), occupancy.complete(Duration::ZERO).await)
        };
        let answered = if runs_to_end {
            answering.await
        } else {
            match select(pin!(answering), pin!(work.reply.closed())).await {
                Either::Left((answered, _)) => answered,
                Either::Right(_) => return self.cancel(id, self.world.now().since(started)),
            }
        };
        let (response, served) = match answered {
            Answered::Whole(response, served) => (response, served),
            Answered::Begun(response, computed) => {
                let context = method.is_some().then(|| Context::of_attempt(id));
                let terms = StreamTerms {
                    world: self.world.clone(),
                    recorder: self.recorder.clone(),
                    injector: self.injector.clone(),
                    occupancy,
                    deadline: work.deadline,
                    method,
                    context,
                    computed,
                };
                return self.stream(response, terms, work.reply, started).await;
            }
        };
        match occupancy.ending() {
            Ending::Finished => self.finish(id, served),
            Ending::NotFinished => {}
            Ending::Hangs => return work.reply.closed().await,
        }
        // An error means that the caller left while the task ran; the task is finished and counted all the same.
        let _ = work.reply.send(Ok(response));
    }

    /// Passes on a reply that streams, and waits for its end, or until the deadline: an attempt whose reply is not read occupies its worker
    /// no longer.
    async fn stream(
        &self,
        response: Response<LookedAt>,
        terms: StreamTerms,
        reply: oneshot::Sender<Result<Response<Body>, NotDone>>,
        started: Instant,
    ) {
        let (id, deadline) = (terms.occupancy.attempt(), terms.deadline);
        let (response, mut end) = Streaming::respond(response, terms);
        // An error means that the caller has left, which drops the response.
        let _ = reply.send(Ok(response));
        let has_ended = timeout_at(&*self.world, deadline, end.wait()).await.unwrap_or_default();
        if !has_ended {
            end.stop();
            self.cancel(id, self.world.now().since(started));
        }
    }

    /// Answers by `method` of the service of a user, on behalf of the attempt. Returns the reply, whether it streams, and the time that was
    /// computed for one that does, if that is measured.
    async fn answer_by_user(
        &self,
        occupancy: &Occupancy,
        method: &str,
        answer: Answer,
    ) -> ((Response<LookedAt>, bool), Option<Duration>) {
        let attempt = occupancy.attempt();
        if self.world.has_time_of(method) {
            // Its own code takes the time that was measured, all of it at the beginning. The draw is none of its computations.
            let cost = Cost { payer: Payer::Server, what: method, units: 1, attempt, nth: u32::MAX };
            self.world.compute(cost, Box::new(|| {})).await;
        }
        let answering = within(Context::of_attempt(attempt), without_panic(occupancy, answer));
        if !self.world.measures_computing() {
            return (answering.await, None);
        }
        let (response, time) = metered(&*self.world, answering).await;
        let (_, streams) = &response;
        if *streams {
            return (response, Some(time));
        }
        record_computing(&self.recorder, attempt, (method, 1), time);
        (response, None)
    }

    fn finish(&self, id: AttemptId, Served { queued, service }: Served) {
        self.counters.finish(queued, service);
        for _ in 0..if planted!(Bug::TwiceDone) { 2 } else { 1 } {
            self.recorder.event(Event::Finished).request(id.request).attempt(id.number).duration(service).record();
        }
    }

    /// Records that the caller left after the task had begun, which ended it.
    fn cancel(&self, id: AttemptId, occupied: Duration) {
        Counters::count(&self.counters.cancelled);
        self.recorder.event(Event::Cancelled).request(id.request).attempt(id.number).duration(occupied).record();
    }

    fn skip(&self, id: AttemptId, cause: &str) {
        Counters::count(&self.counters.skipped);
        self.recorder.event(Event::Skipped).request(id.request).attempt(id.number).cause(cause).record();
    }
}

/// Answers by the service of a user. One that panics answers INTERNAL, and its worker stays.
async fn without_panic(occupancy: &Occupancy, answer: Answer) -> (Response<LookedAt>, bool) {
    let answering = AssertUnwindSafe(async { look_ahead(answer(occupancy.clone()).await).await });
    if let Ok(answered) = answering.catch_unwind().await {
        return answered;
    }
    // The panic hook has printed where it happened and why.
    occupancy.abort("panicked");
    look_ahead(Status::internal("the service panicked; its server's standard error says where").into_http()).await
}

#[cfg(test)]
mod tests;
