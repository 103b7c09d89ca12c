//! Replies that stream: for how long they occupy their worker, and what ends them.

use std::{
    collections::VecDeque,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;
use tonic::{Status, body::Body};

use super::{
    Injector,
    meter::record_computing,
    occupancy::{Ending, Occupancy, multiplied},
};
use crate::{
    context::{Context, poll_in},
    record::Recorder,
    sync::lock,
    time::Instant,
    world::{SharedWorld, Sleep},
};

type Piece = Result<Frame<Bytes>, Status>;

/// A body some of whose pieces were looked at before it is passed on.
pub(super) struct LookedAt {
    ahead: VecDeque<Piece>,
    body: Body,
}

impl HttpBody for LookedAt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Piece>> {
        match self.ahead.pop_front() {
            Some(piece) => Poll::Ready(Some(piece)),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ahead.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// Returns the reply, and whether it streams: more follows its first piece than its end, or something has to be waited for. What is there
/// of a unary reply is all of it.
pub(super) async fn look_ahead(response: Response<Body>) -> (Response<LookedAt>, bool) {
    let (head, mut body) = response.into_parts();
    let mut ahead = VecDeque::new();
    let streams = !body.is_end_stream() && poll_fn(|cx| Poll::Ready(more_follows(&mut body, &mut ahead, cx))).await;
    (Response::from_parts(head, LookedAt { ahead, body }), streams)
}

fn more_follows(body: &mut Body, ahead: &mut VecDeque<Piece>, cx: &mut TaskContext<'_>) -> bool {
    while let Poll::Ready(piece) = Pin::new(&mut *body).poll_frame(cx) {
        let Some(piece) = piece else { return false };
        let is_data = matches!(&piece, Ok(frame) if frame.is_data());
        ahead.push_back(piece);
        if !is_data || ahead.len() > 1 {
            return is_data;
        }
    }
    true
}

/// The context that a reply that streams needs of its worker.
pub(super) struct StreamTerms {
    pub(super) world: SharedWorld,
    pub(super) recorder: Recorder,
    pub(super) injector: Arc<Injector>,
    pub(super) occupancy: Occupancy,
    pub(super) deadline: Instant,
    /// The method of a user's service; `None` if it is one of this project.
    pub(super) method: Option<String>,
    /// On whose behalf a user's service streams.
    pub(super) context: Option<Context>,
    /// The time that the service has computed so far, if that is measured.
    pub(super) computed: Option<Duration>,
}

/// The messages of a reply, as the worker and the connection share them. The worker takes them when the deadline has passed.
type Messages = Arc<Mutex<Option<LookedAt>>>;

/// The body of a reply that streams. The attempt occupies its worker until its end, and is finished then. A body that is dropped before is
/// of an attempt whose caller has left.
pub(super) struct Streaming {
    messages: Messages,
    terms: StreamTerms,
    /// Completes at the deadline.
    late: Option<Sleep>,
    /// The time at which the next piece was asked for.
    asked: Option<Instant>,
    /// A piece that a fault holds back until this completes.
    held: Option<(Option<Piece>, Sleep)>,
    /// The time that the service took for the last piece that had to be waited for.
    last_time: Duration,
    /// True if the last piece was held back, while the service may have gone on to the next one.
    was_held: bool,
    /// To be sent when the reply has ended.
    ended: Option<oneshot::Sender<()>>,
}

/// The worker's end of a reply that streams.
pub(super) struct StreamEnd {
    messages: Messages,
    ended: oneshot::Receiver<()>,
}

impl StreamEnd {
    /// Completes when the reply has ended. Returns false if it was dropped before.
    pub(super) async fn wait(&mut self) -> bool {
        (&mut self.ended).await.is_ok()
    }

    /// Drops the messages, and what makes them.
    pub(super) fn stop(&self) {
        let messages = lock(&self.messages).take();
        // Code of a user is not dropped while the lock is held.
        drop(messages);
    }
}

impl Streaming {
    /// Makes `response` the reply that streams by these terms.
    pub(super) fn respond(response: Response<LookedAt>, terms: StreamTerms) -> (Response<Body>, StreamEnd) {
        let (sender, ended) = oneshot::channel();
        let (head, body) = response.into_parts();
        let messages = Arc::new(Mutex::new(Some(body)));
        let late = (terms.deadline != Instant::NEVER).then(|| terms.world.sleep_until(terms.deadline));
        let streaming = Self {
            messages: messages.clone(),
            terms,
            late,
            asked: None,
            held: None,
            last_time: Duration::ZERO,
            was_held: false,
            ended: Some(sender),
        };
        (Response::from_parts(head, Body::new(streaming)), StreamEnd { messages, ended })
    }

    /// Asks the service for its next piece. A service of a user that panics ends its reply with INTERNAL.
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Piece>> {
        let StreamTerms { world, context, computed, occupancy, .. } = &mut self.terms;
        let mut messages = lock(&self.messages);
        let Some(body) = messages.as_mut() else { return Poll::Ready(Some(Err(late()))) };
        let mut body = Pin::new(body);
        let Some(context) = context else { return body.as_mut().poll_frame(cx) };
        let began = world.now();
        let poll = AssertUnwindSafe(|| poll_in(context, || body.as_mut().poll_frame(cx)));
        let polled = catch_unwind(poll).unwrap_or_else(|_| {
            // The panic hook has printed where it happened and why.
            occupancy.abort("panicked");
            let panicked = Status::internal("the service panicked; its server's standard error says where");
            Poll::Ready(Some(Err(panicked)))
        });
        if let Some(computed) = computed {
            *computed += world.now().since(began);
        }
        polled
    }

    /// Returns until when a fault or the settings hold back a piece that is there now.
    ///
    /// A service makes its next message while the one before is held back. How long that took is not known if it is there when it is asked
    /// for: as long as the one before, then.
    fn held_until(&mut self, piece: Option<&Piece>) -> Instant {
        let StreamTerms { world, injector, occupancy, .. } = &self.terms;
        let now = world.now();
        let factor = injector.slow_factor();
        let asked = self.asked.take().unwrap_or(now);
        let waited = now.since(asked);
        if !waited.is_zero() {
            self.last_time = waited;
        }
        let time = if self.was_held { self.last_time } else { waited };
        let until = asked + multiplied(time, factor);
        self.was_held = until > now;
        let is_message = matches!(piece, Some(Ok(frame)) if frame.is_data());
        if is_message { until } else { until.max(occupancy.earliest_end(factor)) }
    }

    /// Passes a piece on. Anything but a message is the end of the reply.
    fn pass(&mut self, piece: Option<Piece>) -> Option<Piece> {
        if let Some(Ok(frame)) = &piece
            && frame.is_data()
        {
            return piece;
        }
        let StreamTerms { recorder, occupancy, method, computed, .. } = &self.terms;
        if let (Some(method), Some(time)) = (method, computed) {
            record_computing(recorder, occupancy.attempt(), (method, 1), *time);
        }
        if occupancy.ending() == Ending::Finished {
            occupancy.finish();
        }
        // An error means that the worker has ended with its process.
        let _ = self.ended.take().map(|ended| ended.send(()));
        piece.map(|piece| Ok(piece.unwrap_or_else(|status| trailers(&status))))
    }
}

/// The end of a reply whose deadline has passed.
fn late() -> Status {
    Status::deadline_exceeded("the call's deadline has passed")
}

/// Returns trailers with `status`.
fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = HeaderMap::new();
    // The message of a status of this project is valid as a header, and that of a user is encoded.
    let _ = status.add_header(&mut headers);
    Frame::trailers(headers)
}

impl HttpBody for Streaming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Piece>> {
        let this = &mut *self;
        if this.ended.is_none() {
            return Poll::Ready(None);
        }
        // Work that is there at the deadline is in time.
        let polled = this.poll_next(cx);
        if polled.is_pending() && this.late.as_mut().is_some_and(|late| late.as_mut().poll(cx).is_ready()) {
            // The worker sees that the attempt was not finished.
            this.ended = None;
            drop(lock(&this.messages).take());
            return Poll::Ready(Some(Ok(trailers(&late()))));
        }
        polled
    }
}

impl Streaming {
    fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Piece>> {
        if self.held.is_none() {
            let now = self.terms.world.now();
            self.asked.get_or_insert(now);
            let piece = ready!(self.poll_piece(cx));
            let until = self.held_until(piece.as_ref());
            // A time that has passed costs nothing: no timer is created for it.
            if until <= self.terms.world.now() {
                return Poll::Ready(self.pass(piece));
            }
            self.held = Some((piece, self.terms.world.sleep_until(until)));
        }
        if let Some((_, sleep)) = &mut self.held {
            ready!(sleep.as_mut().poll(cx));
        }
        let piece = self.held.take().and_then(|(piece, _)| piece);
        Poll::Ready(self.pass(piece))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};
    use tonic::codec::{EncodeBody, SingleMessageCompressionOverride};
    use tonic_prost::ProstCodec;

    use super::*;
    use crate::proto::rehearsal::GetDataRequest;

    fn message(request_id: u64) -> Result<GetDataRequest, Status> {
        Ok(GetDataRequest { request_id })
    }

    /// Returns whether a reply of these messages streams.
    fn streams(messages: impl stream::Stream<Item = Result<GetDataRequest, Status>> + Send + 'static) -> bool {
        use tonic::codec::Codec;
        let encoder = ProstCodec::<GetDataRequest, GetDataRequest>::default().encoder();
        let body = EncodeBody::new_server(encoder, messages, None, SingleMessageCompressionOverride::default(), None);
        let (response, streams) = look_ahead(Response::new(Body::new(body))).now_or_never().unwrap();
        assert!(!response.body().ahead.is_empty() || streams);
        streams
    }

    #[test]
    fn a_reply_that_is_whole_at_once_does_not_stream() {
        assert!(!streams(stream::iter([message(1)])));
        assert!(!streams(stream::iter([message(1), message(2)])));
        assert!(!streams(stream::iter([Err(Status::aborted("no"))])));
        assert!(!streams(stream::empty()));
        assert!(streams(stream::iter([message(1)]).chain(stream::pending())));
        assert!(streams(stream::pending()));
        assert!(streams(stream::repeat_with(|| message(u64::MAX))), "it has no end");
        let (response, streams) = look_ahead(Status::aborted("no").into_http()).now_or_never().unwrap();
        assert!(!streams && response.body().is_end_stream());
    }
}
