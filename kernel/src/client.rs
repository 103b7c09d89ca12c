//! The resilient client.
//!
//! A call runs through these stages, each a file of its own:
//!
//! * [`channel`]: the call of a generated client;
//! * [`call`]: the whole call: from the cache, or by attempts one after another, then the fallback;
//! * [`inner`]: the calls that a process of a service makes, and their rows;
//! * [`answers`]: the cache, in memory or in a store;
//! * [`streaming`]: the two ends of a call that streams, which the caller reads while a task makes it;
//! * [`hedge`]: attempts side by side instead;
//! * [`retry`]: the decision for another attempt, and the backoff before it;
//! * [`policy`](crate::policy): the other policies, in their order, at hooks from here to the attempt;
//! * [`candidates`](mod@candidates): the servers that can be asked: healthy and connected ones, other than the one that failed;
//! * [`balancer`]: the choice among them;
//! * [`attempt`]: one RPC within its timeout, over a connection as a [`plain_channel`]; [`failure`]: why something failed;
//! * [`metered_attempt`]: the bytes of its messages and its status, for metrics;
//! * [`connection`]: one pooled connection per server, with gRPC's states and its [`backoff`];
//! * [`health`]: which servers are healthy, by answers, failures and [`health_check`]s;
//! * [`cancellation`]: the end of every call under way.
//!
//! Every decision is an event in the record.

mod answers;
mod attempt;
mod backoff;
mod balancer;
mod call;
mod cancellation;
mod candidates;
mod channel;
mod connection;
mod failure;
#[cfg(test)]
mod grpc_tests;

mod health;
mod health_check;
mod hedge;
mod inner;
mod live;
mod metered_attempt;
mod plain_channel;
mod probe;
mod retry;
pub mod settings;
mod streaming;
mod timeouts;

use std::sync::{Arc, Mutex};

use futures_util::future::select_all;

use crate::{
    entropy::Entropy,
    grpc::{Message, Reply},
    link::Link,
    policy::{AllEjected, AttemptPermit, Chain, Changes, PolicyContext, Rejection, Servers},
    record::{Answer, AttemptId, Name, Recorder, StreamFigures},
    status::Outcome,
    store::{self, StoreAccess},
    sync::lock,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};
use answers::Cached;
use attempt::SentAttempt;
use balancer::{Balancer, PickContext};
use cancellation::Cancellation;
use candidates::{Candidates, candidates, prefer_untried};
use connection::{Connection, Ready};
use health::Health;
use health_check::Checks;
use inner::InnerCall;
use live::{Changeable, Present};

pub use channel::Channel;
pub(crate) use channel::{LoadCall, Progress};
pub use failure::{Cause, Failure};
pub(crate) use inner::Edge;
pub use plain_channel::PlainChannel;
pub use probe::probe;

/// A client of a replicated service. Clones share its connections and its state.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    world: SharedWorld,
    entropy: Entropy,
    recorder: Recorder,
    settings: crate::client::settings::Client,
    servers: Vec<Server>,
    ready: Ready,
    health: Health,
    /// Notified when a server may have become a candidate, or none can any more.
    changes: Changes,
    all_ejected: AllEjected,
    balancer: Mutex<Box<dyn Balancer>>,
    /// The settings that can change, as they are now; `settings` has those of the start.
    live: Changeable,
    chain: Chain,
    /// The cache, if it is on.
    answers: Option<Cached>,
    checks: Mutex<Checks>,
    cancellation: Cancellation,
}

struct Server {
    name: Name,
    connection: Connection,
}

/// A request of a caller.
#[derive(Debug, Clone)]
pub struct Request {
    /// Identifies the request within the run, and names the random draws of its call.
    pub id: u64,
    /// The message of the request.
    pub message: Message,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// OK, the status of the last attempt, or degraded if the answer is a substitute.
    pub outcome: Outcome,
    /// The reply, if there is one.
    pub reply: Option<Reply>,
    /// The reason for a failure, for people, if there is no reply.
    pub cause: Option<String>,
    /// The server that gave the final answer, if one did.
    pub server: Option<Name>,
    /// Number of attempts that were sent.
    pub attempts: u32,
    /// Number of attempts that went to another server than the one before.
    pub failovers: u32,
    /// Number of attempts that were hedges.
    pub hedges: u32,
    /// True if a policy of the client rejected an attempt.
    pub rejected: bool,
    /// The source of the reply, if no server has just given it.
    pub answer: Option<Answer>,
    /// The messages of the reply, if it streams.
    pub stream: Option<StreamFigures>,
}

impl Response {
    /// Counts the messages that are missing of a reply that should have had `expected`, if that is known, and has failed.
    pub(crate) fn expect_messages(&mut self, expected: Option<u64>) {
        let has_failed = self.outcome != Outcome::OK || self.answer == Some(Answer::Partial);
        if let Some(stream) = &mut self.stream {
            stream.lost = expected.filter(|_| has_failed).map(|expected| expected.saturating_sub(stream.messages));
        }
    }
}

impl Client {
    /// Starts a client that connects to the servers behind `links` at once and keeps checking their health. If its cache has a store, the
    /// client reaches it as the host `store` of its world, without a login.
    pub fn start(
        world: SharedWorld,
        entropy: Entropy,
        recorder: Recorder,
        settings: crate::client::settings::Client,
        links: &[Arc<Link>],
    ) -> Self {
        let link = || Link::new(world.clone(), entropy, store::NAME);
        let has_store = settings.policies.cache.as_ref().is_some_and(|cache| cache.store.is_some());
        let access = has_store.then(|| StoreAccess { link: link(), prefix: "rehearsal:".to_owned(), login: None });
        Self::start_with_store(world, entropy, recorder, settings, (links, access))
    }

    /// Starts a client as [`start`](Self::start) does, which reaches the store of its cache by `store`.
    pub fn start_with_store(
        world: SharedWorld,
        entropy: Entropy,
        recorder: Recorder,
        settings: crate::client::settings::Client,
        (links, store): (&[Arc<Link>], Option<StoreAccess>),
    ) -> Self {
        let changes = Changes::default();
        let names = || links.iter().map(|link| link.server().to_owned()).collect::<Vec<_>>();
        let health = Health::new(recorder.clone(), names(), &settings, changes.clone());
        let ready = Ready::new(changes.clone());
        let mut servers = Vec::new();
        for (index, link) in links.iter().enumerate() {
            let health = health.server(index);
            let name = link.server().into();
            let world = world.clone();
            let recorder = recorder.clone();
            let link = link.clone();
            servers.push(Server {
                name,
                connection: Connection::start(
                    world,
                    entropy,
                    recorder,
                    link,
                    health,
                    settings.keepalive,
                    ready.clone(),
                ),
            });
        }
        let context = PolicyContext {
            world: &world,
            entropy,
            recorder: &recorder,
            servers: names().into(),
            client: &settings,
            changes: &changes,
        };
        let chain = Chain::new(&settings.policies, &context);
        let all_ejected =
            settings.policies.outlier_detection.as_ref().map_or(AllEjected::AskAnyway, |it| it.all_ejected);
        let shared = Arc::new(Shared {
            balancer: Mutex::new(balancer::build(settings.load_balancing, links.len())),
            live: Changeable::new(&settings),
            chain,
            answers: settings.policies.cache.as_ref().map(|cache| Cached::new(cache, store, &world, &recorder)),
            world,
            entropy,
            recorder,
            settings,
            servers,
            ready,
            health,
            changes,
            all_ejected,
            checks: Mutex::default(),
            cancellation: Cancellation::default(),
        });
        shared.start_checks();
        Self { shared }
    }

    /// Makes a call, which lasts until an attempt succeeds, the policies give up or the deadline passes.
    pub async fn call(&self, request: Request) -> Response {
        call::Call::new(&self.shared, &request, None).run().await
    }

    /// Makes an inner call, as [`call`](Self::call) does.
    async fn call_within(&self, inner: Arc<InnerCall>, request: Request) -> Response {
        let response = call::Call::new(&self.shared, &request, Some(inner.clone())).run().await;
        inner.end(&response);
        response
    }

    /// Makes a call whose reply streams, in a task of its own, which calls `on_end` with its result. The returned future completes with
    /// the begin of the reply. The call is cancelled when the future or the reply is dropped.
    ///
    /// The headers of the reply commit the call: an attempt that fails before is retried or hedged as that of any call, and one that
    /// fails later is the last. No cache answers it, and of the fallbacks only that with the messages that have come.
    pub(crate) fn stream(
        &self,
        request: Request,
        inner: Option<Arc<InnerCall>>,
        on_end: impl FnOnce(Response) + Send + 'static,
    ) -> BoxFuture<'static, Result<http::Response<tonic::body::Body>, tonic::Status>> {
        let (outlet, inlet) = streaming::pair();
        let client = self.shared.clone();
        self.shared.world.spawn(Box::pin(async move {
            let response = call::Call::streaming(&client, &request, inner.clone(), &outlet).run_stream().await;
            inner.iter().for_each(|inner| inner.end(&response));
            if let Outcome::Status(code) = response.outcome {
                outlet.end_with(Err(tonic::Status::new(code.into(), response.cause.clone().unwrap_or_default())));
            }
            on_end(response);
        }));
        Box::pin(inlet.response())
    }

    /// Ends every call under way, and every later one as it starts, with CANCELLED.
    pub fn cancel(&self) {
        self.shared.cancellation.cancel();
    }

    /// Returns the time on the client's host.
    fn now(&self) -> Instant {
        self.shared.world.now()
    }

    /// Completes when [`cancel`](Self::cancel) has been called.
    pub async fn cancelled(&self) {
        self.shared.cancellation.wait().await;
    }
}

impl Shared {
    /// Starts to check the health of every server, by the method of the settings, if they should be checked.
    fn start_checks(self: &Arc<Self>) {
        for server in 0..if self.settings.checks_health() { self.servers.len() } else { 0 } {
            let checks: BoxFuture<'static, ()> = if self.settings.watches_health() {
                Box::pin(health_check::watch(self.clone(), server))
            } else {
                Box::pin(health_check::check_regularly(self.clone(), server))
            };
            self.world.spawn(checks);
        }
    }

    /// Picks a server for `attempt`, which counts as sent from here on. Servers in `tried` are avoided while there are others.
    fn pick(&self, tried: Servers, attempt: AttemptId, permit: &mut AttemptPermit<'_>) -> Result<usize, NotPicked> {
        let now = permit.now();
        // The lock is held throughout, so that no other attempt changes what the policies said of a server before it is picked.
        let mut balancer = lock(&self.balancer);
        let pool = match candidates(self, &**balancer, now) {
            Candidates::Servers(pool) => pool,
            Candidates::Wait(_) => return Err(NotPicked::Wait),
            Candidates::None(rejection) => return Err(NotPicked::None(rejection)),
            Candidates::Blocked(rejection) => return Err(NotPicked::Blocked(rejection)),
        };
        self.chain.on_candidates(pool, now);
        let candidates = prefer_untried(pool, tried);
        let mut context = PickContext::new(now, self.entropy, attempt);
        let picked =
            self.chain.pick_by_weight(candidates, now, &mut context, |context| balancer.pick(candidates, context));
        balancer.on_sent(picked);
        permit.on_pick(picked);
        Ok(picked)
    }

    /// Returns the settings that can change, as they are now.
    fn live(&self) -> Present<'_> {
        self.live.now()
    }

    /// Returns whether an attempt could be sent or would fail now.
    fn candidates(&self) -> Candidates {
        candidates(self, &**lock(&self.balancer), self.world.now())
    }

    /// Returns a guard that keeps count of an attempt that has been sent.
    fn in_flight(&self, attempt: SentAttempt) -> InFlight<'_> {
        InFlight { client: self, server: attempt.server, sent: attempt.at, ended: None }
    }

    async fn some_server_is_ready(&self) {
        select_all(self.servers.iter().map(|server| Box::pin(server.connection.is_or_becomes_ready()))).await;
    }

    fn keep(&self, request: &Request, reply: &Reply) {
        if let Some(answers) = &self.answers {
            answers.keep(request, reply, self.world.now());
        }
    }

    /// Renews the cache's answer to `request` in the background. The attempts are recorded under the request's id, or as an inner call.
    fn renew(self: &Arc<Self>, request: Request, inner: Option<Arc<InnerCall>>) {
        let client = self.clone();
        self.world.spawn(Box::pin(async move {
            let call = call::Call::new(&client, &request, inner.clone());
            let answered = call.send_attempts().await;
            inner.iter().for_each(|inner| inner.end(&call.response_of(&answered)));
            match answered {
                Ok(answered) => client.keep(&request, &answered.reply),
                // The stale answer stays in use, and the next call that finds it renews it.
                Err(_) => {
                    if let Some(answers) = &client.answers {
                        answers.on_renewal_failed(&request);
                    }
                }
            }
        }));
    }
}

/// The reason why no server was picked for an attempt.
enum NotPicked {
    /// A server may become available.
    Wait,
    /// No server is available.
    None(Rejection),
    /// Policies block every server.
    Blocked(Rejection),
}

/// An attempt under way. When it is dropped, the balancer stops counting it, whether the attempt ended or was abandoned.
struct InFlight<'a> {
    client: &'a Shared,
    server: usize,
    sent: Instant,
    /// The time at which it ended; `None` if it is abandoned.
    ended: Option<Instant>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(|| self.client.world.now());
        lock(&self.client.balancer).on_end(self.server, now.since(self.sent), now);
    }
}
