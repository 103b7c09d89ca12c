//! The replies of a server, and the memory that they hold until their peer has read them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Response, Status};

use super::peers::{Call, Hold};
use crate::transport::{Noted, Two};

/// Size of a reply in memory, in bytes, as an extension of the response. A stream of replies has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyBytes(usize);

/// Memory that a reply occupies besides its payload, in bytes.
const REPLY_BYTES: usize = 64;

/// Returns `message` as the response to a call. Its payload has `payload_bytes` bytes.
pub(crate) fn reply<T>(message: T, payload_bytes: usize) -> Response<T> {
    let mut response = Response::new(message);
    response.extensions_mut().insert(ReplyBytes(REPLY_BYTES + payload_bytes));
    response
}

/// Returns `response`, whose message is encoded, as one whose payload has `payload_bytes` bytes.
pub(crate) fn encoded_reply<T>(mut response: http::Response<T>, payload_bytes: usize) -> http::Response<T> {
    response.extensions_mut().insert(ReplyBytes(REPLY_BYTES + payload_bytes));
    response
}

/// The body of a reply. With limits on peers, it holds its memory until the last byte has been written to the socket.
pub(super) struct Replied {
    body: Noted,
    hold: Option<Hold>,
    /// The call, which ends with its reply.
    _call: Option<Call>,
}

impl Replied {
    /// Makes `response` the reply to `call`, if calls are counted.
    pub(super) fn respond(response: http::Response<Noted>, call: Option<Call>) -> http::Response<Self> {
        let bytes = response.extensions().get::<ReplyBytes>().map(|bytes| bytes.0);
        let hold = call.as_ref().zip(bytes).map(|(call, bytes)| call.hold(bytes));
        response.map(|body| Self { body, hold, _call: call })
    }
}

impl HttpBody for Replied {
    type Data = Two;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        // A message is one frame, and HTTP/2 keeps it until the peer lets it be sent. The body ends before that.
        let hold = if matches!(&frame, Some(Ok(frame)) if frame.is_data()) { self.hold.take() } else { None };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| held(data, hold).into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns the same bytes, whose last owner drops `hold`.
fn held(data: Bytes, hold: Option<Hold>) -> Bytes {
    match hold {
        Some(hold) => Bytes::from_owner(Held { data, _hold: hold }),
        None => data,
    }
}

struct Held {
    data: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tonic::body::Body;

    use super::*;
    use crate::{
        grpc::{Message, Reply, collect},
        proto::health::{
            HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::HealthServer,
        },
        server::health::HealthService,
    };

    #[test]
    fn an_encoded_reply_is_as_that_of_a_generated_server() {
        let asked = Message::new("/grpc.health.v1.Health/Check", &HealthCheckRequest::default());
        let origin = http::Uri::from_static("http://rehearsal");
        let asked = asked.request(origin, http::HeaderValue::from_static("1S"), 0);
        let mut generated = HealthServer::new(HealthService::serving(std::iter::empty()));
        let Ok(generated) = tower_service::Service::call(&mut generated, asked).now_or_never().unwrap();
        let message = HealthCheckResponse { status: ServingStatus::Serving.into() };
        let encoded = encoded_reply(Reply::of_message(&message).into_answer(), 0);
        let parts = |response: http::Response<Body>| {
            let (head, body) = response.into_parts();
            (head.status, head.version, head.headers, collect(body).now_or_never().unwrap().unwrap())
        };
        assert_eq!(parts(encoded), parts(generated));
    }

    #[test]
    fn a_reply_holds_its_payload_and_a_constant() {
        let bytes = |payload| reply((), payload).extensions().get::<ReplyBytes>().map(|bytes| bytes.0);
        assert_eq!([bytes(0), bytes(100)], [Some(REPLY_BYTES), Some(REPLY_BYTES + 100)]);
    }
}
