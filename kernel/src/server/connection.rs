//! HTTP/2 connections of a replica.

use std::{convert::Infallible, sync::Arc};

use futures_util::{
    TryFutureExt,
    future::{Either, select},
};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tower_service::Service;

use super::{
    deadline,
    health::Health,
    service::{MESSAGE_BYTES_MAX, Replica},
};
use crate::{
    proto::{health::health_server::HealthServer, rehearsal::rehearsal_server::RehearsalServer},
    transport::{self, Executor, HeaderFirst, Io},
    world::{BoxStream, SharedWorld},
};

/// What every connection of a replica shares.
pub(super) struct Connections {
    pub(super) world: SharedWorld,
    pub(super) replica: Arc<Replica>,
    pub(super) health: Health,
    /// Turns true when the replica stops.
    pub(super) stopped: watch::Receiver<bool>,
    /// Held by every open connection.
    pub(super) busy: mpsc::Sender<()>,
}

impl Connections {
    /// Serves one connection, in a task of its own, until either side closes it.
    pub(super) fn serve(&self, stream: BoxStream) {
        let routes = Routes {
            rehearsal: RehearsalServer::from_arc(self.replica.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            health: HealthServer::new(self.health.clone()),
        };
        let (world, io) = (self.world.clone(), Io::new(stream));
        let payloads = io.payloads();
        let service = service_fn(move |request| {
            let payloads = payloads.clone();
            let answer = deadline::enforce(world.clone(), request, routes.clone());
            answer.map_ok(move |response| response.map(|body| payloads.noted(body)))
        });
        let connection = http2::Builder::new(Executor(self.world.clone()))
            // Its length varies with the wall clock, and gRPC has no use for it.
            .auto_date_header(false)
            .initial_stream_window_size(transport::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(transport::CONNECTION_WINDOW_BYTES)
            .max_frame_size(transport::FRAME_BYTES_MAX)
            .max_concurrent_streams(transport::STREAMS_MAX)
            .serve_connection(io, service);
        let (mut stopped, busy) = (self.stopped.clone(), self.busy.clone());
        self.world.spawn(Box::pin(async move {
            let mut connection = std::pin::pin!(connection);
            let stop = std::pin::pin!(async { stopped.wait_for(|stopped| *stopped).await.is_ok() });
            if let Either::Right(_) = select(connection.as_mut(), stop).await {
                connection.as_mut().graceful_shutdown();
                // A broken connection has no one to tell.
                let _ = connection.await;
            }
            drop(busy);
        }));
    }
}

/// The services behind a connection.
#[derive(Clone)]
pub(super) struct Routes {
    rehearsal: RehearsalServer<Replica>,
    health: HealthServer<Health>,
}

impl Routes {
    /// tonic's servers are always ready, so nobody asks them.
    pub(super) async fn route(mut self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(HeaderFirst::new);
        let answered: Result<_, Infallible> = if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            self.health.call(request).await
        } else {
            self.rehearsal.call(request).await
        };
        answered.unwrap_or_else(|never| match never {})
    }
}
