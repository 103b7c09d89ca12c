//! The resilient client.
//!
//! A call runs through the stages below, each in a file of its own; a policy that is added slots in as one more.
//!
//! * [`call`]: from the cache, or by attempts, one after another, until one succeeds, none is left or the deadline passes;
//!   then the fallback;
//! * [`hedge`]: attempts side by side instead;
//! * [`retry`]: whether there is another attempt, and after what backoff;
//! * [`policy`](crate::policy): what else has a say, in its order, at each seam from here to the attempt;
//! * [`candidates`]: which servers may be asked: healthy and connected ones, another than the one that failed;
//! * [`balancer`]: which of those is asked;
//! * [`attempt`]: one RPC within its timeout; [`rpc`]: the messages of each workload;
//! * [`channel`]: a connection as tonic's clients take it; [`failure`]: why something failed;
//! * [`connection`]: one pooled connection per server, with gRPC's states and backoff;
//! * [`health`]: which servers are healthy, by answers, failures and [`health_check`]s;
//! * [`cancellation`]: the end of every call that is under way.
//!
//! Every decision is an event in the record.

mod attempt;
mod balancer;
mod call;
mod cancellation;
mod candidates;
mod channel;
mod connection;
mod failure;
mod health;
mod health_check;
mod hedge;
mod probe;
mod retry;
mod rpc;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::select_all;

use crate::{
    entropy::Entropy,
    link::Link,
    policy::{Answers, AttemptPermit, CIRCUIT_OPEN, Chain, PolicyContext, Rejection, Servers},
    record::{Answer, Name, Recorder},
    scenario,
    status::Outcome,
    time::Instant,
    workload::{Input, Output},
    world::SharedWorld,
};
use balancer::{Balancer, Turn};
use cancellation::Cancellation;
use connection::Connection;
use health::Health;
use retry::RetryPolicy;
use rpc::Timeouts;

pub use channel::Channel;
pub(crate) use failure::{CANCELLED, SUPERSEDED};
pub use failure::{Cause, Failure};
pub use probe::probe;

/// A client of a replicated service. Clones share connections and all state.
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
    timeouts: Timeouts,
    chain: Chain,
    /// If there is a cache.
    answers: Option<Mutex<Answers>>,
    cancellation: Cancellation,
}

struct Server {
    name: Name,
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
    /// OK, or the last attempt's status, or that the answer is a degraded one.
    pub outcome: Outcome,
    /// The result, if there is one.
    pub output: Option<Output>,
    /// The server that gave the final answer, if one did.
    pub server: Option<Name>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts that went to another server than the one before.
    pub failovers: u32,
    /// Attempts that were hedges.
    pub hedges: u32,
    /// Whether a policy of the client's own turned an attempt down.
    pub rejected: bool,
    /// Where the result is from, if no server has just given it.
    pub answer: Option<Answer>,
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
            name: link.server().into(),
            connection: Connection::start(world.clone(), entropy, recorder.clone(), link.clone(), health.server(index)),
        };
        let servers = links.iter().enumerate().map(open).collect();
        let names = links.iter().map(|link| link.server().to_owned()).collect();
        let context = PolicyContext { world: &world, entropy, recorder: &recorder, servers: names, client: &settings };
        let chain = Chain::new(&settings.policies, &context);
        let shared = Arc::new(Shared {
            balancer: Mutex::new(balancer::of(settings.load_balancing, links.len())),
            retry: RetryPolicy::new(settings.retry.clone()),
            timeouts: Timeouts::new(settings.attempt_timeout.min(settings.deadline)),
            chain,
            answers: settings.policies.cache.clone().map(Answers::new).map(Mutex::new),
            world,
            entropy,
            recorder,
            settings,
            servers,
            health,
            cancellation: Cancellation::default(),
        });
        for index in 0..links.len() {
            shared.world.spawn(Box::pin(health_check::check_regularly(shared.clone(), index)));
        }
        Self { shared }
    }

    /// Calls until an attempt succeeds, the policy gives up or the deadline passes.
    pub async fn call(&self, request: Request) -> Response {
        call::Call::new(&self.shared, &request).run().await
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
    /// Chooses a server for an attempt of a request, and takes the attempt for sent.
    fn pick(
        &self,
        tried: Servers,
        (request, attempt): (u64, u32),
        permit: &mut AttemptPermit<'_>,
    ) -> Result<usize, Rejection> {
        let now = permit.now();
        // Held throughout, so that what the policies said of a server is still so when it is picked.
        let mut balancer = self.balancer();
        let pool = candidates::of(&self.servers, &self.health, &self.chain, now);
        if pool.is_empty() {
            return Err(CIRCUIT_OPEN);
        }
        self.chain.on_candidates(pool, now);
        let candidates = candidates::others(pool, tried);
        let mut turn = Turn::new(now, self.entropy, request, attempt);
        let picked = self.chain.pick_by_weight(candidates, now, &mut turn, |turn| balancer.pick(candidates, turn));
        balancer.sent(picked);
        permit.on_pick(picked);
        Ok(picked)
    }

    fn balancer(&self) -> MutexGuard<'_, Box<dyn Balancer>> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt that has been sent to `server`.
    fn in_flight(&self, server: usize) -> InFlight<'_> {
        InFlight { client: self, server, ended: None }
    }

    async fn some_server_is_ready(&self) {
        select_all(self.servers.iter().map(|server| Box::pin(server.connection.is_or_becomes_ready()))).await;
    }

    fn answers(&self) -> Option<MutexGuard<'_, Answers>> {
        self.answers.as_ref().map(|answers| answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, input: &Input, output: &Output) {
        if let Some(mut answers) = self.answers() {
            answers.keep(input, output, self.world.now());
        }
    }

    /// Renews the cache's answer to a request, in the background. The attempts are recorded as the request's.
    fn renew(self: &Arc<Self>, request: Request) {
        let client = self.clone();
        self.world.spawn(Box::pin(async move {
            match call::Call::new(&client, &request).make().await {
                Ok((output, _)) => client.keep(&request.input, &output),
                Err(_) => client.answers().into_iter().for_each(|mut answers| answers.not_renewed(&request.input)),
            }
        }));
    }
}

/// Tells the balancer when an attempt is over, whichever way it ends.
struct InFlight<'a> {
    client: &'a Shared,
    server: usize,
    /// How long it took, and when it was over; `None` if nobody waited for it to come to something.
    ended: Option<(Duration, Instant)>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let (took, now) = self.ended.map_or_else(|| (None, self.client.world.now()), |(took, now)| (Some(took), now));
        self.client.balancer().ended(self.server, took, now);
    }
}
