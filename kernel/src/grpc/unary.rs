//! The messages of calls: one that is encoded once for all attempts, or a stream that is passed on, and a reply that has arrived whole.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_TYPE, TE},
    uri::PathAndQuery,
};
use http_body::Body as HttpBody;
use prost::DecodeError;
use tonic::{Code, Status, body::Body};

use super::{CALL, Pieces, Shape, collect, collect_whole};
use crate::{
    policy::CacheKey,
    record::CallId,
    sync::lock,
    transport::{ATTEMPTS_BEFORE, MESSAGE_HEADER_BYTES, TIMEOUT},
};

/// The message of a call, with its method and its metadata. It is encoded once, and its clones share the bytes.
#[derive(Debug, Clone)]
pub struct Message {
    path: PathAndQuery,
    /// The metadata.
    headers: HeaderMap,
    /// The message with its header of five bytes, without the tail.
    body: Bytes,
    /// The end of the message, which is shared with the one who made it.
    tail: Bytes,
    key: CacheKey,
    /// The time that the caller gives the call, if it does.
    timeout: Option<Duration>,
    shape: Shape,
    /// The messages of a call that streams them, until its only attempt takes them.
    stream: Option<Arc<Mutex<Option<Body>>>>,
}

impl Message {
    /// Encodes `message` for the method at `path`, such as `/shop.v1.Stock/Reserve`.
    ///
    /// # Panics
    ///
    /// Panics if `path` is no path of a URI.
    pub fn new(path: &'static str, message: &impl prost::Message) -> Self {
        let body = body_of(message);
        Self::encoded(path, body.clone(), Bytes::new(), [0; 4], body)
    }

    /// Returns the message that is encoded as `start` and then `tail`, which is not copied. Answers are cached by `numbers` and the tail.
    pub(crate) fn in_two(path: &'static str, start: &[u8], tail: Bytes, numbers: [u64; 4]) -> Self {
        let mut body = start_of_body(start.len() + tail.len(), start.len());
        body.extend_from_slice(start);
        Self::encoded(path, body.freeze(), tail.clone(), numbers, tail)
    }

    /// Returns the message of these bytes, without metadata. Its answers are cached by `numbers` and `cached_by`.
    fn encoded(path: &'static str, body: Bytes, tail: Bytes, numbers: [u64; 4], cached_by: Bytes) -> Self {
        let key = CacheKey { path: Bytes::from_static(path.as_bytes()), numbers, bytes: cached_by };
        let path = PathAndQuery::from_static(path);
        Self { path, headers: HeaderMap::new(), body, tail, key, timeout: None, shape: Shape::Unary, stream: None }
    }

    /// Returns the number of bytes of the message, without its header.
    pub(crate) fn bytes(&self) -> usize {
        (self.body.len() + self.tail.len()).saturating_sub(MESSAGE_HEADER_BYTES)
    }

    /// Returns the message whose answers are cached by these numbers and bytes, in place of its own bytes, which have the id of a request.
    pub(crate) fn cached_by(mut self, numbers: [u64; 4], bytes: Bytes) -> Self {
        self.key.numbers = numbers;
        self.key.bytes = bytes;
        self
    }

    /// Reads the request of a generated client for a method of this shape, which has one message.
    ///
    /// # Errors
    ///
    /// Returns UNIMPLEMENTED, and that the method has to be declared, if there is another number of messages, or if the first one is not
    /// followed by the end at once, as that of a client that streams. Returns the error of its body.
    pub(crate) async fn read<B>(request: Request<B>, shape: Shape) -> Result<Self, Status>
    where
        B: HttpBody<Data = Bytes, Error = Status>,
    {
        let (head, body) = request.into_parts();
        let undeclared = || Status::unimplemented(undeclared(head.uri.path()));
        let pieces = at_once(collect(body)).await.ok_or_else(undeclared)??;
        if pieces.message_count() != Some(1) {
            return Err(undeclared());
        }
        Ok(Self::of_parts(head, pieces.into_bytes(), shape))
    }

    /// Returns the message of the request of a generated client for a method of this shape, whose messages are passed on as they come.
    pub(crate) fn pass_on<B>(request: Request<B>, shape: Shape) -> Self
    where
        B: HttpBody<Data = Bytes, Error = Status> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let stream = Some(Arc::new(Mutex::new(Some(Body::new(body)))));
        Self { stream, ..Self::of_parts(head, Bytes::new(), shape) }
    }

    fn of_parts(head: http::request::Parts, body: Bytes, shape: Shape) -> Self {
        let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let mut headers = head.headers;
        // They are of each attempt.
        headers.remove(ATTEMPTS_BEFORE);
        let timeout = headers.remove(TIMEOUT);
        let timeout = timeout.and_then(|value| crate::server::parse_timeout(value.as_bytes()));
        let key =
            CacheKey { path: Bytes::copy_from_slice(path.as_str().as_bytes()), numbers: [0; 4], bytes: body.clone() };
        Self { path, headers, body, tail: Bytes::new(), key, timeout, shape, stream: None }
    }

    /// Returns how many messages the method has in each direction.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns whether the messages are a stream that is passed on, which can be sent once.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Returns the message with metadata that say which request of a load its call belongs to.
    pub(crate) fn of_request(mut self, id: u64) -> Self {
        self.headers.insert(HeaderName::from_static(CALL), HeaderValue::from(id));
        self
    }

    /// Returns the message with metadata that say which call it is of.
    pub(crate) fn of_call(mut self, call: CallId) -> Self {
        let value = HeaderValue::try_from(call.to_string()).expect("numbers are valid in a header");
        self.headers.insert(HeaderName::from_static(CALL), value);
        self
    }

    /// Returns what the answers to the message are cached by.
    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Returns the time that the caller gives the call, if it does.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the request of an attempt, of which `timeout` is the time that is left, after as many attempts as `attempts_before`.
    pub(crate) fn request(&self, origin: Uri, timeout: HeaderValue, attempts_before: u32) -> Request<Body> {
        let stream = self.stream.as_ref().and_then(|stream| lock(stream).take());
        let body = stream.unwrap_or_else(|| Body::new(Pieces::in_two(self.body.clone(), self.tail.clone())));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let mut uri = origin.into_parts();
        uri.path_and_query = Some(self.path.clone());
        *request.uri_mut() = Uri::from_parts(uri).expect("an origin and a path are a URI");
        let headers = request.headers_mut();
        // One allocation for all of them.
        headers.reserve(OWN_HEADERS + self.headers.len());
        headers.insert(HeaderName::from_static(TIMEOUT), timeout);
        // A6: the first attempt does not have the header.
        if attempts_before > 0 {
            headers.insert(HeaderName::from_static(ATTEMPTS_BEFORE), HeaderValue::from(attempts_before));
        }
        // A generated client has them already, and its content type may name a codec of its own.
        for (name, value) in [(TE, "trailers"), (CONTENT_TYPE, "application/grpc")] {
            if !self.headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        request
    }
}

/// Returns what is wrong with a request for the method at `path`, and the remedy.
fn undeclared(path: &str) -> String {
    let method = path.trim_start_matches('/');
    format!(
        "the request does not have one message, and `{method}` is not declared to stream; declare it with `App::described_by` or \
         `App::streaming`"
    )
}

/// Returns the result of `work`; `None` if it has to wait.
async fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| Poll::Ready(poll_once(work.as_mut(), cx))).await
}

fn poll_once<T>(work: Pin<&mut impl Future<Output = T>>, cx: &mut Context<'_>) -> Option<T> {
    match work.poll(cx) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Most headers of a request that are no metadata.
const OWN_HEADERS: usize = 4;

/// Returns a buffer with the header of a message of `length` bytes, and room for `room` bytes more.
fn start_of_body(length: usize, room: usize) -> BytesMut {
    let mut body = BytesMut::with_capacity(MESSAGE_HEADER_BYTES + room);
    body.put_u8(0);
    body.put_u32(length as u32);
    body
}

/// Returns `message` with its header.
fn body_of(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut body = start_of_body(length, length);
    message.encode(&mut body).expect("a buffer grows as far as it has to");
    body.freeze()
}

/// A whole reply to a unary call, whose status is OK. Its clones share the bytes and the metadata, so that a cache keeps it at no cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    metadata: Arc<Metadata>,
    /// The message, without the trailers.
    pieces: Pieces,
}

/// The metadata of a reply.
#[derive(Debug, Clone, PartialEq)]
struct Metadata {
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
}

impl Reply {
    /// Returns a reply with an empty message, in which each field of any message has its default.
    pub fn empty() -> Self {
        Self::ok(Bytes::from_static(&[0; MESSAGE_HEADER_BYTES]))
    }

    /// Returns a reply with `message`.
    pub(crate) fn of_message(message: &impl prost::Message) -> Self {
        Self::ok(body_of(message))
    }

    fn ok(body: Bytes) -> Self {
        let status = (Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Self::new(HeaderMap::new(), Some(HeaderMap::from_iter([status])), Pieces::from(body))
    }

    fn new(headers: HeaderMap, trailers: Option<HeaderMap>, pieces: Pieces) -> Self {
        Self { metadata: Arc::new(Metadata { headers, trailers }), pieces }
    }

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not those of an `M`.
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M, DecodeError> {
        M::decode(self.pieces.message())
    }

    /// Reads the reply of a server to its end.
    ///
    /// # Errors
    ///
    /// Returns the status of the reply unless it is OK, INTERNAL if there is no whole message, and the error of its body.
    pub(crate) async fn read<B>(response: Response<B>) -> Result<Self, Status>
    where
        B: HttpBody<Data = Bytes, Error = Status>,
    {
        let (head, body) = response.into_parts();
        not_ok(&head.headers)?;
        let mut pieces = collect_whole(body).await?;
        let trailers = pieces.take_trailers();
        trailers.as_ref().map_or(Ok(()), not_ok)?;
        match pieces.message_count() {
            Some(1..) => {}
            Some(_) => return Err(Status::internal("the reply has no message")),
            None => return Err(Status::internal("the reply ends within its message")),
        }
        match pieces.flag() {
            0 => Ok(Self::new(head.headers, trailers, pieces)),
            flag => Err(Status::internal(format!(
                "the reply is compressed, by flag {flag}, and no compression was asked for"
            ))),
        }
    }

    /// Returns the headers, the trailers if there are any, and the bytes of the body.
    pub(crate) fn into_parts(self) -> (HeaderMap, Option<HeaderMap>, Bytes) {
        let Metadata { headers, trailers } = Arc::unwrap_or_clone(self.metadata);
        (headers, trailers, self.pieces.into_bytes())
    }

    /// Returns the reply of these parts; `None` if the body is no whole message.
    pub(crate) fn from_parts(headers: HeaderMap, trailers: Option<HeaderMap>, body: Bytes) -> Option<Self> {
        let pieces = Pieces::from(body);
        let is_whole = matches!(pieces.message_count(), Some(1..)) && pieces.flag() == 0;
        is_whole.then(|| Self::new(headers, trailers, pieces))
    }

    /// Returns the reply as a generated server answers with it.
    pub(crate) fn into_answer(self) -> Response<Body> {
        let mut response = self.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// Returns the reply as a generated client takes it.
    pub(crate) fn into_response(self) -> Response<Body> {
        let Metadata { headers, trailers } = Arc::unwrap_or_clone(self.metadata);
        let mut pieces = self.pieces;
        if let Some(trailers) = trailers {
            pieces.end_with(trailers);
        }
        let mut response = Response::new(Body::new(pieces));
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = headers;
        response
    }
}

/// Returns the status in `headers` as an error unless it is OK or missing.
fn not_ok(headers: &HeaderMap) -> Result<(), Status> {
    // Most replies are OK: no status is made of their headers, which would copy them.
    if headers.get(Status::GRPC_STATUS).is_none_or(|status| status.as_bytes() == b"0") {
        return Ok(());
    }
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::proto::rehearsal::{GetDataReply, GetDataRequest};

    const PATH: &str = "/rehearsal.v1.Rehearsal/GetData";

    fn origin() -> Uri {
        Uri::from_static("http://rehearsal")
    }

    #[test]
    fn an_attempt_has_its_timeout_its_number_and_the_metadata_of_the_call() {
        let message = Message::new(PATH, &GetDataRequest { request_id: 7 });
        let request = message.request(origin(), HeaderValue::from_static("5m"), 0);
        assert_eq!(request.uri().to_string(), format!("http://rehearsal{PATH}"));
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, [TIMEOUT, "te", "content-type"]);
        let request = message.request(origin(), HeaderValue::from_static("5m"), 2);
        assert_eq!(request.headers()[ATTEMPTS_BEFORE], "2");
    }

    #[test]
    fn a_request_is_read_as_it_was_sent_without_what_is_of_an_attempt() {
        let sent = Message::new(PATH, &GetDataRequest { request_id: 7 });
        let mut request = sent.request(origin(), HeaderValue::from_static("5m"), 3);
        request.headers_mut().insert("color", HeaderValue::from_static("green"));
        let read = Message::read(request, Shape::Unary).now_or_never().unwrap().unwrap();
        assert_eq!((&read.path, &read.body, read.timeout), (&sent.path, &sent.body, Some(Duration::from_millis(5))));
        let mut names: Vec<_> = read.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["color", "content-type", "te"]);
    }

    #[test]
    fn the_content_type_of_a_caller_stays_and_is_there_once() {
        let sent = Message::new(PATH, &GetDataRequest { request_id: 7 });
        let mut request = sent.request(origin(), HeaderValue::from_static("5m"), 0);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+json"));
        let read = Message::read(request, Shape::Unary).now_or_never().unwrap().unwrap();
        let again = read.request(origin(), HeaderValue::from_static("5m"), 0);
        let types: Vec<_> = again.headers().get_all(CONTENT_TYPE).iter().collect();
        assert_eq!(types, ["application/grpc+json"]);
        assert_eq!(again.headers().get_all(TE).iter().count(), 1);
    }

    #[test]
    fn a_request_with_another_number_of_messages_is_refused() {
        let one = Message::new(PATH, &GetDataRequest { request_id: 7 }).body;
        for body in [Bytes::new(), [&one[..], &one[..]].concat().into(), one.slice(..6)] {
            let read = Message::read(Request::new(Pieces::from(body)), Shape::Unary).now_or_never().unwrap();
            assert_eq!(read.unwrap_err().code(), Code::Unimplemented);
        }
    }

    /// Reads a reply of these bytes and this status in its trailers.
    fn read(body: &[u8], status: Option<&'static str>) -> Result<Reply, Code> {
        let mut pieces = Pieces::from(Bytes::copy_from_slice(body));
        if let Some(status) = status {
            pieces.end_with(HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static(status))]));
        }
        Reply::read(Response::new(pieces)).now_or_never().unwrap().map_err(|status| status.code())
    }

    #[test]
    fn a_reply_is_ok_with_a_whole_message_and_has_the_status_of_its_trailers_otherwise() {
        let data = GetDataReply { data: "abc".into(), served_by: None };
        let body = Message::new(PATH, &data).body;
        assert_eq!(read(&body, Some("0")).unwrap().decode::<GetDataReply>().unwrap(), data);
        // The HTTP status is OK, and gRPC's own clients take the message.
        assert!(read(&body, None).is_ok());
        assert_eq!(read(&body, Some("14")).unwrap_err(), Code::Unavailable);
        assert_eq!(read(&[], Some("0")).unwrap_err(), Code::Internal);
        assert_eq!(read(&[], Some("5")).unwrap_err(), Code::NotFound);
        assert_eq!(read(&body[..7], Some("0")).unwrap_err(), Code::Internal);
        assert_eq!(read(&[1, 0, 0, 0, 0], Some("0")).unwrap_err(), Code::Internal);
    }

    #[test]
    fn a_reply_passes_on_as_it_came() {
        let body = Message::new(PATH, &GetDataReply { data: "abc".into(), served_by: None }).body;
        let reply = read(&body, Some("0")).unwrap();
        let passed = Reply::read(reply.clone().into_response()).now_or_never().unwrap().unwrap();
        assert_eq!(passed, reply);
        assert_eq!(Reply::empty().decode::<GetDataReply>().unwrap(), GetDataReply::default());
        assert!(Reply::read(Reply::empty().into_response()).now_or_never().unwrap().is_ok());
    }
}
