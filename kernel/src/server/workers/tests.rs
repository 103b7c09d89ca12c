use std::{cell::RefCell, sync::Mutex as StdMutex};

use futures_util::future::{join_all, pending};

use super::*;
use crate::{
    entropy::Entropy,
    fuzzing::network::{Network, answering, failing, hanging},
    record::{EventRow, Records},
    server::{Injection, ReplicaSettings},
    status::Code,
    workload::settings::Backend,
};

/// Workers on a host in memory.
struct Fixture {
    network: Arc<Network>,
    world: SharedWorld,
    workers: Arc<Workers>,
    backend: Backend,
    injector: Arc<Injector>,
    records: Arc<StdMutex<Records>>,
    next: RefCell<u64>,
}

/// When a job ended, in milliseconds, and how: how long it waited and was worked on, also in milliseconds.
type Ended = (u64, Result<(u64, u64), NotDone>);

/// Returns a task that behaves as `backend` says.
fn task(backend: Backend, request: u64) -> Task {
    let answer = move |occupancy: Occupancy| -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let served = occupancy.complete(backend.delay).await;
            if backend.failure_rate > 0.0 {
                occupancy.abort(backend.failure_status.name());
            }
            if backend.hang_rate > 0.0 {
                occupancy.hang();
            }
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(served);
            response
        })
    };
    Task { id: AttemptId::of_request(request, 1), method: None, may_stream: false, answer: Box::new(answer) }
}

impl Fixture {
    fn new(settings: ReplicaSettings) -> Self {
        let network = Arc::new(Network::default());
        let world = network.host("server-0");
        let records = Arc::new(StdMutex::new(Records::default()));
        let recorder = Recorder::new(world.clone(), "server-0", records.clone());
        let injector = Arc::new(Injector::new(Entropy::new(1)));
        let backend = settings.backend;
        let workers = Arc::new(Workers::start(world.clone(), recorder, settings, injector.clone(), Arc::default()));
        Self { network, world, workers, backend, injector, records, next: RefCell::new(0) }
    }

    /// Runs a job that arrives at `begin` and whose deadline is at `deadline`, in milliseconds.
    fn job(&self, begin: u64, deadline: Option<u64>) -> impl Future<Output = Ended> + Send + 'static + use<> {
        let request = self.next.replace_with(|next| *next + 1);
        let world = self.world.clone();
        let workers = self.workers.clone();
        let task = task(self.backend, request);
        async move {
            world.sleep_until(millis(begin)).await;
            let done = workers.run(task, None, deadline.map_or(Instant::NEVER, millis)).await;
            let done = done.map(|response| {
                let Served { queued, service } = response.extensions().get().copied().unwrap();
                (queued.as_millis() as u64, service.as_millis() as u64)
            });
            (world.now().as_nanos() / 1_000_000, done)
        }
    }

    /// Runs jobs that arrive at these times, and returns their ends.
    fn run(&self, begins: &[u64]) -> Vec<Ended> {
        self.network.run(join_all(begins.iter().map(|begin| self.job(*begin, None)).collect::<Vec<_>>()))
    }

    fn events(&self) -> Vec<EventRow> {
        crate::sync::lock(&self.records).events.clone()
    }

    /// Number of requests that wait, and that are worked on.
    fn in_progress(&self) -> [u64; 2] {
        let counters = self.workers.counters();
        [&counters.queued, &counters.running].map(|counter| counter.load(Ordering::Relaxed))
    }
}

fn millis(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

fn sized(workers: usize, queue: usize, settings: ReplicaSettings) -> ReplicaSettings {
    ReplicaSettings { workers, queue, ..settings }
}

#[test]
fn jobs_wait_for_a_worker_in_order_and_one_beyond_the_queue_is_refused() {
    let fixture = Fixture::new(sized(1, 1, answering(20)));
    let ended = fixture.run(&[0, 5, 6]);
    assert_eq!(ended, [(20, Ok((0, 20))), (40, Ok((15, 20))), (6, Err(NotDone::QueueFull(1)))]);
    // The places are free again.
    assert_eq!(fixture.run(&[50, 51])[1], (90, Ok((19, 20))));
    assert_eq!(fixture.in_progress(), [0, 0]);
    let counters = fixture.workers.counters();
    let sums = [&counters.finished, &counters.queue_us, &counters.service_us].map(|sum| sum.load(Ordering::Relaxed));
    assert_eq!(sums, [4, 34_000, 80_000]);
    let rows: Vec<_> = fixture.events().into_iter().map(|row| (row.event, row.request, row.duration_us)).collect();
    assert_eq!(rows[..2], [(Event::Finished, Some(0), Some(20_000)), (Event::Finished, Some(1), Some(20_000))]);
}

#[test]
fn as_many_jobs_run_at_once_as_there_are_workers() {
    let fixture = Fixture::new(sized(2, 4, answering(20)));
    let ends: Vec<_> = fixture.run(&[0, 0, 0]).into_iter().map(|ended| ended.0).collect();
    assert_eq!(ends, [20, 20, 40]);
}

#[test]
fn the_counters_say_how_many_jobs_wait_and_run() {
    let fixture = Fixture::new(sized(1, 2, hanging()));
    let jobs: Vec<_> = (0..3).map(|_| fixture.job(0, None)).collect();
    let world = fixture.world.clone();
    fixture.network.run(async move {
        let waits = std::pin::pin!(world.sleep_until(millis(10)));
        futures_util::future::select(std::pin::pin!(join_all(jobs)), waits).await;
    });
    // All callers have left; the job that hangs is found first, and the others are skipped.
    let world = fixture.world.clone();
    fixture.network.run(async move { world.sleep_until(millis(20)).await });
    assert_eq!(fixture.in_progress(), [0, 0]);
    let counters = fixture.workers.counters();
    assert_eq!(counters.skipped.load(Ordering::Relaxed), 2);
    assert_eq!(counters.aborted.load(Ordering::Relaxed), 1);
    let causes: Vec<_> = fixture.events().into_iter().map(|row| (row.event, row.cause.unwrap())).collect();
    let skipped = (Event::Skipped, "caller left".to_owned());
    assert_eq!(causes, [(Event::Aborted, "hangs".to_owned()), skipped.clone(), skipped]);
}

#[test]
fn a_job_that_hangs_occupies_its_worker() {
    let fixture = Fixture::new(sized(1, 2, hanging()));
    let jobs: Vec<_> = (0..2).map(|_| fixture.job(0, None)).collect();
    let world = fixture.world.clone();
    let workers = fixture.workers.clone();
    let seen = fixture.network.run(async move {
        let looks = std::pin::pin!(async {
            world.sleep_until(millis(10)).await;
            let counters = workers.counters();
            [&counters.queued, &counters.running].map(|counter| counter.load(Ordering::Relaxed))
        });
        match futures_util::future::select(std::pin::pin!(join_all(jobs)), looks).await {
            futures_util::future::Either::Right((seen, _)) => seen,
            futures_util::future::Either::Left(_) => panic!("a job has ended"),
        }
    });
    assert_eq!(seen, [1, 1]);
}

#[test]
fn a_job_whose_deadline_has_passed_is_not_started() {
    for (deadline, ended) in [(21, (40, Ok((20, 20)))), (20, (20, Err(NotDone::Late)))] {
        let fixture = Fixture::new(sized(1, 1, answering(20)));
        let jobs = [fixture.job(0, None), fixture.job(0, Some(deadline))];
        assert_eq!(fixture.network.run(join_all(jobs))[1], ended);
        assert_eq!(fixture.workers.counters().skipped.load(Ordering::Relaxed), u64::from(deadline == 20));
    }
}

#[test]
fn a_job_that_waited_for_too_long_is_shed() {
    for (begin, longest, is_shed) in [(0, 20, false), (0, 19, true)] {
        let admission = Admission { max_queue_time: Some(Duration::from_millis(longest)), ..Admission::default() };
        let fixture = Fixture::new(ReplicaSettings { admission: Some(admission), ..sized(1, 1, answering(20)) });
        let ended = fixture.run(&[begin, begin]);
        assert_eq!(ended[1], if is_shed { (20, Err(NotDone::Shed)) } else { (40, Ok((20, 20))) });
    }
}

#[test]
fn admission_limits_the_jobs_in_progress_below_the_room_of_the_queue() {
    let admission = Admission { max_concurrent_requests: Some(2), ..Admission::default() };
    let fixture = Fixture::new(ReplicaSettings { admission: Some(admission), ..sized(1, 10, answering(20)) });
    let ended = fixture.run(&[0, 0, 0, 21]);
    assert_eq!(ended[1..3], [(40, Ok((20, 20))), (0, Err(NotDone::TooMany(2)))]);
    assert_eq!(ended[3].0, 60);
}

#[test]
fn a_job_takes_the_longer_of_its_least_time_and_its_delay_times_the_factor_of_a_fault() {
    for (least, delay, slow, takes) in [(30, 20, 1.0, 30), (20, 30, 1.0, 30), (30, 20, 2.5, 75), (0, 0, 3.0, 0)] {
        let service_time_min = Duration::from_millis(least);
        let fixture = Fixture::new(ReplicaSettings { service_time_min, ..sized(1, 1, answering(delay)) });
        fixture.injector.set(Injection { slow, ..Injection::default() });
        assert_eq!(fixture.run(&[0]), [(takes, Ok((0, takes)))]);
    }
}

#[test]
fn a_fault_that_begins_during_a_job_does_not_change_it() {
    let fixture = Fixture::new(sized(1, 1, answering(20)));
    let world = fixture.world.clone();
    let injector = fixture.injector.clone();
    fixture.world.spawn(Box::pin(async move {
        world.sleep_until(millis(10)).await;
        injector.set(Injection { slow: 10.0, ..Injection::default() });
    }));
    assert_eq!(fixture.run(&[0, 30]), [(20, Ok((0, 20))), (230, Ok((0, 200)))]);
}

#[test]
fn a_job_that_fails_on_purpose_frees_its_worker() {
    let fixture = Fixture::new(sized(1, 1, failing(Code::DataLoss, 20)));
    assert_eq!(fixture.run(&[0, 0]), [(20, Ok((0, 20))), (40, Ok((20, 20)))]);
    assert_eq!(fixture.workers.counters().finished.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.workers.counters().aborted.load(Ordering::Relaxed), 2);
    let row = &fixture.events()[0];
    assert_eq!((row.event, row.request, row.attempt), (Event::Aborted, Some(0), Some(1)));
    assert_eq!(row.cause.as_deref(), Some("DATA_LOSS"));
}

#[test]
fn a_task_whose_caller_leaves_frees_its_worker_unless_it_runs_to_its_end() {
    for runs_to_end in [false, true] {
        let fixture = Fixture::new(sized(1, 1, answering(30)));
        let method = (!runs_to_end).then(|| "shop.v1.Stock/Reserve".to_owned());
        let task = Task { method, ..task(fixture.backend, 7) };
        let world = fixture.world.clone();
        let workers = fixture.workers.clone();
        fixture.network.run(async move {
            let leaves = pin!(world.sleep_until(millis(10)));
            select(pin!(workers.run(task, None, Instant::NEVER)), leaves).await;
            world.sleep_until(millis(40)).await;
        });
        let rows: Vec<_> = fixture.events().into_iter().map(|row| (row.event, row.request, row.duration_us)).collect();
        let ending = if runs_to_end {
            (Event::Finished, Some(7), Some(30_000))
        } else {
            (Event::Cancelled, Some(7), Some(10_000))
        };
        assert_eq!(rows, [ending]);
        let counters = fixture.workers.counters();
        assert_eq!(counters.cancelled.load(Ordering::Relaxed), u64::from(!runs_to_end));
        assert_eq!(fixture.in_progress(), [0, 0]);
    }
}

#[test]
fn a_service_that_does_nothing_with_its_worker_occupies_it_until_it_has_answered() {
    let fixture =
        Fixture::new(ReplicaSettings { service_time_min: Duration::from_millis(20), ..sized(1, 1, answering(0)) });
    for (takes, occupied) in [(5, 20_000), (50, 50_000)] {
        let world = fixture.world.clone();
        let answer = move |_| -> BoxFuture<'static, Response<Body>> {
            Box::pin(async move {
                world.sleep_until(world.now() + Duration::from_millis(takes)).await;
                Response::new(Body::empty())
            })
        };
        let task = Task {
            id: AttemptId::of_request(takes, 2),
            method: Some("shop.v1.Stock/Reserve".to_owned()),
            may_stream: true,
            answer: Box::new(answer),
        };
        let workers = fixture.workers.clone();
        assert!(fixture.network.run(async move { workers.run(task, None, Instant::NEVER).await }).is_ok());
        let row = fixture.events().pop().unwrap();
        assert_eq!((row.event, row.attempt, row.duration_us), (Event::Finished, Some(2), Some(occupied)));
    }
}

#[test]
fn a_service_that_never_answers_occupies_its_worker_until_its_caller_leaves() {
    let fixture = Fixture::new(sized(1, 1, answering(0)));
    let answer = |_| -> BoxFuture<'static, Response<Body>> { Box::pin(pending()) };
    let task = Task {
        id: AttemptId::of_request(1, 1),
        method: Some("shop.v1.Stock/Reserve".to_owned()),
        may_stream: true,
        answer: Box::new(answer),
    };
    let world = fixture.world.clone();
    let workers = fixture.workers.clone();
    fixture.network.run(async move {
        let leaves = pin!(world.sleep_until(millis(10)));
        select(pin!(workers.run(task, None, Instant::NEVER)), leaves).await;
    });
    assert_eq!(fixture.run(&[20]), [(20, Ok((0, 0)))]);
}
