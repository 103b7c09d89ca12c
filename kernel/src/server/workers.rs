//! The workers of a replica and the queue in front of them.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex as StdMutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
    Admission, Injector, ReplicaSettings, Tuning,
    adaptive_queue::QueueState,
    counters::Counters,
    injector::FollowTuning,
    meter::{metered, record_computing},
    occupancy::{Ending, Occupancy, OccupancyTimes, Served},
    queue::{FairReceiver, PeerNumber, Waiting},
    streaming::{LookedAt, StreamTerms, Streaming, look_ahead},
};
use crate::{
    context::{Context, within},
    planted::planted,
    record::{AttemptId, CallMoment, Event, Recorder},
    sync::lock,
    time::Instant,
    world::{BoxFuture, Cost, Payer, SharedWorld, timeout_at},
};

/// A number of workers that take work as [`FairReceiver`] gives it.
pub(super) struct Workers {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    work: mpsc::UnboundedSender<Waiting<Work>>,
    /// Number of requests that run or wait. It bounds the channel, which is not bounded itself.
    admitted: Arc<AtomicUsize>,
    tuning: SharedTuning,
    /// The state of the queue, if it adapts.
    adaptive: Option<Arc<StdMutex<QueueState>>>,
    /// Follows the settings as long as the workers are there.
    _crew: Arc<Crew>,
}

/// The present settings of a replica, which its workers share.
#[derive(Clone)]
struct SharedTuning {
    injector: Arc<Injector>,
    /// The settings before any change.
    first: Tuning,
}

impl SharedTuning {
    fn now(&self) -> Tuning {
        self.injector.tuning().unwrap_or_else(|| self.first.clone())
    }

    /// Completes when there are no more workers than `number`.
    async fn is_without(&self, number: usize) {
        loop {
            let changed = self.injector.next_tuning();
            if self.now().workers <= number {
                return;
            }
            changed.await;
        }
    }
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

/// The answer of a service.
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
    /// The longest time that an adaptive queue lets it wait; `None` without a limit.
    patience: Option<Duration>,
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
        let tuning = SharedTuning { injector: injector.clone(), first: Tuning::from(&settings) };
        let adaptive =
            settings.adaptive_queue.map(|queue| Arc::new(StdMutex::new(QueueState::new(queue, world.now()))));
        let worker = Worker {
            adaptive: adaptive.clone(),
            world: world.clone(),
            recorder: recorder.clone(),
            counters: counters.clone(),
            admitted: admitted.clone(),
            queue,
            injector,
            tuning: tuning.clone(),
            number: 0,
        };
        let injector = worker.injector.clone();
        let crew = Arc::new(Crew { worker, is_there: StdMutex::default() });
        crew.complete();
        let follower: Weak<Crew> = Arc::downgrade(&crew);
        injector.set_follower(follower);
        Self { world, recorder, counters, work, admitted, tuning, adaptive, _crew: crew }
    }

    /// Returns the replica's counters.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the settings of load shedding, if it is on.
    pub(super) fn admission(&self) -> Option<Admission> {
        self.tuning.now().admission
    }

    /// Queues `task` of `peer`, if there is room, and waits for its answer. Dropping the future signals that the caller has left: the
    /// task is then dropped if no worker has taken it yet.
    pub(super) async fn run(
        &self,
        task: Task,
        peer: Option<PeerNumber>,
        deadline: Instant,
    ) -> Result<Response<Body>, NotDone> {
        let Tuning { workers, queue, admission, .. } = self.tuning.now();
        let concurrent_max = admission.and_then(|admission| admission.max_concurrent_requests);
        let room = concurrent_max.unwrap_or(workers + queue);
        if !self.admit(room) {
            return Err(concurrent_max.map_or(NotDone::QueueFull(queue), NotDone::TooMany));
        }
        Counters::count(&self.counters.queued);
        self.recorder.measure(|| CallMoment::Queued);
        let (reply, answered) = oneshot::channel();
        let arrived = self.world.now();
        let patience = self.adaptive.as_ref().and_then(|queue| lock(queue).arrive(arrived));
        let work = Work { task, arrived, patience, deadline, reply };
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

/// The workers that have been started.
struct Crew {
    /// A worker to start others from.
    worker: Worker,
    /// True for each worker, by its number, until it has ended.
    is_there: StdMutex<Vec<Arc<AtomicBool>>>,
}

impl Crew {
    /// Starts the workers that are missing. One that is too many ends by itself.
    fn complete(&self) {
        let mut there = lock(&self.is_there);
        for number in 0..self.worker.tuning.now().workers {
            if number == there.len() {
                there.push(Arc::default());
            }
            let is_there = &there[number];
            if !is_there.swap(true, Ordering::SeqCst) {
                let worker = Worker { number, ..self.worker.clone() };
                self.worker.world.spawn(Box::pin(worker.run_while_there(is_there.clone())));
            }
        }
    }
}

impl FollowTuning for Crew {
    fn on_tuned(&self) {
        self.complete();
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("workers", &self.worker.tuning.now().workers).finish_non_exhaustive()
    }
}

/// The reason why a worker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The replica is gone.
    NoMoreWork,
    /// There are fewer workers than its number.
    NoPlace,
}

/// One worker, which answers one attempt at a time.
#[derive(Clone)]
struct Worker {
    world: SharedWorld,
    recorder: Recorder,
    counters: Arc<Counters>,
    admitted: Arc<AtomicUsize>,
    queue: Arc<Mutex<FairReceiver<Work>>>,
    injector: Arc<Injector>,
    tuning: SharedTuning,
    adaptive: Option<Arc<StdMutex<QueueState>>>,
    /// Its place among the workers: it ends when there are no more than that.
    number: usize,
}

impl Worker {
    /// Runs, and notes in `is_there` when it has ended.
    async fn run_while_there(self, is_there: Arc<AtomicBool>) {
        loop {
            if self.run().await == Ended::NoMoreWork {
                return;
            }
            is_there.store(false, Ordering::SeqCst);
            // A place that it has got back meanwhile, when another thread still saw it there.
            let has_place = self.number < self.tuning.now().workers;
            if !has_place || is_there.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Answers attempts until the replica is gone, or until there is no place for this worker any more.
    async fn run(&self) -> Ended {
        // One future for all waits: it stays in the list of those that a change wakes.
        let mut has_no_place = pin!(self.tuning.is_without(self.number));
        loop {
            if self.tuning.now().workers <= self.number {
                return Ended::NoPlace;
            }
            let work = match select(pin!(self.take()), has_no_place.as_mut()).await {
                Either::Left((Some(work), _)) => work,
                Either::Left((None, _)) => return Ended::NoMoreWork,
                Either::Right(_) => return Ended::NoPlace,
            };
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            Counters::count(&self.counters.running);
            self.recorder.measure(|| CallMoment::Taken);
            self.handle(work).await;
            self.counters.running.fetch_sub(1, Ordering::Relaxed);
            self.recorder.measure(|| CallMoment::Left);
            self.admitted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits for work; `None` if no more can come.
    async fn take(&self) -> Option<Work> {
        let mut queue = self.queue.lock().await;
        let Some(adaptive) = &self.adaptive else { return queue.next().await };
        let work = queue.next_by(|| lock(adaptive).takes_newest()).await;
        lock(adaptive).take(self.world.now());
        work
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
        let Tuning { service_time_min, admission, .. } = self.tuning.now();
        let max_queue_time = admission.and_then(|admission| admission.max_queue_time);
        let max_queue_time = [max_queue_time, work.patience].into_iter().flatten().min();
        if max_queue_time.is_some_and(|longest| started.since(work.arrived) > longest) {
            let _ = work.reply.send(Err(NotDone::Shed));
            return;
        }
        let Task { id, method, may_stream, answer } = work.task;
        let runs_to_end = method.is_none();
        let queued = started.since(work.arrived);
        // Read before the task runs: a fault that begins during the task must not change its service time.
        let slow_factor = self.injector.slow_factor();
        let times = OccupancyTimes { queued, service_time_min, slow_factor };
        let occupancy = Occupancy::new(self.world.clone(), self.recorder.clone(), self.counters.clone(), id, times);
        let answering = async {
            let (response, computed) = match &method {
                // A panic of a workload is a bug of this program, and ends it.
                None if may_stream => (look_ahead(answer(occupancy.clone()).await).await, None),
                None => {
                    let response = answer(occupancy.clone()).await;
                    return Answered::Whole(response, occupancy.complete(Duration::ZERO).await);
                }
                Some(method) => self.answer_by_user(&occupancy, method, answer, work.deadline).await,
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
                let context = method.is_some().then(|| Context::of_attempt(id).until(work.deadline));
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
        let id = terms.occupancy.attempt();
        let deadline = terms.deadline;
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
        deadline: Instant,
    ) -> ((Response<LookedAt>, bool), Option<Duration>) {
        let attempt = occupancy.attempt();
        if self.world.has_time_of(method) {
            // Its own code takes the time that was measured, all of it at the beginning. The draw is none of its computations.
            let cost = Cost { payer: Payer::Server, what: method, units: 1, attempt, nth: u32::MAX };
            self.world.compute(cost, Box::new(|| {})).await;
        }
        let answering = within(Context::of_attempt(attempt).until(deadline), without_panic(occupancy, answer));
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
            self.recorder.event(Event::Finished).of_attempt(id).duration(service).record();
        }
    }

    /// Records that the caller left after the task had begun, which ended it.
    fn cancel(&self, id: AttemptId, occupied: Duration) {
        Counters::count(&self.counters.cancelled);
        self.recorder.event(Event::Cancelled).of_attempt(id).duration(occupied).record();
    }

    fn skip(&self, id: AttemptId, cause: &str) {
        Counters::count(&self.counters.skipped);
        self.recorder.event(Event::Skipped).of_attempt(id).cause(cause).record();
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
