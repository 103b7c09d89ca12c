//! A call that streams: its attempts until one has the headers of its reply, and then that reply, piece by piece.

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
};

use bytes::BytesMut;
use futures_util::future::select;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as HttpBody;
use tonic::Status;

use super::{
    super::{
        attempt::{self, SentAttempt},
        failure::{Cause, Failure},
        inner::InnerCall,
        plain_channel::{Headers, ReplyBody, failure_from_status, within},
        streaming::Outlet,
    },
    Answered, Call, Request, Response, Shared,
};
use crate::{
    grpc::{MessageCount, Reply},
    policy::{AttemptPermit, FallbackKind},
    record::{self, Event, StreamFigures},
    status::{Code, Outcome},
    time::Instant,
    transport::MESSAGE_HEADER_BYTES,
};

/// The reply of a call that streams, as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The number of the attempt that has committed the call, and the time at which it did.
    pub(super) committed: Option<(u32, Instant)>,
    figures: StreamFigures,
    /// The time of the last message.
    last: Option<Instant>,
}

impl Received {
    /// Notes that `messages` have become whole, now.
    fn add(&mut self, messages: u64, now: Instant) {
        if messages == 0 {
            return;
        }
        self.figures.messages += messages;
        self.figures.first_us.get_or_insert(now.as_micros());
        if let Some(last) = self.last.replace(now) {
            let gap_us = u64::try_from(now.since(last).as_micros()).unwrap_or(u64::MAX);
            self.figures.gap_us = Some(self.figures.gap_us.map_or(gap_us, |longest_us| longest_us.max(gap_us)));
        }
    }
}

/// The trailer of a reply with a degraded answer, which says of what kind that is.
const DEGRADED: &str = "rehearsal-degraded";

/// Returns the number of bytes of the whole messages at the front of `bytes`.
fn whole_messages(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some([_, a, b, c, d]) = bytes.get(end..end + MESSAGE_HEADER_BYTES) {
        let next = end + MESSAGE_HEADER_BYTES + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    end
}

impl<'a> Call<'a> {
    /// Creates a call whose reply is passed to `outlet`.
    pub(in crate::client) fn streaming(
        client: &'a Arc<Shared>,
        request: &'a Request,
        inner: Option<Arc<InnerCall>>,
        outlet: &'a Outlet,
    ) -> Self {
        Self { outlet: Some(outlet), ..Self::new(client, request, inner) }
    }

    /// Runs the whole call, to the end of its reply.
    pub(in crate::client) async fn run_stream(self) -> Response {
        let response = match self.send_attempts().await {
            Ok(Answered { server, .. }) => self.response(Outcome::OK, None, Some(server), None),
            Err(error) => {
                self.event(Event::GiveUp).cause(error.code().name()).record();
                self.fall_back_to_parts(error.code()).unwrap_or_else(|| Response {
                    cause: Some(error.cause()),
                    ..self.response(Outcome::Status(error.code()), None, error.answered_by(), None)
                })
            }
        };
        let Received { committed, figures, .. } = std::mem::take(&mut self.progress().received);
        Response { stream: committed.map(|_| figures), ..response }
    }

    /// Answers the call with the messages that have come, if the fallback says so for calls that fail with `code`.
    fn fall_back_to_parts(&self, code: Code) -> Option<Response> {
        let live = self.client.live();
        let fallback = live.fallback.as_ref()?;
        let has_parts = self.progress().received.figures.messages > 0;
        if fallback.kind != FallbackKind::Partial || !fallback.status_codes.contains(&code) || !has_parts {
            return None;
        }
        self.event(Event::Fallback).cause("partial").record();
        if let Some(outlet) = self.outlet {
            // Without a status it would be a reply that a proxy has cut off.
            let trailers = [("grpc-status", "0"), (DEGRADED, "partial")];
            let trailers =
                trailers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            outlet.end_with(Ok(HeaderMap::from_iter(trailers)));
        }
        Some(self.response(self.degraded(), None, None, Some(record::Answer::Partial)))
    }

    /// Returns whether a reply that fails is answered with the messages that have come, so that no part of a message may be passed on.
    fn passes_whole_messages(&self) -> bool {
        self.client.live().fallback.as_ref().is_some_and(|fallback| fallback.kind == FallbackKind::Partial)
    }

    /// Returns where the next attempt notes the headers of its reply, if they commit the call.
    pub(in crate::client) fn headers(&self) -> Option<Arc<Headers>> {
        (self.outlet.is_some() || self.client.live().retry.commits_at_headers()).then(Arc::default)
    }

    /// Carries the request to the server of `sent` and waits for the whole reply, which is passed on if it streams.
    pub(super) async fn exchange(
        &self,
        sent: SentAttempt,
        timeout: Instant,
        headers: Option<Arc<Headers>>,
        permit: &mut AttemptPermit<'_>,
    ) -> Result<Reply, Failure> {
        match self.outlet {
            None => attempt::process(self.client, sent, &self.request.message, timeout, headers).await,
            // Boxed, so that a call that does not stream has no room for it.
            Some(outlet) => Box::pin(self.pass_on(outlet, sent, timeout, headers, permit)).await,
        }
    }

    /// Carries the request to the server of `sent`, and passes its reply on. The headers of the reply commit the call, and the policies
    /// of `permit` hear that the attempt is OK, except those that limit the attempts under way.
    pub(super) async fn pass_on(
        &self,
        outlet: &Outlet,
        sent: SentAttempt,
        timeout: Instant,
        headers: Option<Arc<Headers>>,
        permit: &mut AttemptPermit<'_>,
    ) -> Result<Reply, Failure> {
        let client = self.client;
        let opened = attempt::open(client, sent, &self.request.message, timeout, self.deadline, headers).await?;
        let (head, body) = opened.into_parts();
        let has_trailers = head.headers.contains_key(Status::GRPC_STATUS);
        if !outlet.open(head.headers) {
            // Another attempt has committed the call in this very round, and this one is superseded.
            pending::<()>().await;
        }
        let now = client.world.now();
        self.progress().received.committed = Some((sent.id.number, now));
        permit.commit(now, Code::Ok);
        client.health.observe_attempt(sent.server, None);
        if has_trailers {
            outlet.end_with(Ok(HeaderMap::new()));
            return Ok(Reply::empty());
        }
        within(&client.world, self.deadline, Cause::CallDeadline, pin!(self.pass_on_pieces(outlet, body))).await?;
        Ok(Reply::empty())
    }

    async fn pass_on_pieces(&self, outlet: &Outlet, mut body: ReplyBody) -> Result<(), Failure> {
        let mut count = MessageCount::default();
        let mut held = self.passes_whole_messages().then(BytesMut::new);
        loop {
            let room = outlet.ready().await;
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let frame = frame.transpose().map_err(|status| failure_from_status(&status))?;
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(piece)) => {
                    let whole = count.add(&piece);
                    self.progress().received.add(whole, self.client.world.now());
                    match &mut held {
                        None => room.send(piece),
                        Some(held) => {
                            held.extend_from_slice(&piece);
                            let whole = held.split_to(whole_messages(held));
                            if !whole.is_empty() {
                                room.send(whole.freeze());
                            }
                        }
                    }
                }
                Some(Err(frame)) => {
                    if !count.is_whole() {
                        return Err(Failure::new(Code::Internal, Cause::Incomplete));
                    }
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers).filter(|status| status.code() != tonic::Code::Ok);
                    outlet.end_with(Ok(trailers));
                    return status.map_or(Ok(()), |status| Err(failure_from_status(&status)));
                }
                None => return Err(Failure::new(Code::Internal, Cause::Incomplete)),
            }
        }
    }

    /// Returns the time at which the attempt has committed the call, if it has.
    pub(super) fn committed_by(&self, attempt: u32) -> Option<Instant> {
        self.progress().received.committed.filter(|(number, _)| *number == attempt).map(|(_, at)| at)
    }

    /// Completes when the call is cancelled: by the owner of the client, or as the caller of a stream has left.
    pub(in crate::client) async fn cancelled(&self) {
        let cancelled = self.client.cancellation.wait();
        match self.outlet {
            None => cancelled.await,
            Some(outlet) => {
                select(pin!(cancelled), pin!(outlet.closed())).await;
            }
        }
    }

    /// Returns whether the call is cancelled.
    pub(in crate::client) fn is_cancelled(&self) -> bool {
        self.client.cancellation.is_cancelled() || self.outlet.is_some_and(Outlet::is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_passed_on_whole() {
        let two = [&[0, 0, 0, 0, 3, 7, 8, 9][..], &[0, 0, 0, 0, 0]].concat();
        let whole: Vec<_> = (0..=two.len()).map(|bytes| whole_messages(&two[..bytes])).collect();
        assert_eq!(whole, [vec![0; 8], vec![8; 5], vec![13]].concat());
    }
}
