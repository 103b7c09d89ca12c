//! gRPC's standard health service.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt, future::ready, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::proto::{
    health::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health as Service,
    },
    rehearsal::rehearsal_server,
};

/// Whether the replica serves, for all who ask or watch.
#[derive(Debug, Clone)]
pub(super) struct Health {
    serving: Arc<watch::Sender<bool>>,
}

impl Health {
    pub(super) fn serving() -> Self {
        Self { serving: Arc::new(watch::channel(true).0) }
    }

    /// From now on NOT_SERVING, which watchers are told.
    pub(super) fn stop(&self) {
        self.serving.send_replace(false);
    }
}

type Updates = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Service for Health {
    type WatchStream = Updates;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !is_known(service) {
            return Err(Status::not_found(format!("there is no service `{service}` here")));
        }
        Ok(Response::new(response(status(*self.serving.borrow()))))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Updates>, Status> {
        if !is_known(&request.get_ref().service) {
            // The protocol keeps the stream open, in case the service comes to be known.
            let unknown = stream::iter([ServingStatus::ServiceUnknown]);
            let stop = stream::once(stops(self.serving.subscribe())).filter_map(|_| ready(None));
            return Ok(Response::new(Box::pin(unknown.chain(stop).map(|status| Ok(response(status))))));
        }
        let is_serving = *self.serving.borrow();
        let now = stream::iter(is_serving.then_some(ServingStatus::Serving));
        let stop = stream::once(stops(self.serving.subscribe()));
        Ok(Response::new(Box::pin(now.chain(stop).map(|status| Ok(response(status))))))
    }
}

/// Completes when the replica stops. Watches end with it: they would hold up a graceful stop for ever.
async fn stops(mut serving: watch::Receiver<bool>) -> ServingStatus {
    // A sender that is gone has stopped, too.
    let _ = serving.wait_for(|serving| !serving).await;
    ServingStatus::NotServing
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == rehearsal_server::SERVICE_NAME
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
