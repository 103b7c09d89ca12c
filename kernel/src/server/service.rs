//! The Rehearsal service of a replica.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tonic::{Request, Response, Status};

use super::{
    Injector, Settings,
    admission::refusal,
    counters::Counters,
    deadline::Deadline,
    workers::{NotDone, Workers},
};
use crate::{
    entropy::Entropy,
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest, Image,
        ProcessImageReply, ProcessImageRequest, SearchGraphReply, SearchGraphRequest, ServedBy,
        rehearsal_server::Rehearsal,
    },
    record::{Event, Recorder},
    status::Code,
    time::Instant,
    transport::ATTEMPTS_BEFORE,
    workload::{
        Input, Job, Output, Workload,
        backend::Backend,
        dfs::{Dfs, GraphSpec, Search},
        pictures::Picture,
        sobel::Sobel,
    },
    world::SharedWorld,
};

/// The largest message either way: an image of 16 megapixels and some room.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;

/// One replica's answers.
pub(super) struct Replica {
    world: SharedWorld,
    recorder: Recorder,
    name: String,
    listening_since: Instant,
    workers: Workers,
    workloads: Workloads,
    injector: Arc<Injector>,
}

/// One of each.
pub(super) struct Workloads {
    sobel: Arc<dyn Workload>,
    dfs: Arc<dyn Workload>,
    backend: Arc<dyn Workload>,
}

impl Workloads {
    pub(super) fn new(settings: &Settings, entropy: Entropy) -> Self {
        Self {
            sobel: Arc::new(Sobel),
            dfs: Arc::new(Dfs::default()),
            backend: Arc::new(Backend::new(settings.backend, entropy)),
        }
    }
}

/// What a request says of itself, whatever it asks for.
struct Asked {
    request: u64,
    attempt: u32,
    deadline: Instant,
}

impl Asked {
    /// And the message.
    fn of<T>(request: Request<T>, id: impl Fn(&T) -> u64) -> (Self, T) {
        let deadline = request.extensions().get::<Deadline>().map_or(Instant::NEVER, |deadline| deadline.0);
        let attempt = attempt(&request);
        let message = request.into_inner();
        (Self { request: id(&message), attempt, deadline }, message)
    }
}

impl Replica {
    pub(super) fn new(
        world: SharedWorld,
        recorder: Recorder,
        name: &str,
        workers: Workers,
        workloads: Workloads,
        injector: Arc<Injector>,
    ) -> Self {
        let listening_since = world.now();
        Self { world, recorder, name: name.to_owned(), listening_since, workers, workloads, injector }
    }

    async fn run(
        &self,
        asked: Asked,
        workload: &Arc<dyn Workload>,
        input: Input,
    ) -> Result<(Output, ServedBy), Status> {
        let Asked { request, attempt, deadline } = asked;
        let counters = self.workers.counters();
        Counters::count(&counters.received);
        if let Some(code) = self.injector.aborts(request, attempt) {
            return Err(self.abort(request, attempt, code, "fault injected"));
        }
        if let Err(wrong) = workload.check(&input) {
            return Err(self.invalid(request, attempt, &wrong));
        }
        let job = Job { workload: workload.clone(), input, request, attempt };
        let done = self.workers.run(job, deadline).await.map_err(|not_done| match not_done {
            NotDone::QueueFull(_) | NotDone::TooMany(_) | NotDone::Shed => {
                Counters::count(&counters.refused);
                self.refuse(request, attempt, &not_done.to_string());
                refusal(self.workers.admission(), not_done.to_string())
            }
            NotDone::Late => Status::deadline_exceeded(not_done.to_string()),
            NotDone::Failed(code) => Status::new(code.into(), not_done.to_string()),
        })?;
        let served_by = ServedBy {
            server_id: self.name.clone(),
            queue_us: done.queued.as_micros() as u64,
            service_us: done.service.as_micros() as u64,
        };
        Ok((done.output, served_by))
    }

    /// A request without the part that says what it is about.
    fn lacks(&self, asked: &Asked, what: &str) -> Status {
        Counters::count(&self.workers.counters().received);
        self.invalid(asked.request, asked.attempt, &format!("the request holds no {what}"))
    }

    fn invalid(&self, request: u64, attempt: u32, wrong: &str) -> Status {
        Counters::count(&self.workers.counters().invalid);
        self.refuse(request, attempt, wrong);
        Status::invalid_argument(wrong)
    }

    fn abort(&self, request: u64, attempt: u32, code: Code, cause: &str) -> Status {
        Counters::count(&self.workers.counters().aborted);
        self.recorder.event(Event::Aborted).request(request).attempt(attempt).cause(code.name()).record();
        Status::new(code.into(), cause)
    }

    fn refuse(&self, request: u64, attempt: u32, cause: &str) {
        self.recorder.event(Event::Refused).request(request).attempt(attempt).cause(cause).record();
    }
}

#[tonic::async_trait]
impl Rehearsal for Replica {
    async fn process_image(
        &self,
        request: Request<ProcessImageRequest>,
    ) -> Result<Response<ProcessImageReply>, Status> {
        let (asked, message) = Asked::of(request, |message| message.request_id);
        let Some(image) = message.image else { return Err(self.lacks(&asked, "image")) };
        let (width, height) = (image.width, image.height);
        let input = Input::Image(Picture { width, height, pixels: image.pixels });
        let (output, served_by) = self.run(asked, &self.workloads.sobel, input).await?;
        let Output::Image(pixels) = output else { return Err(stranger()) };
        let (image, served_by) = (Some(Image { width, height, pixels }), Some(served_by));
        Ok(Response::new(ProcessImageReply { image, served_by }))
    }

    async fn search_graph(&self, request: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        let (asked, message) = Asked::of(request, |message| message.request_id);
        let Some(graph) = message.graph else { return Err(self.lacks(&asked, "graph")) };
        let graph = GraphSpec { nodes: graph.nodes, edges: graph.edges, seed: graph.seed };
        let input = Input::Search(Search { graph, start: message.start });
        let (output, served_by) = self.run(asked, &self.workloads.dfs, input).await?;
        let Output::Order(order) = output else { return Err(stranger()) };
        Ok(Response::new(SearchGraphReply { served_by: Some(served_by), order: order.to_vec() }))
    }

    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let (asked, _) = Asked::of(request, |message| message.request_id);
        let (output, served_by) = self.run(asked, &self.workloads.backend, Input::Data).await?;
        let Output::Data(data) = output else { return Err(stranger()) };
        Ok(Response::new(GetDataReply { served_by: Some(served_by), data }))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        let counters = self.workers.counters();
        Ok(Response::new(HealthCheckReply {
            healthy: true,
            server_id: self.name.clone(),
            running: counters.running.load(Relaxed) as u32,
            queued: counters.queued.load(Relaxed) as u32,
        }))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        let counters = self.workers.counters();
        Ok(Response::new(GetMetricsReply {
            server_id: self.name.clone(),
            uptime_us: self.world.now().since(self.listening_since).as_micros() as u64,
            received: counters.received.load(Relaxed),
            finished: counters.finished.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            invalid: counters.invalid.load(Relaxed),
            skipped: counters.skipped.load(Relaxed),
            aborted: counters.aborted.load(Relaxed),
            queue_us_total: counters.queue_us.load(Relaxed),
            service_us_total: counters.service_us.load(Relaxed),
            running: counters.running.load(Relaxed) as u32,
            queued: counters.queued.load(Relaxed) as u32,
        }))
    }
}

/// A workload answered in another's terms, which is a bug of this program.
fn stranger() -> Status {
    Status::internal("the workload's output is of another kind")
}

/// The attempt's number within its call, from 1, by gRPC A6's header.
fn attempt<T>(request: &Request<T>) -> u32 {
    let before = request.metadata().get(ATTEMPTS_BEFORE).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    before.unwrap_or(0).saturating_add(1)
}
