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
    status::Code,
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
    // A reply of headers only has its status there.
    call.on_headers(response.headers());
    if response.body().is_end_stream() {
        call.end(Code::Unknown);
    }
    if call.has_ended() { response } else { response.map(|body| Body::new(MeteredReply { body, call })) }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::{
        fuzzing::host::SharedHost,
        grpc::{Kept, Pieces},
        sync::lock,
    };

    /// Returns the statuses of a call that is answered by `response`, before and after its body is dropped.
    fn statuses(response: Response<Body>) -> [Vec<Code>; 2] {
        let kept = Arc::<Kept>::default();
        let recorder = Recorder::new(Arc::new(SharedHost(Arc::default())), "server-0", kept.clone());
        let call = begin(&recorder, &Services::default(), "/a/B", Instant::NEVER);
        let response = respond(call, response);
        let now = || {
            let moments = lock(&kept.0);
            assert!(moments.iter().all(|(source, _)| source == "server-0"));
            let ended = moments.iter().filter_map(|(_, moment)| match moment {
                CallMoment::Ended { status, .. } => Some(*status),
                _ => None,
            });
            ended.collect()
        };
        let before = now();
        drop(response);
        [before, now()]
    }

    #[test]
    fn a_reply_of_headers_only_ends_the_call_at_once() {
        assert_eq!(statuses(Status::not_found("none").into_http()), [[Code::NotFound]; 2].map(Vec::from));
        // Whether its body says that it is empty or not.
        let unread = || Response::new(Body::new(Pieces::from(Bytes::from_static(b"abc"))));
        let mut response = unread();
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        assert_eq!(statuses(response), [[Code::Ok]; 2].map(Vec::from));
        assert_eq!(statuses(Response::new(Body::empty())), [[Code::Unknown]; 2].map(Vec::from));
        assert_eq!(statuses(unread()), [vec![], vec![Code::Cancelled]]);
    }
}
