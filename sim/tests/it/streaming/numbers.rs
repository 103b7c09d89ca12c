//! A service of a user that streams numbers, written against tonic's own types, as a .proto file of its own would be too much here.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use kernel::{
    client::Channel,
    proto::rehearsal::{GetDataReply, GetDataRequest, Image, ProcessImageRequest},
};
use sim::{App, BoxError, Call, Host, Shape};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;

pub(crate) const COUNT: &str = "/test.v1.Numbers/Count";
pub(crate) const SUM: &str = "/test.v1.Numbers/Sum";
pub(crate) const ECHO: &str = "/test.v1.Numbers/Echo";

/// Time between two messages of the service.
pub(crate) const GAP: Duration = Duration::from_millis(50);

/// What a reply of `Count` is like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reply {
    /// The number of messages before the end, or before what is wrong.
    pub(crate) messages: u64,
    /// Number of bytes in each message.
    pub(crate) bytes: usize,
    /// Time between two messages, and before the first.
    pub(crate) gap: Duration,
    /// Time before the headers.
    pub(crate) head: Duration,
    pub(crate) ending: Ending,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Ending {
    #[default]
    Ok,
    Fails,
    Panics,
    /// A message over the limit, after which there are others.
    TooLong,
    Never,
}

/// The service.
#[derive(Clone)]
pub(crate) struct Numbers {
    pub(crate) host: Host,
    pub(crate) reply: Reply,
    /// Number of messages that were made, by all processes.
    pub(crate) made: Arc<AtomicU64>,
}

type Messages = Pin<Box<dyn Stream<Item = Result<GetDataReply, Status>> + Send>>;

fn message(bytes: usize, number: u64) -> GetDataReply {
    let mut data = number.to_string().into_bytes();
    data.resize(bytes.max(data.len()), b' ');
    GetDataReply { data: data.into(), served_by: None }
}

/// The number in a message.
pub(crate) fn number(reply: &GetDataReply) -> u64 {
    std::str::from_utf8(&reply.data).unwrap().trim().parse().unwrap()
}

impl Numbers {
    async fn count(self) -> Result<Response<Messages>, Status> {
        let Self { host, reply, made } = self;
        host.sleep(reply.head).await;
        let messages = stream::unfold(0, move |number| {
            let (host, made) = (host.clone(), made.clone());
            async move {
                if !reply.gap.is_zero() {
                    host.sleep(reply.gap).await;
                }
                let item = if number < reply.messages {
                    Ok(message(reply.bytes, number))
                } else {
                    match reply.ending {
                        Ending::Ok => return None,
                        Ending::Fails => Err(Status::data_loss("the table is gone")),
                        Ending::Panics => panic!("planted"),
                        Ending::TooLong if number == reply.messages => {
                            Ok(message(kernel::server::MESSAGE_BYTES_MAX, 7))
                        }
                        Ending::TooLong | Ending::Never => Ok(message(reply.bytes, number)),
                    }
                };
                made.fetch_add(1, Relaxed);
                Some((item, number + 1))
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn sum(self, mut numbers: Streaming<GetDataRequest>) -> Result<Response<GetDataReply>, Status> {
        let mut sum = 0;
        while let Some(number) = numbers.message().await? {
            sum += number.request_id;
            self.made.fetch_add(1, Relaxed);
        }
        self.host.sleep(GAP).await;
        Ok(Response::new(message(0, sum)))
    }

    /// Answers each number with its double, when it has come.
    async fn echo(self, numbers: Streaming<GetDataRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(Box::pin(numbers.map(|number| Ok(message(0, 2 * number?.request_id))))))
    }
}

impl NamedService for Numbers {
    const NAME: &'static str = "test.v1.Numbers";
}

/// A function as a method of a service.
struct Method<F>(F);

impl<R, T, F, A> tower_service::Service<R> for Method<F>
where
    F: FnMut(R) -> A,
    A: Future<Output = Result<Response<T>, Status>> + Send + 'static,
{
    type Response = Response<T>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        Box::pin((self.0)(request))
    }
}

impl tower_service::Service<http::Request<Body>> for Numbers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<GetDataReply, GetDataRequest>::default());
            Ok(match request.uri().path() {
                COUNT => grpc.server_streaming(Method(|_: Request<GetDataRequest>| own.clone().count()), request).await,
                SUM => {
                    let sum = |numbers: Request<Streaming<GetDataRequest>>| own.clone().sum(numbers.into_inner());
                    grpc.client_streaming(Method(sum), request).await
                }
                ECHO => {
                    let echo = |numbers: Request<Streaming<GetDataRequest>>| own.clone().echo(numbers.into_inner());
                    grpc.streaming(Method(echo), request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// A client of the service.
pub(crate) struct Client(tonic::client::Grpc<Channel>);

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    fn codec() -> ProstCodec<GetDataRequest, GetDataReply> {
        ProstCodec::default()
    }

    pub(crate) async fn count(&mut self) -> Result<Streaming<GetDataReply>, Status> {
        self.0.ready().await?;
        let request = Request::new(GetDataRequest::default());
        Ok(self.0.server_streaming(request, PathAndQuery::from_static(COUNT), Self::codec()).await?.into_inner())
    }

    pub(crate) async fn sum(
        &mut self,
        numbers: impl Stream<Item = u64> + Send + 'static,
    ) -> Result<GetDataReply, Status> {
        self.0.ready().await?;
        let request = Request::new(numbers.map(|request_id| GetDataRequest { request_id }));
        Ok(self.0.client_streaming(request, PathAndQuery::from_static(SUM), Self::codec()).await?.into_inner())
    }

    /// As [`sum`](Self::sum), with a message over the limit of servers behind the numbers.
    pub(crate) async fn sum_with_too_long(
        &mut self,
        numbers: impl Stream<Item = u64> + Send + 'static,
    ) -> Result<GetDataReply, Status> {
        self.0.ready().await?;
        // The service takes the number of such a message, and skips the field that it does not know.
        let message = |request_id, image| ProcessImageRequest { request_id, image };
        let pixels = vec![0; kernel::server::MESSAGE_BYTES_MAX].into();
        let too_long = message(0, Some(Image { width: 1, height: 1, pixels }));
        let numbers = numbers.map(move |number| message(number, None)).chain(stream::iter([too_long]));
        let codec = ProstCodec::<ProcessImageRequest, GetDataReply>::default();
        Ok(self.0.client_streaming(Request::new(numbers), PathAndQuery::from_static(SUM), codec).await?.into_inner())
    }

    pub(crate) async fn echo(
        &mut self,
        numbers: impl Stream<Item = u64> + Send + 'static,
    ) -> Result<Streaming<GetDataReply>, Status> {
        self.0.ready().await?;
        let request = Request::new(numbers.map(|request_id| GetDataRequest { request_id }));
        Ok(self.0.streaming(request, PathAndQuery::from_static(ECHO), Self::codec()).await?.into_inner())
    }
}

/// Returns an app whose methods are not declared, and the number of messages that its service has made.
pub(crate) fn undeclared(reply: Reply) -> (App, Arc<AtomicU64>) {
    let made = Arc::<AtomicU64>::default();
    let counted = made.clone();
    let app = App::new().service("numbers", move |host: Host| {
        let numbers = Numbers { host: host.clone(), reply, made: counted.clone() };
        async move { host.serve(numbers).await }
    });
    (app, made)
}

/// Returns the app with its methods declared.
pub(crate) fn app(reply: Reply) -> (App, Arc<AtomicU64>) {
    let (app, made) = undeclared(reply);
    let app = app
        .streaming(COUNT, Shape::ServerStreaming)
        .streaming(SUM, Shape::ClientStreaming)
        .streaming(ECHO, Shape::Bidirectional);
    (app, made)
}

/// Reads a reply to its end, and checks that its numbers are in order.
pub(crate) async fn read(call: Call) -> Result<(), BoxError> {
    let mut messages = Client::new(call.channel()).count().await?;
    let mut next = 0;
    while let Some(message) = messages.message().await? {
        call.check(number(&message) == next, "the numbers are in order");
        next += 1;
    }
    Ok(())
}
