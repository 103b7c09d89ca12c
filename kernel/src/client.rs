//! The resilient client.
//!
//! A call runs through the stages below, each in a file of its own; a policy that is added slots in as one more.
//!
//! * [`call`]: attempts, one after another, until one succeeds, none is left or the deadline passes;
//! * [`retry`]: whether there is another attempt, and after what backoff;
//! * [`candidates`]: which servers may be asked: healthy and connected ones, another than the one that failed;
//! * [`balancer`]: which of those is asked;
//! * [`attempt`]: one RPC within its timeout, and why it failed;
//! * [`connection`]: one pooled connection per server, with gRPC's states and backoff;
//! * [`health`]: what the client believes of each server, from answers, failures and active checks;
//! * [`cancellation`]: the end of every call that is under way.
//!
//! Every decision is an event in the record.

mod attempt;
mod balancer;
mod call;
mod cancellation;
mod candidates;
mod connection;
mod health;
mod probe;
mod retry;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    entropy::Entropy,
    link::Link,
    record::Recorder,
    scenario,
    status::Code,
    workload::{Input, Output},
    world::SharedWorld,
};
use balancer::Balancer;
use cancellation::Cancellation;
use connection::Connection;
use health::Health;
use retry::RetryPolicy;

pub use attempt::{Cause, Channel, Failure};
pub use probe::probe;

/// A client of a replicated service. Clones share connections and beliefs.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    world: SharedWorld,
    entropy: Entropy,
    recorder: Recorder,
    settings: scenario::Client,
    servers: Vec<Server>,
    health: Health,
    balancer: Mutex<Box<dyn Balancer>>,
    retry: RetryPolicy,
    cancellation: Cancellation,
}

struct Server {
    name: String,
    connection: Connection,
}

/// What a call asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Unique within the run; names the call's random draws.
    pub id: u64,
    /// What to compute on.
    pub input: Input,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// OK, or the last attempt's status.
    pub code: Code,
    /// The result, if it is OK.
    pub output: Option<Output>,
    /// The server that gave the final answer, if one did.
    pub server: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts that went to another server than the one before.
    pub failovers: u32,
}

impl Client {
    /// A client that connects to the servers behind `links` at once and keeps checking on them.
    pub fn start(
        world: SharedWorld,
        entropy: Entropy,
        recorder: Recorder,
        settings: scenario::Client,
        links: &[Arc<Link>],
    ) -> Self {
        let health = Health::new(recorder.clone(), links.iter().map(|link| link.server().to_owned()).collect());
        let open = |(index, link): (usize, &Arc<Link>)| Server {
            name: link.server().to_owned(),
            connection: Connection::start(world.clone(), entropy, recorder.clone(), link.clone(), health.of(index)),
        };
        let servers = links.iter().enumerate().map(open).collect();
        let shared = Arc::new(Shared {
            balancer: Mutex::new(balancer::of(settings.load_balancing)),
            retry: RetryPolicy::new(settings.retry.clone()),
            world,
            entropy,
            recorder,
            settings,
            servers,
            health,
            cancellation: Cancellation::default(),
        });
        for index in 0..links.len() {
            shared.world.spawn(Box::pin(health::check_regularly(shared.clone(), index)));
        }
        Self { shared }
    }

    /// Calls until an attempt succeeds, the policy gives up or the deadline passes.
    pub async fn call(&self, request: Request) -> Response {
        call::Call::new(&self.shared, request).run().await
    }

    /// Ends every call under way, and every later one at once, with CANCELLED.
    pub fn cancel(&self) {
        self.shared.cancellation.cancel();
    }

    /// Completes when [`cancel`](Self::cancel) has been called.
    pub async fn cancelled(&self) {
        self.shared.cancellation.wait().await;
    }
}

impl Shared {
    fn pick(&self, failed_on: &[usize]) -> usize {
        let candidates =
            candidates::of(&self.servers, &self.health, failed_on, self.settings.retry.prefer_other_server);
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner).pick(&candidates)
    }
}
