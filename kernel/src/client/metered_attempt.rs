//! Attempts as metrics count them: the bytes of their messages, and their status.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tonic::{Status, body::Body};

use super::{
    failure::{Failure, Unseen},
    plain_channel::ReplyBody,
};
use crate::{
    grpc::{CountedBody, Message, MessageCount},
    record::{CallMoment, MessageBytes, Name, Recorder},
    status::Code,
    time::Instant,
};

/// An attempt that is counted. Dropped before its reply has ended, it was cancelled, or its time is over.
pub(super) struct MeteredAttempt {
    recorder: Recorder,
    server: Name,
    /// The end of its time.
    timeout: Instant,
    sent: Arc<AtomicU64>,
    received: MessageCount,
    has_ended: bool,
}

impl MeteredAttempt {
    /// Counts an attempt that begins, if attempts are counted.
    pub(super) fn begin(recorder: &Recorder, server: &Name, timeout: Instant) -> Option<Box<Self>> {
        recorder.measures().then(|| {
            Box::new(Self {
                recorder: recorder.clone(),
                server: server.clone(),
                timeout,
                sent: Arc::default(),
                received: MessageCount::default(),
                has_ended: false,
            })
        })
    }

    /// Counts the bytes of `message`, which `request` carries.
    pub(super) fn sends(&self, message: &Message, request: Request<Body>) -> Request<Body> {
        if message.is_stream() {
            return request.map(|body| CountedBody::count(body, self.sent.clone()));
        }
        self.sent.store(message.bytes() as u64, Ordering::Relaxed);
        request
    }

    /// Ends the attempt with `failure`, and returns it.
    pub(super) fn fail(attempt: Option<Box<Self>>, failure: Failure) -> Failure {
        if let Some(mut attempt) = attempt {
            if failure.unseen == Some(Unseen::Unsent) {
                attempt.sent.store(0, Ordering::Relaxed);
            }
            attempt.end(failure.code);
        }
        failure
    }

    /// Follows `response`, whose headers have come, to its end. From now on the attempt has time until `timeout`.
    pub(super) fn follow(
        attempt: Option<Box<Self>>,
        response: Response<ReplyBody>,
        timeout: Instant,
    ) -> Response<ReplyBody> {
        let Some(mut attempt) = attempt else { return response };
        attempt.timeout = timeout;
        if let Some(status) = Status::from_header_map(response.headers()) {
            attempt.end(status.code().into());
        }
        response.map(|body| body.metered(attempt))
    }

    /// Follows the reply to its next frame, its failure or its end.
    pub(super) fn on_frame(&mut self, frame: Option<&Result<Frame<Bytes>, Status>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.received.add(data);
                }
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.end(status.code().into());
                }
            }
            Some(Err(failed)) => self.end(failed.code().into()),
            None => self.end(Code::Unknown),
        }
    }

    fn end(&mut self, status: Code) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let bytes = MessageBytes { sent: self.sent.load(Ordering::Relaxed), received: self.received.bytes() };
            self.recorder.measure(|| CallMoment::AttemptEnded { server: self.server.clone(), status, bytes });
        }
    }
}

impl Drop for MeteredAttempt {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_late = self.recorder.now() >= self.timeout;
            self.end(if is_late { Code::DeadlineExceeded } else { Code::Cancelled });
        }
    }
}
