//! The resilient channel: what a generated client calls through, in place of a connection.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use prost::DecodeError;
use tokio::sync::Notify;
use tonic::{Status, body::Body};

use super::{
    Client,
    inner::{Edge, InnerCall},
};
use crate::{
    grpc::{Message, Methods, Shape},
    status::Outcome,
    sync::lock,
    time::Instant,
    world::BoxFuture,
};

/// Calls a service through the policies of a [`Client`]. Generated clients are made over it; its clones share the client.
///
/// A status of the last attempt, or of a policy, is the status of the call. The metadata of the caller are sent with each attempt, and its
/// `grpc-timeout` shortens the deadline of the settings. What a call can do depends on the shape of its method:
///
/// | shape | message | reply | attempts |
/// | --- | --- | --- | --- |
/// | unary | kept | passed on when it is whole | as many as the policies allow |
/// | server streaming | kept | passed on from its headers | as many as the policies allow, until one has its headers |
/// | client streaming, bidirectional | passed on | passed on | one |
///
/// A method is unary unless [`streaming`](Self::streaming) or [`described_by`](Self::described_by) declares another shape. A call of one
/// that streams and is not declared fails with UNIMPLEMENTED and a message that says so.
///
/// Of a reply that streams, policies hear at its headers: the attempt is OK for them, whatever follows, and there is no other attempt.
/// `attempt_timeout` is the time for the headers, and the deadline that of the whole stream. Only a bulkhead and the balancer, which
/// count attempts under way, hear of its end. A caller that reads slowly holds the server back, by HTTP/2's flow control. One that drops
/// the reply before its end cancels the call. No cache answers such a call, and of the fallbacks only `partial`: the reply ends as one that
/// is OK, with what has come and the trailer `rehearsal-degraded`. `max_request_message_bytes` does not limit the messages of a stream.
///
/// ```
/// use kernel::{client::Client, proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient}};
///
/// async fn data(client: &Client) -> Result<Vec<u8>, tonic::Status> {
///     let mut stub = RehearsalClient::new(client.channel());
///     let reply = stub.get_data(GetDataRequest { request_id: 0 }).await?;
///     Ok(reply.into_inner().data.to_vec())
/// }
/// ```
#[derive(Clone)]
pub struct Channel {
    client: Client,
    ids: Ids,
    methods: Arc<Methods>,
}

/// The ids of the requests that calls belong to.
#[derive(Clone)]
enum Ids {
    /// Each call is a request of its own; this is the id of the next one.
    Counted(Arc<AtomicU64>),
    /// All calls belong to one request.
    Fixed(u64),
    /// There is one call, which is a request of a load.
    Load(Arc<LoadCall>),
    /// Each call is an inner call of the attempt for which its caller runs.
    Inner(Arc<Edge>),
}

/// The one call of a request of a load.
pub(crate) struct LoadCall {
    /// The id of the request.
    id: u64,
    progress: Mutex<Progress>,
    /// Notified when a call whose reply streams has ended.
    stream_ended: Notify,
}

/// How far a request of a load has come.
#[derive(Debug, Default)]
pub(crate) enum Progress {
    /// It has made no call.
    #[default]
    NotCalled,
    /// Its call is under way, or was dropped.
    Called,
    /// Its call, whose reply streams, is under way.
    Streams,
    /// It has made a second call, by this path.
    CalledAgain(String),
    /// Its call was not made, because of this mistake.
    Mistake(String),
    /// Its call has ended at this time. The response has no reply, which the caller has.
    Ended(Box<super::Response>, Instant),
}

impl LoadCall {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, progress: Mutex::default(), stream_ended: Notify::new() })
    }

    /// Returns how far the request has come, which is known once. It waits for the end of a reply that streams, which its
    /// reader has read or dropped.
    pub(crate) async fn take(&self) -> Progress {
        let ended = self.stream_ended.notified();
        if matches!(*lock(&self.progress), Progress::Streams) {
            ended.await;
        }
        std::mem::take(&mut *lock(&self.progress))
    }

    /// Begins a call by this path. Fails if it is not the first one.
    fn begin(&self, path: &str) -> Result<(), Status> {
        let mut progress = lock(&self.progress);
        if matches!(*progress, Progress::NotCalled) {
            *progress = Progress::Called;
            return Ok(());
        }
        *progress = Progress::CalledAgain(path.to_owned());
        Err(Status::failed_precondition("a request of a load is one call"))
    }

    /// Notes that the reply of its call streams.
    fn stream(&self) {
        self.go_on(Progress::Streams);
    }

    /// Notes that its call was not made.
    fn fail(&self, mistake: &Status) {
        self.go_on(Progress::Mistake(mistake.message().to_owned()));
    }

    fn end(&self, response: super::Response, at: Instant) {
        self.go_on(Progress::Ended(Box::new(response), at));
        self.stream_ended.notify_one();
    }

    /// Notes the `next` progress of the call, unless there was a second one.
    fn go_on(&self, next: Progress) {
        let mut progress = lock(&self.progress);
        if matches!(*progress, Progress::Called | Progress::Streams) {
            *progress = next;
        }
    }
}

impl Client {
    /// Returns a channel whose calls are requests of their own, with ids from 0 that its clones share.
    pub fn channel(&self) -> Channel {
        Channel { client: self.clone(), ids: Ids::Counted(Arc::default()), methods: Arc::default() }
    }

    /// Returns the channel of a process of a service to another service.
    pub(crate) fn channel_of_service(&self, edge: Arc<Edge>, methods: Arc<Methods>) -> Channel {
        Channel { client: self.clone(), ids: Ids::Inner(edge), methods }
    }

    /// Returns the channel of a request of a load, which makes one call. Its metadata say which request it belongs to.
    pub(crate) fn channel_of_load(&self, call: Arc<LoadCall>, methods: Arc<Methods>) -> Channel {
        Channel { client: self.clone(), ids: Ids::Load(call), methods }
    }
}

impl Channel {
    /// Returns the channel whose calls belong to the request `id`, which names their random draws and their rows.
    pub fn for_request(self, id: u64) -> Self {
        Self { ids: Ids::Fixed(id), ..self }
    }

    /// Returns the channel that knows the shape of `method`, such as `shop.v1.Stock/Watch`.
    #[must_use]
    pub fn streaming(mut self, method: &str, shape: Shape) -> Self {
        Arc::make_mut(&mut self.methods).declare(method, shape);
        self
    }

    /// Returns the channel that knows the shapes of the methods in an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are none.
    pub fn described_by(mut self, file_descriptor_set: &[u8]) -> Result<Self, DecodeError> {
        Arc::make_mut(&mut self.methods).describe(file_descriptor_set)?;
        Ok(self)
    }
}

impl<B> tower_service::Service<Request<B>> for Channel
where
    B: HttpBody<Data = Bytes, Error = Status> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    /// Returns that the channel is ready, always. A policy that limits calls refuses them or lets them wait when they are made.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.client.clone();
        let mut load = None;
        let mut inner = None;
        let id = match &self.ids {
            Ids::Counted(next) => next.fetch_add(1, Ordering::Relaxed),
            Ids::Fixed(id) => *id,
            Ids::Load(call) => load.insert(call.clone()).id,
            // Here, where the code of the caller runs: the future may be polled elsewhere.
            Ids::Inner(edge) => inner.insert(edge.begin()).id.request().unwrap_or_default(),
        };
        let shape = self.methods.shape(request.uri().path());
        Box::pin(async move {
            if let Some(load) = &load {
                load.begin(request.uri().path())?;
            }
            let message = if shape.streams_requests() {
                Ok(Message::pass_on(request, shape))
            } else {
                Message::read(request, shape).await
            };
            let mistake = |status: &Status| load.iter().for_each(|load| load.fail(status));
            let mut message = message.inspect_err(mistake)?;
            if load.is_some() {
                message = message.of_request(id);
            }
            if let Some(inner) = &inner {
                message = message.of_call(inner.id);
            }
            let request = super::Request { id, message };
            if shape != Shape::Unary {
                return stream(&client, request, load, inner).await;
            }
            let mut response = match inner {
                Some(inner) => client.call_within(inner, request).await,
                None => client.call(request).await,
            };
            let reply = response.reply.take();
            if let Some(load) = load {
                load.end(response.clone(), client.now());
            }
            match (reply, response.outcome) {
                (Some(reply), _) => Ok(reply.into_response()),
                (None, Outcome::Status(code)) => Err(Status::new(code.into(), response.cause.unwrap_or_default())),
                // There is no outcome of a call without a reply and a status.
                (None, outcome) => Err(Status::internal(format!("a call ended as {outcome:?} without a reply"))),
            }
        })
    }
}

/// Makes a call whose reply streams, or whose messages do.
async fn stream(
    client: &Client,
    request: super::Request,
    load: Option<Arc<LoadCall>>,
    inner: Option<Arc<InnerCall>>,
) -> Result<Response<Body>, Status> {
    let Some(load) = load else { return client.stream(request, inner, drop).await };
    load.stream();
    let now = client.clone();
    client.stream(request, None, move |response| load.end(response, now.now())).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::settings::{Client as Settings, Retry},
        fuzzing::network::{Service, answering, at, failing, hanging, plain},
        policy::{Cache, Policies},
        proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient},
        record::Event,
        server::ReplicaSettings,
        status::Code,
        time::Instant,
    };

    /// Makes two calls through a channel over servers with `replicas`, one after the other.
    fn play(
        settings: Settings,
        replicas: Vec<ReplicaSettings>,
        timeout: Option<Duration>,
    ) -> (Service, u64, [Result<Vec<u8>, Status>; 2]) {
        let service = Service::new(replicas.len());
        for (index, replica) in replicas.into_iter().enumerate() {
            service.serve(index, replica, Instant::NEVER);
        }
        let channel = service.client(settings).channel();
        let world = service.world.clone();
        let (millis, results) = service.network.run(async move {
            world.sleep_until(at(0)).await;
            let mut stub = RehearsalClient::new(channel);
            let mut results = [Ok(Vec::new()), Ok(Vec::new())];
            for result in &mut results {
                let mut request = tonic::Request::new(GetDataRequest { request_id: 5 });
                if let Some(timeout) = timeout {
                    request.set_timeout(timeout);
                }
                *result = stub.get_data(request).await.map(|reply| reply.into_inner().data.to_vec());
            }
            (world.now().since(at(0)).as_millis() as u64, results)
        });
        (service, millis, results)
    }

    #[test]
    fn a_generated_client_calls_through_the_policies() {
        let replicas = vec![failing(Code::Unavailable, 10), answering(20)];
        let (service, millis, results) = play(plain(), replicas, None);
        assert_eq!(results.map(Result::unwrap), [b"data of the backend".to_vec(), b"data of the backend".to_vec()]);
        // The first call has a retry after 100 ms; the second one goes to the server that is healthy.
        assert_eq!(millis, 150);
        let events = [Event::Pick, Event::AttemptFailed, Event::Backoff, Event::Failover, Event::Pick];
        assert_eq!(service.kinds_of(0), events);
        assert_eq!(service.kinds_of(1), [Event::Pick]);
    }

    #[test]
    fn the_status_of_a_call_is_that_of_its_last_attempt_with_its_message() {
        let once = Settings { retry: Retry { max_attempts: 1, ..Retry::default() }, ..plain() };
        let (_, _, results) = play(once, vec![failing(Code::DataLoss, 10)], None);
        let status = results[0].as_ref().unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::DataLoss, "the backend fails on purpose"));
    }

    #[test]
    fn a_timeout_of_the_caller_is_the_deadline_of_the_call() {
        let (_, millis, results) = play(plain(), vec![hanging()], Some(Duration::from_millis(30)));
        assert_eq!(millis, 60);
        assert!(results.iter().all(|result| result.as_ref().unwrap_err().code() == tonic::Code::DeadlineExceeded));
    }

    #[test]
    fn equal_messages_are_answered_from_the_cache() {
        let policies = Policies { cache: Some(Cache::default()), ..Policies::default() };
        let (service, millis, results) = play(Settings { policies, ..plain() }, vec![answering(20)], None);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!((millis, service.kinds_of(1)), (20, vec![Event::CacheHit]));
    }
}
