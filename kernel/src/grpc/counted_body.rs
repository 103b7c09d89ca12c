//! A body whose messages are counted in bytes while they pass.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::MessageCount;

/// A body that says how many bytes of messages have passed, without their headers.
pub(crate) struct CountedBody {
    body: Body,
    messages: MessageCount,
    bytes: Arc<AtomicU64>,
}

impl CountedBody {
    /// Returns the same body, which keeps in `bytes` how many have passed.
    pub(crate) fn count(body: Body, bytes: Arc<AtomicU64>) -> Body {
        Body::new(Self { body, messages: MessageCount::default(), bytes })
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.messages.add(data);
            self.bytes.store(self.messages.bytes(), Ordering::Relaxed);
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
