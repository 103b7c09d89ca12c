//! The two ends of a call that streams: the task that makes it, and its caller.
//!
//! The task makes the attempts, and outlives its caller's interest: a deadline ends a call whose caller does not read, too. It takes the
//! next piece of a reply from the connection when the caller has taken the one before, so that HTTP/2's windows hold back the server
//! of a slow reader, and no more than one piece waits here.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, Version};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, body::Body};

use crate::sync::lock;

/// The end of a reply: the trailers of the server, or the reason why there are none.
type End = Result<HeaderMap, Status>;

/// Returns the two ends of a call.
pub(super) fn pair() -> (Outlet, Inlet) {
    let (head, begun) = oneshot::channel();
    let (pieces, arriving) = mpsc::channel(1);
    let end = Arc::<Mutex<Option<End>>>::default();
    let outlet = Outlet { head: Mutex::new(Some(head)), pieces, end: end.clone() };
    (outlet, Inlet { head: begun, pieces: arriving, end })
}

/// The end of the task that makes the call.
pub(super) struct Outlet {
    head: Mutex<Option<oneshot::Sender<HeaderMap>>>,
    pieces: mpsc::Sender<Bytes>,
    end: Arc<Mutex<Option<End>>>,
}

impl Outlet {
    /// Begins the reply with these headers. Returns false if it has begun before.
    pub(super) fn open(&self, headers: HeaderMap) -> bool {
        // An error means that the caller has left, which ends the call elsewhere.
        lock(&self.head).take().map(|head| head.send(headers)).is_some()
    }

    /// Completes when the caller has room for a piece; never if it has left.
    pub(super) async fn ready(&self) -> mpsc::Permit<'_, Bytes> {
        match self.pieces.reserve().await {
            Ok(permit) => permit,
            Err(_) => std::future::pending().await,
        }
    }

    /// Completes when the caller has left.
    pub(super) async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Returns whether the caller has left.
    pub(super) fn is_closed(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Sets what ends the reply. The first end counts.
    pub(super) fn end_with(&self, end: End) {
        lock(&self.end).get_or_insert(end);
    }
}

/// The end of the caller.
pub(super) struct Inlet {
    head: oneshot::Receiver<HeaderMap>,
    pieces: mpsc::Receiver<Bytes>,
    end: Arc<Mutex<Option<End>>>,
}

impl Inlet {
    /// Waits for the reply to begin.
    ///
    /// # Errors
    ///
    /// Returns the status of a call without a reply.
    pub(super) async fn response(self) -> Result<Response<Body>, Status> {
        let Self { head, pieces, end } = self;
        let Ok(headers) = head.await else {
            let end = lock(&end).take();
            return Err(end.and_then(Result::err).unwrap_or_else(lost));
        };
        let mut response = Response::new(Body::new(ReplyStream { pieces, end }));
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Returns the status of a call whose task has ended with its host.
fn lost() -> Status {
    Status::cancelled("the call has ended with its process")
}

/// The body of a reply.
struct ReplyStream {
    pieces: mpsc::Receiver<Bytes>,
    end: Arc<Mutex<Option<End>>>,
}

impl HttpBody for ReplyStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = ready!(self.pieces.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(lock(&self.end).take().map(|end| end.map(Frame::trailers)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_reply_begins_once_and_one_piece_waits_for_its_reader() {
        let (outlet, inlet) = pair();
        assert!(outlet.open(HeaderMap::new()) && !outlet.open(HeaderMap::new()));
        let mut body = inlet.response().now_or_never().unwrap().unwrap().into_body();
        outlet.ready().now_or_never().unwrap().send(Bytes::from_static(b"a"));
        assert!(outlet.ready().now_or_never().is_none(), "a second piece has no room");
        let mut next = || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never();
        assert_eq!(next().unwrap().unwrap().unwrap().into_data().unwrap(), "a");
        assert!(next().is_none() && outlet.ready().now_or_never().is_some());
        outlet.end_with(Err(Status::aborted("first")));
        outlet.end_with(Ok(HeaderMap::new()));
        drop(outlet);
        assert_eq!(next().unwrap().unwrap().unwrap_err().code(), tonic::Code::Aborted);
        assert!(next().unwrap().is_none());
    }

    #[test]
    fn a_call_without_a_reply_has_the_status_of_its_end() {
        let (outlet, inlet) = pair();
        outlet.end_with(Err(Status::unavailable("none")));
        drop(outlet);
        assert_eq!(inlet.response().now_or_never().unwrap().unwrap_err().code(), tonic::Code::Unavailable);
        let (outlet, inlet) = pair();
        drop(inlet);
        assert!(outlet.is_closed() && outlet.closed().now_or_never().is_some());
    }
}
