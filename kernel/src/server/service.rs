//! The Rehearsal service of a replica.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tonic::{Request, Response, Status};

use super::{
    Injector,
    admission::refusal,
    counters::Counters,
    deadline::Deadline,
    workers::{Done, NotDone, Workers},
};
use crate::{
    proto::rehearsal::{
        GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest, Image, ProcessImageReply,
        ProcessImageRequest, ServedBy, rehearsal_server::Rehearsal,
    },
    record::{Event, Recorder},
    status::Code,
    time::Instant,
    transport::ATTEMPTS_BEFORE,
    workload::{Input, Job, Output, Workload, pictures::Picture, sobel::Sobel},
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
    injector: Arc<Injector>,
    sobel: Arc<dyn Workload>,
}

impl Replica {
    pub(super) fn new(
        world: SharedWorld,
        recorder: Recorder,
        name: &str,
        workers: Workers,
        injector: Arc<Injector>,
    ) -> Self {
        let listening_since = world.now();
        Self { world, recorder, name: name.to_owned(), listening_since, workers, injector, sobel: Arc::new(Sobel) }
    }

    async fn run(&self, job: Job, deadline: Instant) -> Result<Done, Status> {
        let counters = self.workers.counters();
        Counters::count(&counters.received);
        if let Some(code) = self.injector.aborts(job.request, job.attempt) {
            return Err(self.abort(job.request, job.attempt, code, "fault injected"));
        }
        if let Err(wrong) = job.workload.check(&job.input) {
            return Err(self.invalid(job.request, job.attempt, &wrong));
        }
        let (request, attempt) = (job.request, job.attempt);
        self.workers.run(job, deadline).await.map_err(|not_done| match not_done {
            NotDone::QueueFull(_) | NotDone::TooMany(_) | NotDone::Shed => {
                Counters::count(&counters.refused);
                self.refuse(request, attempt, &not_done.to_string());
                refusal(self.workers.admission(), not_done.to_string())
            }
            NotDone::Late => Status::deadline_exceeded(not_done.to_string()),
        })
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

    fn served_by(&self, done: &Done) -> ServedBy {
        ServedBy {
            server_id: self.name.clone(),
            queue_us: done.queued.as_micros() as u64,
            service_us: done.service.as_micros() as u64,
        }
    }
}

#[tonic::async_trait]
impl Rehearsal for Replica {
    async fn process_image(
        &self,
        request: Request<ProcessImageRequest>,
    ) -> Result<Response<ProcessImageReply>, Status> {
        let deadline = request.extensions().get::<Deadline>().map_or(Instant::NEVER, |deadline| deadline.0);
        let attempt = attempt(&request);
        let message = request.into_inner();
        let Some(image) = message.image else {
            Counters::count(&self.workers.counters().received);
            return Err(self.invalid(message.request_id, attempt, "the request holds no image"));
        };
        let (width, height) = (image.width, image.height);
        let input = Input::Image(Picture { width, height, pixels: image.pixels });
        let job = Job { workload: self.sobel.clone(), input, request: message.request_id, attempt };
        let done = self.run(job, deadline).await?;
        let served_by = Some(self.served_by(&done));
        let Output::Image(pixels) = done.output;
        Ok(Response::new(ProcessImageReply { image: Some(Image { width, height, pixels }), served_by }))
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

/// The attempt's number within its call, from 1, by gRPC A6's header.
fn attempt<T>(request: &Request<T>) -> u32 {
    let before = request.metadata().get(ATTEMPTS_BEFORE).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    before.unwrap_or(0).saturating_add(1)
}
