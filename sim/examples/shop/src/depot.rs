//! The same service and load, written with tokio alone, as code is that knows nothing of a simulation.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream, stream::BoxStream};
use rand::RngExt;
use shop::{
    CENTS, STEPS,
    proto::{
        ReserveReply, ReserveRequest, TrackReply, TrackRequest,
        stock_server::{Stock, StockServer},
    },
    reserve, track,
};
use sim::{App, BoxError, Call, Host};
use tokio::{sync::mpsc, time};
use tonic::{Request, Response, Status};

/// The time between two deliveries.
pub const DELIVERY: Duration = Duration::from_millis(50);

/// An order that takes longer is given up.
const PATIENCE: Duration = Duration::from_millis(200);

/// A customer waits no longer for an order or a parcel.
const CUSTOMERS_PATIENCE: Duration = Duration::from_secs(30);

/// The service, in one process.
pub struct Depot;

impl Depot {
    /// Opens the depot, to which a truck delivers from now on. `delivered` is called with the number of each delivery.
    pub fn open(delivered: impl Fn(u64) + Send + 'static) -> Self {
        tokio::spawn(async move {
            let mut ticker = time::interval(DELIVERY);
            for delivery in 0.. {
                ticker.tick().await;
                delivered(delivery);
            }
        });
        Self
    }
}

/// Searches a shelf, which takes a random time.
async fn search(items: u64) -> u64 {
    let time = Duration::from_micros(rand::rng().random_range(2_000..10_000));
    time::sleep(time).await;
    items * CENTS
}

#[tonic::async_trait]
impl Stock for Depot {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        let begun = Instant::now();
        let ReserveRequest { order, items } = request.into_inner();
        // Two clerks search, and the faster one is enough.
        let searching = tokio::spawn(async move {
            tokio::select! {
                cents = search(items) => cents,
                cents = search(items) => cents,
            }
        });
        match time::timeout(PATIENCE, searching).await {
            Ok(Ok(cents)) => Ok(Response::new(ReserveReply { order, cents })),
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(_) => Err(Status::unavailable(format!("nothing was found within {:?}", begun.elapsed()))),
        }
    }

    type TrackStream = BoxStream<'static, Result<TrackReply, Status>>;

    async fn track(&self, request: Request<TrackRequest>) -> Result<Response<Self::TrackStream>, Status> {
        let TrackRequest { order } = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for step in 0..STEPS {
                time::sleep(Duration::from_millis(20)).await;
                if sender.send(TrackReply { order, step }).await.is_err() {
                    return; // its reader has gone
                }
            }
        });
        let steps = stream::unfold(receiver, |mut receiver| async {
            let step = receiver.recv().await?;
            Some((Ok(step), receiver))
        });
        Ok(Response::new(steps.boxed()))
    }
}

/// Returns the depot, and the load that calls it.
pub fn app() -> App {
    app_that_notes(|_, _| ())
}

/// Does what [`app`] does. `delivered` is called with each delivery to a process.
pub fn app_that_notes(delivered: impl Fn(&Host, u64) + Clone + Send + Sync + 'static) -> App {
    App::new()
        .service("stock", move |host: Host| {
            let delivered = delivered.clone();
            async move {
                let noted = host.clone();
                let depot = Depot::open(move |delivery| delivered(&noted, delivery));
                host.serve(StockServer::new(depot)).await
            }
        })
        .streaming("shop.v1.Stock/Track", sim::Shape::ServerStreaming)
        .load(order)
}

/// Makes one request of the load, when the customer has thought about it for a random time.
async fn order(call: Call) -> Result<(), BoxError> {
    let thought = Duration::from_millis(rand::rng().random_range(0..5));
    time::sleep(thought).await;
    let ordering =
        tokio::spawn(async { if call.kind() == Some("track") { track(call).await } else { reserve(call).await } });
    time::timeout(CUSTOMERS_PATIENCE, ordering).await??
}
