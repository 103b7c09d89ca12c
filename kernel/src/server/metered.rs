//! Calls as metrics count them: from their arrival to the end of their reply.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::{
    grpc::{CountedBody, MessageCount},
    record::{CallMoment, MessageBytes, Name, Recorder},
    status::Code,
    time::Instant,
};

/// A call that is counted. Dropped before its reply has ended, it was cancelled, or its deadline has passed.
pub(super) struct MeteredCall {
    recorder: Recorder,
    method: Name,
    arrived: Instant,
    deadline: Instant,
    /// The bytes of the message that has come.
    received: u64,
    /// The same of messages that come one by one.
    streamed: Option<Arc<AtomicU64>>,
    /// The messages of the reply so far.
    sent: MessageCount,
    has_ended: bool,
}

impl MeteredCall {
    /// Counts the arrival of a call to `path`, if calls are counted.
    pub(super) fn begin(recorder: &Recorder, path: &str, deadline: Instant) -> Option<Box<Self>> {
        if !recorder.measures() {
            return None;
        }
        let method = Name::from(path.trim_start_matches('/'));
        let arrived = recorder.now();
        recorder.measure_at(arrived, CallMoment::Arrived { method: method.clone() });
        Some(Box::new(Self {
            recorder: recorder.clone(),
            method,
            arrived,
            deadline,
            received: 0,
            streamed: None,
            sent: MessageCount::default(),
            has_ended: false,
        }))
    }

    /// Notes that the only message has come, with so many bytes.
    pub(super) fn receive(&mut self, bytes: usize) {
        self.received = bytes as u64;
    }

    /// Returns the body with the messages that are to come, which counts their bytes.
    pub(super) fn receive_stream(&mut self, body: Body) -> Body {
        CountedBody::count(body, self.streamed.insert(Arc::default()).clone())
    }

    /// Follows `response` to its end.
    pub(super) fn respond(call: Option<Box<Self>>, response: Response<Body>) -> Response<Body> {
        let Some(mut call) = call else { return response };
        // A reply of headers only has its status there.
        if let Some(status) = status(response.headers()) {
            call.end(status);
            return response;
        }
        response.map(|body| Body::new(MeteredReply { body, call }))
    }

    fn end(&mut self, status: Code) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let now = self.recorder.now();
            let duration = now.since(self.arrived);
            let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let streamed = self.streamed.as_ref().map(|bytes| bytes.load(Ordering::Relaxed));
            let bytes = MessageBytes { sent: self.sent.bytes(), received: streamed.unwrap_or(self.received) };
            self.recorder
                .measure_at(now, CallMoment::Ended { method: self.method.clone(), status, duration_us, bytes });
        }
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_late = self.recorder.now() >= self.deadline;
            self.end(if is_late { Code::DeadlineExceeded } else { Code::Cancelled });
        }
    }
}

/// The body of the reply to a call that is counted.
struct MeteredReply {
    body: Body,
    call: Box<MeteredCall>,
}

impl HttpBody for MeteredReply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.call.sent.add(data);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end(status(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(failed)) => self.call.end(failed.code().into()),
            None => self.call.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns the status in headers or trailers, if they have one.
fn status(headers: &HeaderMap) -> Option<Code> {
    let number = headers.get("grpc-status")?.to_str().ok()?.parse::<i32>().ok()?;
    Some(tonic::Code::from_i32(number).into())
}
