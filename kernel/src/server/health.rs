//! gRPC's standard health service (`grpc.health.v1`).

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt, future::ready, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::reply::reply;
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// The health service of one replica. Clones share its status.
#[derive(Debug, Clone)]
pub(super) struct HealthService {
    serving: Arc<watch::Sender<bool>>,
    /// The names of the services that it knows, besides the empty one of the server as a whole.
    names: Arc<[&'static str]>,
}

impl HealthService {
    /// Creates a service that reports SERVING for the services with these names.
    pub(super) fn serving(names: impl Iterator<Item = &'static str>) -> Self {
        Self { serving: Arc::new(watch::channel(true).0), names: names.collect() }
    }

    /// Returns true if `service` names a service of this server. The empty name stands for the server as a whole.
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.names.contains(&service)
    }

    /// Completes when the replica stops.
    pub(super) fn stopped(&self) -> impl Future<Output = ServingStatus> + Send + use<> {
        stopped(self.serving.subscribe())
    }

    /// Reports NOT_SERVING from now on, to checks and to open watches.
    pub(super) fn stop(&self) {
        self.serving.send_replace(false);
    }
}

/// The status updates of one watch.
type Updates = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Updates;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.knows(service) {
            return Err(Status::not_found(format!("there is no service `{service}` here")));
        }
        Ok(reply(response(status(*self.serving.borrow())), 0))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Updates>, Status> {
        if !self.knows(&request.get_ref().service) {
            // The protocol keeps the stream open, because the service could be registered later.
            let unknown = stream::iter([ServingStatus::ServiceUnknown]);
            let stop = stream::once(stopped(self.serving.subscribe())).filter_map(|_| ready(None));
            return Ok(Response::new(Box::pin(unknown.chain(stop).map(|status| Ok(response(status))))));
        }
        let is_serving = *self.serving.borrow();
        let now = stream::iter(is_serving.then_some(ServingStatus::Serving));
        let stop = stream::once(stopped(self.serving.subscribe()));
        Ok(Response::new(Box::pin(now.chain(stop).map(|status| Ok(response(status))))))
    }
}

/// Completes when the replica stops. A watch ends after this update, because an open stream would delay a graceful stop
/// for ever.
async fn stopped(mut serving: watch::Receiver<bool>) -> ServingStatus {
    // An error means that the replica is gone, which is a stop too.
    let _ = serving.wait_for(|serving| !serving).await;
    ServingStatus::NotServing
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
