//! The workloads as a gRPC service.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures_util::{Stream, StreamExt, stream};
use tonic::{Extensions, Request, Response, Status};

use super::{
    AttemptBehavior, AttemptEnding, Input, Output, Results, Workloads,
    dfs::{GraphSpec, Search},
    pictures::Picture,
    rpc,
    server::Server,
    tiles::{self, Bands},
};
use crate::{
    grpc::Services,
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest, Image,
        ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply, SearchGraphRequest, ServedBy,
        Tile, rehearsal_server::Rehearsal,
    },
    record::AttemptId,
    server::{Occupancy, Process, ReplicaSettings, Served, reply},
    time::Instant,
    world::{Cost, Payer, compute},
};

/// The methods that occupy no worker.
const UNQUEUED: &[&str] = &["HealthCheck", "GetMetrics"];

/// Returns the services of a process that serves the workloads of `settings`. The `results` of their functions are used again, if they are
/// given, as in a simulation, where computing takes no real time.
pub fn services(
    settings: &ReplicaSettings,
    results: Option<Arc<Results>>,
) -> impl FnOnce(&Process) -> Services + use<> {
    let ReplicaSettings { backend, kinds, .. } = settings.clone();
    move |process| {
        let workloads = Workloads::new(backend, &kinds, process.entropy);
        let workloads = Arc::new(workloads);
        let service = Service { process: process.clone(), listening_since: process.world.now(), workloads, results };
        Services::default().with_built_in(Server::new(service), UNQUEUED).with_methods(&rpc::methods())
    }
}

/// The Rehearsal service of one process.
pub(super) struct Service {
    process: Process,
    listening_since: Instant,
    workloads: Arc<Workloads>,
    results: Option<Arc<Results>>,
}

impl Service {
    /// Processes `input` by the worker that is occupied, to its result.
    async fn process(&self, occupancy: &Occupancy, input: Input) -> Result<(Output, ServedBy), Status> {
        let workload = self.workloads.for_input(&input).clone();
        workload.check(&input).map_err(|wrong| refuse(occupancy, &wrong))?;
        let attempt = occupancy.attempt();
        let AttemptId { call, number } = attempt;
        let request = call.request().unwrap_or_default();
        let AttemptBehavior { delay, ending } = workload.behavior(request, number);
        let cost = Cost { payer: Payer::Server, what: workload.name(), units: input.units(), attempt, nth: 0 };
        let function = workload.clone();
        let results = self.results.clone();
        let run = move || match results {
            Some(results) => results.get_or_run(&*function, &input),
            None => function.run(&input),
        };
        let output = compute(&*self.process.world, cost, run).await;
        let Served { queued, service } = occupancy.complete(delay).await;
        match ending {
            AttemptEnding::Answer => {}
            AttemptEnding::Fail(code) => {
                occupancy.abort(code.name());
                return Err(Status::new(code.into(), "the backend fails on purpose"));
            }
            AttemptEnding::Hang => {
                occupancy.hang();
                return Err(Status::internal("the backend hangs on purpose"));
            }
        }
        let served_by = ServedBy {
            server_id: self.process.name.clone(),
            queue_us: queued.as_micros() as u64,
            service_us: service.as_micros() as u64,
        };
        Ok((output, served_by))
    }

    /// Processes a whole image by the worker that is occupied.
    pub(super) async fn image(
        &self,
        occupancy: &Occupancy,
        request: ProcessImageRequest,
    ) -> Result<ProcessImageReply, Status> {
        let Some(Image { width, height, pixels }) = request.image else {
            return Err(refuse(occupancy, "the request holds no image"));
        };
        let input = Input::Image(Picture { width, height, pixels });
        let (output, served_by) = self.process(occupancy, input).await?;
        let Output::Image(pixels) = output else { return Err(mismatched_output()) };
        let image = Image { width, height, pixels };
        Ok(ProcessImageReply { image: Some(image), served_by: Some(served_by) })
    }
}

/// Returns the number of pixels in `reply`, one byte each.
pub(super) fn payload_bytes(reply: &ProcessImageReply) -> usize {
    reply.image.as_ref().map_or(0, |image| image.pixels.len())
}

/// The tiles of one image, by the worker that is occupied.
struct Tiles {
    process: Process,
    workloads: Arc<Workloads>,
    results: Option<Arc<Results>>,
    occupancy: Occupancy,
    picture: Picture,
    bands: Bands,
}

impl Tiles {
    /// Returns the tiles from the one after `first`, each of which is computed when the one before it was taken.
    fn after(self, first: u32) -> impl Stream<Item = Result<Tile, Status>> + Send {
        stream::unfold((self, first + 1), |(tiles, index)| async move {
            if index >= tiles.bands.count() {
                return None;
            }
            Some((Ok(tiles.compute(index).await), (tiles, index + 1)))
        })
    }

    /// Computes the tile `index` of the picture, and takes its share of the shortest time of the request.
    async fn compute(&self, index: u32) -> Tile {
        let Self { process, workloads, results, occupancy, picture, bands } = self;
        let rows = bands.rows(index);
        let height = rows.end - rows.start;
        let units = u64::from(picture.width) * u64::from(height);
        let input = Input::Image(picture.clone());
        let workload = workloads.for_input(&input).clone();
        let cost =
            Cost { payer: Payer::Server, what: workload.name(), units, attempt: occupancy.attempt(), nth: index };
        let results = results.clone();
        let picture = picture.clone();
        let computed = rows.clone();
        let function = workload.clone();
        // Where results are kept, the whole image is computed once.
        let run = move || match results.map(|results| results.get_or_run(&*function, &input)) {
            Some(Output::Image(whole)) => tiles::part(&picture, &whole, computed),
            _ => tiles::compute(&picture, computed),
        };
        let pixels = compute(&*process.world, cost, run).await;
        occupancy.complete_share(index + 1, bands.count()).await;
        Tile { row: rows.start, image: Some(Image { width: self.picture.width, height, pixels }) }
    }
}

/// Returns the worker that a request occupies.
pub(super) fn occupancy(extensions: &Extensions) -> Result<Occupancy, Status> {
    extensions.get::<Occupancy>().cloned().ok_or_else(|| Status::internal("no worker is occupied"))
}

/// Records that the input is `wrong`, and returns the status that says so.
fn refuse(occupancy: &Occupancy, wrong: &str) -> Status {
    occupancy.refuse(wrong);
    Status::invalid_argument(wrong)
}

#[tonic::async_trait]
impl Rehearsal for Service {
    async fn process_image(
        &self,
        request: Request<ProcessImageRequest>,
    ) -> Result<Response<ProcessImageReply>, Status> {
        let occupancy = occupancy(request.extensions())?;
        let reply_with_image = self.image(&occupancy, request.into_inner()).await?;
        let bytes = payload_bytes(&reply_with_image);
        Ok(reply(reply_with_image, bytes))
    }

    type ProcessImagesStream = Pin<Box<dyn Stream<Item = Result<Tile, Status>> + Send>>;

    /// Answers when the first tile is computed: the headers of the reply say that it comes.
    async fn process_images(
        &self,
        request: Request<ProcessImagesRequest>,
    ) -> Result<Response<Self::ProcessImagesStream>, Status> {
        let occupancy = occupancy(request.extensions())?;
        let ProcessImagesRequest { tiles, image, .. } = request.into_inner();
        let Some(Image { width, height, pixels }) = image else {
            return Err(refuse(&occupancy, "the request holds no image"));
        };
        if tiles == 0 {
            return Err(refuse(&occupancy, "the request asks for 0 tiles; at least 1 is needed"));
        }
        let picture = Picture { width, height, pixels };
        let input = Input::Image(picture.clone());
        self.workloads.for_input(&input).check(&input).map_err(|wrong| refuse(&occupancy, &wrong))?;
        let Self { process, workloads, results, .. } = self;
        let process = process.clone();
        let workloads = workloads.clone();
        let results = results.clone();
        let tiles = Tiles { process, workloads, results, occupancy, picture, bands: Bands::new(height, tiles) };
        let first = tiles.compute(0).await;
        Ok(Response::new(Box::pin(stream::iter([Ok(first)]).chain(tiles.after(0)))))
    }

    async fn search_graph(&self, request: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        let occupancy = occupancy(request.extensions())?;
        let SearchGraphRequest { graph, start, .. } = request.into_inner();
        let Some(graph) = graph else { return Err(refuse(&occupancy, "the request holds no graph")) };
        let graph = GraphSpec { nodes: graph.nodes, edges: graph.edges, seed: graph.seed };
        let input = Input::Search(Search { graph, start });
        let (output, served_by) = self.process(&occupancy, input).await?;
        let bytes = output.byte_count();
        let Output::Order(order) = output else { return Err(mismatched_output()) };
        Ok(reply(SearchGraphReply { served_by: Some(served_by), order: order.to_vec() }, bytes))
    }

    async fn get_data(&self, request: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let occupancy = occupancy(request.extensions())?;
        let (output, served_by) = self.process(&occupancy, Input::Data).await?;
        let bytes = output.byte_count();
        let Output::Data(data) = output else { return Err(mismatched_output()) };
        Ok(reply(GetDataReply { served_by: Some(served_by), data }, bytes))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        let counters = &self.process.counters;
        let message = HealthCheckReply {
            healthy: true,
            server_id: self.process.name.clone(),
            running: counters.running.load(Relaxed) as u32,
            queued: counters.queued.load(Relaxed) as u32,
        };
        Ok(reply(message, 0))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        let counters = &self.process.counters;
        let message = GetMetricsReply {
            server_id: self.process.name.clone(),
            uptime_us: self.process.world.now().since(self.listening_since).as_micros() as u64,
            received: counters.received.load(Relaxed),
            finished: counters.finished.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            invalid: counters.invalid.load(Relaxed),
            skipped: counters.skipped.load(Relaxed),
            aborted: counters.aborted.load(Relaxed),
            cancelled: counters.cancelled.load(Relaxed),
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
