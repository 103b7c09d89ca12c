//! The depot and its customers, each behind a stack of their own: `tonic::transport` and layers of tower, in place of the policies of `[client]`.

#[path = "depot.rs"]
#[allow(dead_code, reason = "its app and its load are not those of this one")]
mod depot;

use std::{sync::Arc, time::Duration};

use depot::Depot;
use shop::{
    CENTS,
    proto::{
        ReserveReply, ReserveRequest, TrackRequest,
        stock_client::StockClient,
        stock_server::{Stock, StockServer},
    },
};
use sim::{App, BoxError, Call, Host};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, timeout::Timeout};

/// The time for an order at one replica.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// The time for a search in the depot.
pub const CLERKS_PATIENCE: Duration = Duration::from_millis(100);

/// The layers through which customers call one replica.
pub type Stack = Timeout<ConcurrencyLimit<Channel>>;

/// Returns the stack to the replica of this number. It connects when it is first used, and again when it has lost its connection.
pub fn stack(host: &Host, replica: usize) -> Result<Stack, BoxError> {
    let channel = Endpoint::from_static("http://stock")
        .connect_timeout(Duration::from_millis(500))
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_millis(500))
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(host.connector("stock", replica)?);
    Ok(ServiceBuilder::new().timeout(PATIENCE).concurrency_limit(64).service(channel))
}

/// Makes an order at one replica after the other, until one has it, and checks the reply.
pub async fn order(call: Call, stacks: Arc<[Stack]>) -> Result<(), BoxError> {
    let items = 1 + call.id() % 5;
    let mut failed: BoxError = "there is no replica".into();
    for attempt in 0..stacks.len() {
        let stack = stacks[(call.id() as usize + attempt) % stacks.len()].clone();
        let request = call.request(ReserveRequest { order: call.id(), items });
        match StockClient::new(stack).reserve(request).await {
            Ok(reply) => {
                let reply = reply.into_inner();
                call.check(reply.order == call.id(), "the reply is for the order");
                call.check(reply.cents == items * CENTS, "the price is that of the items");
                return Ok(());
            }
            Err(status) => failed = status.into(),
        }
    }
    Err(failed)
}

/// The depot behind a layer of tower.
struct Counter {
    depot: Arc<Depot>,
    patience: Duration,
}

#[tonic::async_trait]
impl Stock for Counter {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        let depot = self.depot.clone();
        let search = tower::service_fn(move |request| {
            let depot = depot.clone();
            async move { depot.reserve(request).await }
        });
        let mut patient = ServiceBuilder::new().timeout(self.patience).service(search);
        patient.ready().await.map_err(Status::from_error)?.call(request).await.map_err(Status::from_error)
    }

    type TrackStream = <Depot as Stock>::TrackStream;

    async fn track(&self, request: Request<TrackRequest>) -> Result<Response<Self::TrackStream>, Status> {
        self.depot.track(request).await
    }
}

/// Returns the depot, and the load that calls it.
pub fn app() -> App {
    app_with(CLERKS_PATIENCE)
}

/// Does what [`app`] does, with this time for a search.
pub fn app_with(patience: Duration) -> App {
    App::new()
        .service("stock", move |host: Host| async move {
            let depot = Arc::new(Depot::open(|_| ()));
            host.serve(StockServer::new(Counter { depot, patience })).await
        })
        .load_with(|host| {
            let stacks: Result<Arc<[Stack]>, BoxError> = (0..host.replicas()).map(|at| stack(&host, at)).collect();
            let stacks = stacks?;
            Ok(move |call| order(call, stacks.clone()))
        })
}
