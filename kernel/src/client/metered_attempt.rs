//! Attempts as metrics count them: the bytes of their messages, and their status.

use http::{Request, Response};
use tonic::body::Body;

use super::{
    failure::{Failure, Unseen},
    plain_channel::ReplyBody,
};
use crate::{
    grpc::{Exchange, Message, Side},
    record::{Name, Recorder},
    time::Instant,
};

/// Returns an attempt to follow that begins, if attempts are counted.
pub(super) fn begin(recorder: &Recorder, server: &Name, timeout: Instant) -> Option<Box<Exchange>> {
    // It is boxed, as an attempt that is not counted has its place, too.
    recorder.measures().then(|| Box::new(Exchange::begin(recorder, Side::Client { server: server.clone() }, timeout)))
}

/// Counts the bytes of `message`, which `request` carries.
pub(super) fn send(attempt: &mut Exchange, message: &Message, request: Request<Body>) -> Request<Body> {
    if message.is_stream() {
        return request.map(|body| attempt.request_stream(body));
    }
    attempt.request(message.bytes());
    request
}

/// Ends `attempt`, if it is counted, with `failure`, and returns that.
pub(super) fn fail(attempt: Option<Box<Exchange>>, failure: Failure) -> Failure {
    if let Some(mut attempt) = attempt {
        if failure.unseen == Some(Unseen::Unsent) {
            attempt.request(0);
        }
        attempt.end(failure.code);
    }
    failure
}

/// Follows `response`, whose headers have come, to the end of `attempt`, if it is counted. It has time until `timeout` from now on.
pub(super) fn follow(
    attempt: Option<Box<Exchange>>,
    response: Response<ReplyBody>,
    timeout: Instant,
) -> Response<ReplyBody> {
    let Some(mut attempt) = attempt else { return response };
    attempt.set_deadline(timeout);
    attempt.on_headers(response.headers());
    response.map(|body| body.metered(attempt))
}
