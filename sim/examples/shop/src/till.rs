//! The till of the shop, a service that calls the stock.

use shop::{
    CENTS, Warehouse,
    proto::{
        CheckoutReply, CheckoutRequest, ReserveRequest,
        stock_client::StockClient,
        stock_server::StockServer,
        till_client::TillClient,
        till_server::{Till, TillServer},
    },
};
use sim::{App, BoxError, Call, Channel, Host};
use tonic::{Request, Response, Status, transport};

/// The till, in one process. The channel has the policies of the scenario's edge from the till to the stock.
pub struct Desk {
    stock: StockClient<Channel>,
}

#[tonic::async_trait]
impl Till for Desk {
    async fn checkout(&self, request: Request<CheckoutRequest>) -> Result<Response<CheckoutReply>, Status> {
        let CheckoutRequest { order, items } = request.into_inner();
        // The call belongs to the attempt that is being answered: it has its deadline, and ends with it.
        let reply = self.stock.clone().reserve(ReserveRequest { order, items }).await?.into_inner();
        Ok(Response::new(CheckoutReply { order: reply.order, cents: reply.cents }))
    }
}

/// The same with a client stack of its own, to one replica of the stock.
pub struct OwnDesk {
    host: Host,
    stock: StockClient<transport::Channel>,
}

#[tonic::async_trait]
impl Till for OwnDesk {
    async fn checkout(&self, request: Request<CheckoutRequest>) -> Result<Response<CheckoutReply>, Status> {
        let CheckoutRequest { order, items } = request.into_inner();
        let request = self.host.request("stock", ReserveRequest { order, items });
        let reply = self.stock.clone().reserve(request).await?.into_inner();
        Ok(Response::new(CheckoutReply { order: reply.order, cents: reply.cents }))
    }
}

/// Returns both services, and the load, which calls the till.
pub fn app() -> App {
    App::new()
        .service("stock", |host| async move { host.serve(StockServer::new(Warehouse(host.clone()))).await })
        .service("till", |host: Host| async move {
            let stock = StockClient::new(host.channel("stock")?);
            host.serve(TillServer::new(Desk { stock })).await.map_err(BoxError::from)
        })
        .load(order)
}

/// Returns the same app with `tonic::transport` in place of the policies of the edge, to one replica of the stock.
pub fn app_with_transport() -> App {
    App::new()
        .service("stock", |host| async move { host.serve(StockServer::new(Warehouse(host.clone()))).await })
        .service("till", |host: Host| async move {
            let endpoint = transport::Endpoint::from_static("http://stock");
            let stock = StockClient::new(endpoint.connect_with_connector_lazy(host.connector("stock", 0)?));
            host.serve(TillServer::new(OwnDesk { host: host.clone(), stock })).await.map_err(BoxError::from)
        })
        .load(order)
}

/// Makes one request of the load, and checks the reply.
async fn order(call: Call) -> Result<(), BoxError> {
    let items = 1 + call.id() % 5;
    let request = CheckoutRequest { order: call.id(), items };
    let reply = TillClient::new(call.channel()).checkout(request).await?.into_inner();
    call.check(reply.order == call.id(), "the reply is for the order");
    call.check(reply.cents == items * CENTS, "the price is that of the items");
    Ok(())
}
