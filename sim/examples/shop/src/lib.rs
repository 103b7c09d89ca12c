//! The stock of a shop, as an app of Rehearsal.

use std::time::Duration;

use proto::{ReserveReply, ReserveRequest, stock_client::StockClient, stock_server::Stock, stock_server::StockServer};
use sim::{App, BoxError, Call, Host};
use tonic::{Request, Response, Status};

/// The generated code.
pub mod proto {
    tonic::include_proto!("shop.v1");
}

/// The price of an item, in cents.
const CENTS: u64 = 250;

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
}

/// Returns the service, and the load that calls it.
pub fn app() -> App {
    App::new()
        .service("stock", |host| async move { host.serve(StockServer::new(Warehouse(host.clone()))).await })
        .load(reserve)
}

/// Makes one request of the load, and checks the reply.
pub async fn reserve(call: Call) -> Result<(), BoxError> {
    let items = 1 + call.id() % 5;
    let request = ReserveRequest { order: call.id(), items };
    let reply = StockClient::new(call.channel()).reserve(request).await?.into_inner();
    call.check(reply.order == call.id(), "the reply is for the order");
    call.check(reply.cents == items * CENTS, "the price is that of the items");
    Ok(())
}
