//! The Rehearsal service of a replica.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tonic::{Request, Response, Status};

use super::{
    Injector,
    admission::refusal,
    counters::Counters,
    deadline::Deadline,
    queue::PeerNumber,
    reply::reply,
    workers::{NotDone, Workers},
};
use crate::{
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
        Input, Job, Output, Workloads,
        dfs::{GraphSpec, Search},
        pictures::Picture,
    },
    world::SharedWorld,
};

/// Largest message in either direction, in bytes: an image of 16 megapixels and 64 KiB of room for the other fields.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;

/// The Rehearsal service of one replica.
pub(super) struct Replica {
    world: SharedWorld,
    recorder: Recorder,
    name: String,
    listening_since: Instant,
    workers: Workers,
    workloads: Workloads,
    injector: Arc<Injector>,
}

/// The parts of a request that all methods have in common.
struct AttemptContext {
    /// Id of the request, which all attempts of a call share.
    request: u64,
    /// Number of the attempt within its call, from 1.
    attempt: u32,
    /// The peer that sent it, if peers are numbered.
    peer: Option<PeerNumber>,
    /// Time at which the caller gives up; [`Instant::NEVER`] without a `grpc-timeout`.
    deadline: Instant,
}

impl AttemptContext {
    /// Splits `request` into its context and its message, whose field `id` reads.
    fn split<T>(request: Request<T>, id: impl Fn(&T) -> u64) -> (Self, T) {
        let deadline = request.extensions().get::<Deadline>().map_or(Instant::NEVER, |deadline| deadline.0);
        let peer = request.extensions().get::<PeerNumber>().copied();
        let attempt = attempt_number(&request);
        let message = request.into_inner();
        (Self { request: id(&message), attempt, peer, deadline }, message)
    }
}

impl Replica {
    /// Creates the replica `name`, which has been listening since now.
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

    /// Processes `input` as one attempt, from its arrival to its result.
    async fn process(&self, context: AttemptContext, input: Input) -> Result<(Output, ServedBy), Status> {
        let AttemptContext { request, attempt, peer, deadline } = context;
        let counters = self.workers.counters();
        Counters::count(&counters.received);
        // An injected error comes before all other checks: gRPC A33 fails a call before it reaches the service.
        if let Some(code) = self.injector.injected_error(request, attempt) {
            return Err(self.abort(request, attempt, code, "fault injected"));
        }
        let workload = self.workloads.for_input(&input);
        if let Err(wrong) = workload.check(&input) {
            return Err(self.reject_input(request, attempt, &wrong));
        }
        let job = Job { workload: workload.clone(), input, request, attempt };
        let done = self.workers.run(job, peer, deadline).await.map_err(|not_done| match not_done {
            NotDone::QueueFull(_) | NotDone::TooMany(_) | NotDone::Shed => {
                Counters::count(&counters.refused);
                self.record_refusal(request, attempt, &not_done.to_string());
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

    /// Rejects a request whose message lacks the field `what`.
    fn reject_without(&self, context: &AttemptContext, what: &str) -> Status {
        Counters::count(&self.workers.counters().received);
        self.reject_input(context.request, context.attempt, &format!("the request holds no {what}"))
    }

    /// Records that the input is invalid, and returns the status that says so.
    fn reject_input(&self, request: u64, attempt: u32, wrong: &str) -> Status {
        Counters::count(&self.workers.counters().invalid);
        self.record_refusal(request, attempt, wrong);
        Status::invalid_argument(wrong)
    }

    /// Records that a fault fails the attempt with `code`, and returns that status.
    fn abort(&self, request: u64, attempt: u32, code: Code, cause: &str) -> Status {
        Counters::count(&self.workers.counters().aborted);
        self.recorder.event(Event::Aborted).request(request).attempt(attempt).cause(code.name()).record();
        Status::new(code.into(), cause)
    }

    fn record_refusal(&self, request: u64, attempt: u32, cause: &str) {
        self.recorder.event(Event::Refused).request(request).attempt(attempt).cause(cause).record();
    }
}

#[tonic::async_trait]
impl Rehearsal for Replica {
    async fn process_image(
        &self,
        request: Request<ProcessImageRequest>,
    ) -> Result<Response<ProcessImageReply>, Status> {
        let (context, message) = AttemptContext::split(request, |message| message.request_id);
        let Some(image) = message.image else { return Err(self.reject_without(&context, "image")) };
        let Image { width, height, pixels } = image;
        let input = Input::Image(Picture { width, height, pixels });
        let (output, served_by) = self.process(context, input).await?;
        let bytes = output.byte_count();
        let Output::Image(pixels) = output else { return Err(mismatched_output()) };
        let image = Image { width, height, pixels };
        Ok(reply(ProcessImageReply { image: Some(image), served_by: Some(served_by) }, bytes))
    }

    async fn search_graph(&self, request: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        let (context, message) = AttemptContext::split(request, |message| message.request_id);
        let Some(graph) = message.graph else { return Err(self.reject_without(&context, "graph")) };
        let graph = GraphSpec { nodes: graph.nodes, edges: graph.edges, seed: graph.seed };
        let input = Input::Search(Search { graph, start: message.start });
        let (output, served_by) = self.process(context, input).await?;
        let bytes = output.byte_count();
        let Output::Order(order) = output else { return Err(mismatched_output()) };
        Ok(reply(SearchGraphReply { served_by: Some(served_by), order: order.to_vec() }, bytes))
    }

    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let (context, _) = AttemptContext::split(request, |message| message.request_id);
        let (output, served_by) = self.process(context, Input::Data).await?;
        let bytes = output.byte_count();
        let Output::Data(data) = output else { return Err(mismatched_output()) };
        Ok(reply(GetDataReply { served_by: Some(served_by), data }, bytes))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        let counters = self.workers.counters();
        let message = HealthCheckReply {
            healthy: true,
            server_id: self.name.clone(),
            running: counters.running.load(Relaxed) as u32,
            queued: counters.queued.load(Relaxed) as u32,
        };
        Ok(reply(message, 0))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        let counters = self.workers.counters();
        let message = GetMetricsReply {
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
        };
        Ok(reply(message, 0))
    }
}

/// Returns the status for an output of another kind than the method returns, which is a bug of this program.
fn mismatched_output() -> Status {
    Status::internal("the workload's output is of another kind")
}

/// Returns the attempt's number within its call, from 1, by gRPC A6's header. A request without the header, or with a
/// malformed one, counts as the first attempt.
fn attempt_number<T>(request: &Request<T>) -> u32 {
    let before = request.metadata().get(ATTEMPTS_BEFORE).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    before.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests;
