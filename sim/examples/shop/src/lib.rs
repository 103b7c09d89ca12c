//! The stock of a shop, as an app of Rehearsal.

use std::time::Duration;

use futures_util::{StreamExt, stream, stream::BoxStream};
use proto::{ReserveReply, ReserveRequest, TrackReply, TrackRequest};
use proto::{stock_client::StockClient, stock_server::Stock, stock_server::StockServer};
use sim::{App, BoxError, Call, Host, Shape};
use tonic::{Request, Response, Status};

/// The generated code.
pub mod proto {
    tonic::include_proto!("shop.v1");
}

/// The price of an item, in cents.
pub const CENTS: u64 = 250;

/// The steps of a parcel on its way.
pub const STEPS: u64 = 10;

/// The service, in one process.
pub struct Warehouse(pub Host);

#[tonic::async_trait]
impl Stock for Warehouse {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        let ReserveRequest { order, items } = request.into_inner();
        self.0.sleep(Duration::from_millis(5)).await; // a table is asked
        let cents = self.0.compute("price", items, move || items * CENTS).await;
        Ok(Response::new(ReserveReply { order, cents }))
    }

    type TrackStream = BoxStream<'static, Result<TrackReply, Status>>;

    async fn track(&self, request: Request<TrackRequest>) -> Result<Response<Self::TrackStream>, Status> {
        let TrackRequest { order } = request.into_inner();
        let host = self.0.clone();
        let steps = stream::iter(0..STEPS).then(move |step| {
            let host = host.clone();
            async move {
                host.sleep(Duration::from_millis(20)).await; // the parcel moves
                Ok(TrackReply { order, step })
            }
        });
        Ok(Response::new(steps.boxed()))
    }
}

/// Returns the service, and the load that calls it.
pub fn app() -> App {
    App::new()
        .service("stock", |host| async move { host.serve(StockServer::new(Warehouse(host.clone()))).await })
        .streaming("shop.v1.Stock/Track", Shape::ServerStreaming)
        .load(|call: Call| async move {
            if call.kind() == Some("track") { track(call).await } else { reserve(call).await }
        })
}

/// Makes one request of the load, an order, and checks the reply.
pub async fn reserve(call: Call) -> Result<(), BoxError> {
    let items = 1 + call.id() % 5;
    let request = ReserveRequest { order: call.id(), items };
    let reply = StockClient::new(call.channel()).reserve(request).await?.into_inner();
    call.check(reply.order == call.id(), "the reply is for the order");
    call.check(reply.cents == items * CENTS, "the price is that of the items");
    Ok(())
}

/// Makes one request of the load, for the way of a parcel, and checks each step.
pub async fn track(call: Call) -> Result<(), BoxError> {
    call.expect_messages(STEPS);
    let mut steps = StockClient::new(call.channel()).track(TrackRequest { order: call.id() }).await?.into_inner();
    let mut next = 0;
    while let Some(reply) = steps.message().await? {
        call.check((reply.order, reply.step) == (call.id(), next), "the steps are of the order, one after the other");
        next += 1;
    }
    call.check(next == STEPS, "the parcel arrives");
    Ok(())
}
