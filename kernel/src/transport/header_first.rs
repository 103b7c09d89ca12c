//! A request or response body whose first frame is the header of a gRPC message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// A received body whose first frame is split after gRPC's five-byte message header.
///
/// tonic gathers a message in a buffer, and reserves memory for the whole message when it has read the header. If the bytes
/// behind the header are in the buffer already, the growth copies them once more. Given the header alone, tonic reserves
/// the memory before the rest arrives.
pub(crate) struct HeaderFirst {
    body: Incoming,
    /// Bytes that arrived in one frame with the header.
    rest: Option<Bytes>,
    started: bool,
}

/// Length of the message header: a compression flag and four bytes of length.
const MESSAGE_HEADER_BYTES: usize = 5;

impl HeaderFirst {
    /// Wraps `body`.
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, rest: None, started: false }
    }
}

impl HttpBody for HeaderFirst {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        let Some(frame) = frame else { return Poll::Ready(None) };
        // Only the first frame is split: tonic has reserved memory for the message by then.
        if std::mem::replace(&mut self.started, true) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let header = match frame.into_data() {
            Ok(mut data) if data.len() > MESSAGE_HEADER_BYTES => {
                let header = data.split_to(MESSAGE_HEADER_BYTES);
                self.rest = Some(data);
                Frame::data(header)
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        };
        Poll::Ready(Some(Ok(header)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len() as u64);
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}
