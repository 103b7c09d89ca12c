//! Calls as metrics count them: from their arrival to the end of their reply.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::{
    grpc::{Exchange, Services, Side},
    record::{CallMoment, Recorder},
    time::Instant,
};

/// Counts the arrival of a call to `path`, a method of one of `services`, and returns the call to follow, if calls are counted.
pub(super) fn begin(recorder: &Recorder, services: &Services, path: &str, deadline: Instant) -> Option<Exchange> {
    if !recorder.measures() {
        return None;
    }
    let method = services.method(path);
    let arrived = recorder.now();
    recorder.measure_call(CallMoment::Arrived { method: method.clone() });
    Some(Exchange::begin(recorder, Side::Server { method, arrived }, deadline))
}

/// Follows `response` to the end of `call`, if it is counted.
pub(super) fn respond(call: Option<Exchange>, response: Response<Body>) -> Response<Body> {
    let Some(mut call) = call else { return response };
    // A reply without a body has its status in the headers.
    if response.body().is_end_stream() {
        call.on_headers(response.headers());
        return response;
    }
    response.map(|body| Body::new(MeteredReply { body, call }))
}

/// The body of the reply to a call that is counted.
struct MeteredReply {
    body: Body,
    call: Exchange,
}

impl HttpBody for MeteredReply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.call.on_frame(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
