//! The baseline of a request: the same tonic call over a pipe in memory, with no network, no world and no policy.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{client::conn::http2 as client, server::conn::http2 as server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernel::{
    proto::rehearsal::{
        GetDataReply, GetDataRequest, GetMetricsReply, GetMetricsRequest, HealthCheckReply, HealthCheckRequest, Image,
        ProcessImageReply, ProcessImageRequest, ProcessImagesRequest, SearchGraphReply, SearchGraphRequest, Tile,
        rehearsal_client::RehearsalClient,
        rehearsal_server::{Rehearsal, RehearsalServer},
    },
    scenario::Size,
};
use tokio::runtime::{Builder, Runtime};
use tonic::{Request, Response, Status, body::Body};
use tower_service::Service;

/// HTTP/2's flow-control window at both ends, as in the simulation.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const FRAME_BYTES: u32 = 1024 * 1024;

/// Number of images of one size, as many as the simulation's load draws from.
const IMAGES: usize = kernel::workload::pictures::VARIANTS;

/// A runtime, the images of the requests, and as many images of the responses. This is as much memory as a simulation
/// moves, so that the processor's caches help both alike.
pub(crate) struct Duplex {
    runtime: Runtime,
    requests: Vec<Image>,
    replies: Arc<[Image]>,
}

impl Duplex {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            runtime: Builder::new_current_thread().build().expect("a runtime can be made"),
            requests: (0..IMAGES).map(|shade| image(size, shade as u8)).collect(),
            replies: (0..IMAGES).map(|shade| image(size, shade as u8 + 100)).collect(),
        }
    }

    /// Makes `requests` calls, one after the other.
    #[expect(clippy::disallowed_methods, reason = "the baseline has no World")]
    pub(crate) fn call(&self, requests: u64) {
        self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(4 * 1024 * 1024);
            tokio::task::spawn(serve(theirs, Echo(self.replies.clone())));
            let handshake = client::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .max_frame_size(FRAME_BYTES)
                .handshake(TokioIo::new(ours));
            let (sender, connection) = handshake.await.expect("a pipe does not fail");
            tokio::task::spawn(connection);
            let mut stub = RehearsalClient::with_origin(Channel(sender), http::Uri::from_static("http://duplex"));
            for request_id in 0..requests {
                let image = self.requests[request_id as usize % IMAGES].clone();
                let length = image.pixels.len();
                let request = ProcessImageRequest { request_id, image: Some(image) };
                let reply = stub.process_image(request).await.expect("the server answers").into_inner();
                assert!(reply.image.is_some_and(|image| image.pixels.len() == length));
            }
        });
    }
}

fn image(size: Size, shade: u8) -> Image {
    let pixels = Bytes::from(vec![shade; size.width as usize * size.height as usize]);
    Image { width: size.width, height: size.height, pixels }
}

async fn serve(pipe: tokio::io::DuplexStream, echo: Echo) {
    let service = service_fn(|request| {
        let mut echo = RehearsalServer::new(echo.clone());
        async move { Ok::<_, Infallible>(echo.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = server::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .serve_connection(TokioIo::new(pipe), service);
    // The connection ends with the pipe, by an error or without one.
    let _ = connection.await;
}

/// Answers each image with one of the prepared images.
#[derive(Clone)]
struct Echo(Arc<[Image]>);

#[tonic::async_trait]
impl Rehearsal for Echo {
    async fn process_image(
        &self,
        request: Request<ProcessImageRequest>,
    ) -> Result<Response<ProcessImageReply>, Status> {
        let reply = self.0[request.into_inner().request_id as usize % IMAGES].clone();
        Ok(Response::new(ProcessImageReply { image: Some(reply), served_by: None }))
    }

    type ProcessImagesStream = futures_util::stream::Empty<Result<Tile, Status>>;

    async fn process_images(
        &self,
        _: Request<ProcessImagesRequest>,
    ) -> Result<Response<Self::ProcessImagesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn search_graph(&self, _: Request<SearchGraphRequest>) -> Result<Response<SearchGraphReply>, Status> {
        Err(Status::unimplemented("not benchmarked"))
    }

    async fn get_data(&self, _: Request<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        Err(Status::unimplemented("not benchmarked"))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckReply>, Status> {
        Err(Status::unimplemented("not benchmarked"))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsReply>, Status> {
        Err(Status::unimplemented("not benchmarked"))
    }
}

struct Channel(client::SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let reply = self.0.send_request(request);
        Box::pin(async move {
            Ok(reply.await?.map(|body| Body::new(body.map_err(|error| Status::from_error(error.into())))))
        })
    }
}
