//! A request or response body that passes a gRPC message on when all of it has arrived, its header first.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

/// A received body whose messages are passed on whole: first gRPC's five-byte header, then the rest.
///
/// tonic gathers a message in a buffer, and reserves memory for the whole message when it has read the header.
///
/// * A header can announce any length, and a peer that sends a thousand of them would have memory reserved for a thousand
///   large messages. A header is therefore passed on when the bytes that it announces are here: memory is used for what was sent.
/// * If the bytes behind the header were in the buffer already, its growth would copy them once more. Given the header alone,
///   tonic reserves the memory before the rest arrives.
pub(crate) struct HeaderFirst<W = ()> {
    body: Incoming,
    gathered: Gathered,
    /// Sees how much is held.
    watch: W,
}

/// Sees how many bytes a body holds, of messages that have not arrived whole.
pub(crate) trait WatchHeld {
    /// `bytes` are held from now on, in place of the number before.
    fn holds(&mut self, bytes: usize);

    /// A DATA frame with `bytes` of payload has arrived.
    fn arrived(&mut self, bytes: usize);

    /// A message of `bytes` has arrived whole.
    fn whole(&mut self, bytes: usize);
}

impl WatchHeld for () {
    fn holds(&mut self, _: usize) {}

    fn arrived(&mut self, _: usize) {}

    fn whole(&mut self, _: usize) {}
}

/// The message of the status that fails a body with a second message.
const SECOND_MESSAGE: &str = "a second message, and the method is not declared to stream: an app declares it with `App::described_by` or \
     `App::streaming`, and services without an app with those of `Services`";

/// Length of the message header: a compression flag and four bytes of length.
pub(crate) const MESSAGE_HEADER_BYTES: usize = 5;

impl HeaderFirst {
    /// Wraps the `body` of a reply, whose messages have at most `message_bytes_max` bytes. It fails with RESOURCE_EXHAUSTED at a longer
    /// one and, if `has_one_message`, with UNIMPLEMENTED at a second one (gRPC's document "Status codes and their use").
    pub(crate) fn reply(body: Incoming, message_bytes_max: usize, has_one_message: bool) -> Self {
        Self { body, gathered: Gathered { has_one_message, ..Gathered::new(message_bytes_max) }, watch: () }
    }
}

impl<W: WatchHeld> HeaderFirst<W> {
    /// Wraps the `body` of a request that has any number of messages, each of at most `message_bytes_max` bytes.
    pub(crate) fn stream(body: Incoming, message_bytes_max: usize, watch: W) -> Self {
        Self { body, gathered: Gathered::new(message_bytes_max), watch }
    }

    /// Wraps the `body` of a request, which has one message, as [`HeaderFirst::reply`] does. It fails with UNIMPLEMENTED if there is no
    /// message at all, too. `watch` sees how much is held.
    pub(crate) fn request(body: Incoming, message_bytes_max: usize, watch: W) -> Self {
        Self {
            body,
            gathered: Gathered { needs_message: true, has_one_message: true, ..Gathered::new(message_bytes_max) },
            watch,
        }
    }
}

impl<W: WatchHeld + Unpin> HttpBody for HeaderFirst<W> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { body, gathered, watch } = &mut *self;
        loop {
            if let Some(data) = gathered.next() {
                if let Some(length) = gathered.whole.take() {
                    watch.whole(length);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(wrong) = gathered.wrong.take() {
                return Poll::Ready(Some(Err(wrong.into())));
            }
            // Trailers, and the end of the body, come after what was gathered: of a message that ends early, too.
            if let Some(end) = gathered.end.take() {
                return Poll::Ready(end.map(Ok));
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? {
                None => gathered.finish(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        watch.arrived(data.len());
                        gathered.push(data);
                    }
                    Err(trailers) => gathered.finish(Some(trailers)),
                },
            }
            watch.holds(gathered.unfinished());
        }
    }

    fn is_end_stream(&self) -> bool {
        self.gathered.bytes == 0 && self.gathered.end.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.gathered.bytes as u64;
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + held);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + held);
        }
        whole
    }
}

/// The bytes of a body that have arrived and were not passed on.
struct Gathered {
    chunks: VecDeque<Bytes>,
    /// Number of bytes in `chunks`.
    bytes: usize,
    /// Number of bytes of the message under way that may be passed on, after its header.
    passing: usize,
    message_bytes_max: usize,
    /// Length of a whole message whose header was passed on and that was not reported yet.
    whole: Option<usize>,
    /// The frame after the last byte: trailers, or the end of the body.
    end: Option<Option<Frame<Bytes>>>,
    /// True if nothing more comes, or if nothing has to be held back any more.
    open: bool,
    /// True if a body without a message is wrong.
    needs_message: bool,
    /// True if a body with a second message is wrong.
    has_one_message: bool,
    /// True if a message was passed on.
    has_message: bool,
    /// The error of the body, if it is wrong.
    wrong: Option<Status>,
}

/// The failure of a body: a [`hyper::Error`], or the [`Status`] that answers what is wrong with it.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

impl Gathered {
    fn new(message_bytes_max: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            passing: 0,
            message_bytes_max,
            whole: None,
            end: None,
            open: false,
            needs_message: false,
            has_one_message: false,
            has_message: false,
            wrong: None,
        }
    }

    fn push(&mut self, data: Bytes) {
        // An empty frame is no part of a message, and an empty chunk would be taken for one.
        if !data.is_empty() {
            self.bytes += data.len();
            self.chunks.push_back(data);
        }
    }

    /// Notes that no more data comes, but `end`.
    fn finish(&mut self, end: Option<Frame<Bytes>>) {
        // Of a message that is not whole, only a part of the header is passed on: tonic reports the early end, and reserves
        // no memory for the rest.
        if self.passing == 0 && self.length().is_some_and(|length| self.bytes < MESSAGE_HEADER_BYTES + length) {
            let start = self.take(MESSAGE_HEADER_BYTES - 1);
            self.chunks = [start].into();
            self.bytes = MESSAGE_HEADER_BYTES - 1;
        }
        self.open = true;
        self.end = Some(end);
        if self.wrong.is_none() && self.needs_message && !self.has_message && self.bytes == 0 {
            self.refuse(Status::unimplemented("the request has no message, and the method takes one"));
        }
    }

    /// Fails the body with `wrong`. What has arrived of it is dropped.
    fn refuse(&mut self, wrong: Status) {
        self.chunks.clear();
        self.bytes = 0;
        self.wrong = Some(wrong);
    }

    /// Returns the number of bytes that wait for the rest of their message.
    fn unfinished(&self) -> usize {
        if self.passing > 0 || self.open { 0 } else { self.bytes }
    }

    /// Returns the next bytes to pass on; `None` if more has to arrive before.
    fn next(&mut self) -> Option<Bytes> {
        if self.bytes == 0 {
            return None;
        }
        if self.open || self.passing > 0 {
            let most = if self.open { self.bytes } else { self.passing };
            let chunk = self.take_chunk(most);
            self.passing = self.passing.saturating_sub(chunk.len());
            return Some(chunk);
        }
        if self.has_message && self.has_one_message {
            self.refuse(Status::unimplemented(SECOND_MESSAGE));
            return None;
        }
        let length = self.length()?;
        if length > self.message_bytes_max {
            let most = self.message_bytes_max;
            self.refuse(Status::resource_exhausted(format!("a message of {length} bytes; the limit is {most}")));
            return None;
        }
        if self.bytes < MESSAGE_HEADER_BYTES + length {
            return None;
        }
        self.passing = length;
        self.has_message = true;
        self.whole = Some(length);
        Some(self.take(MESSAGE_HEADER_BYTES))
    }

    /// Returns the length that the header at the front announces; `None` before all of the header has arrived.
    fn length(&self) -> Option<usize> {
        let mut header = self.chunks.iter().flatten().skip(1);
        let mut length = 0_u32;
        for _ in 1..MESSAGE_HEADER_BYTES {
            length = length << 8 | u32::from(*header.next()?);
        }
        Some(length as usize)
    }

    /// Takes `count` bytes, which must be there. They are copied if they are of several chunks.
    fn take(&mut self, count: usize) -> Bytes {
        if self.chunks.front().is_some_and(|chunk| chunk.len() >= count) {
            return self.take_chunk(count);
        }
        let mut bytes = BytesMut::with_capacity(count);
        while bytes.len() < count {
            let chunk = self.take_chunk(count - bytes.len());
            bytes.extend_from_slice(&chunk);
        }
        bytes.freeze()
    }

    /// Takes the first chunk, or its first `most` bytes.
    fn take_chunk(&mut self, most: usize) -> Bytes {
        let Some(chunk) = self.chunks.front_mut() else { return Bytes::new() };
        let taken = if chunk.len() <= most { std::mem::take(chunk) } else { chunk.split_to(most) };
        if !chunk.has_remaining() {
            self.chunks.pop_front();
        }
        self.bytes -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let announced = (length as u32).to_be_bytes();
        [0].into_iter().chain(announced).chain((0..length).map(|byte| byte as u8)).collect()
    }

    /// Pushes the chunks one by one, and returns what is passed on after each.
    fn passed(gathered: &mut Gathered, chunks: &[&[u8]]) -> Vec<Vec<Bytes>> {
        let pass = |chunk: &&[u8]| {
            gathered.push(Bytes::copy_from_slice(chunk));
            std::iter::from_fn(|| gathered.next()).collect()
        };
        chunks.iter().map(pass).collect()
    }

    #[test]
    fn a_header_is_passed_on_when_its_message_is_whole() {
        let mut gathered = Gathered::new(100);
        let bytes = message(20);
        let passed = passed(&mut gathered, &[&bytes[..3], &bytes[3..10], b"", &bytes[10..24], &bytes[24..]]);
        assert_eq!(passed.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 0, 4]);
        assert_eq!(passed[4][0], bytes[..MESSAGE_HEADER_BYTES]);
        assert_eq!(passed.concat().concat(), bytes);
        assert_eq!(gathered.unfinished(), 0);
    }

    #[test]
    fn a_message_in_one_chunk_is_split_without_a_copy() {
        let mut gathered = Gathered::new(100);
        let bytes = Bytes::from(message(20));
        gathered.push(bytes.clone());
        let header = gathered.next().unwrap();
        let rest = gathered.next().unwrap();
        assert_eq!((header.as_ptr(), header.len()), (bytes.as_ptr(), MESSAGE_HEADER_BYTES));
        assert_eq!((rest.as_ptr(), rest.len()), (bytes[MESSAGE_HEADER_BYTES..].as_ptr(), 20));
        assert_eq!(gathered.next(), None);
    }

    /// The status that the body fails with after `bytes` have arrived and nothing follows.
    fn refused(mut gathered: Gathered, bytes: &[u8]) -> Option<tonic::Code> {
        gathered.push(Bytes::copy_from_slice(bytes));
        while gathered.next().is_some() {}
        gathered.finish(None);
        while gathered.next().is_some() {}
        assert_eq!(gathered.unfinished(), 0);
        gathered.wrong.map(|status| status.code())
    }

    /// gRPC's document "Status codes and their use": a message over the limit, and another number of messages than the method
    /// takes.
    #[test]
    fn a_body_is_refused_for_a_long_message_a_second_one_and_a_request_for_none() {
        let request = || Gathered { needs_message: true, has_one_message: true, ..Gathered::new(100) };
        let reply = || Gathered { has_one_message: true, ..Gathered::new(100) };
        let two = [message(3), message(0)].concat();
        for (bytes, code) in [
            (&message(101)[..5], Some(tonic::Code::ResourceExhausted)),
            (&two[..], Some(tonic::Code::Unimplemented)),
            (&two[..9], Some(tonic::Code::Unimplemented)),
            (&message(100), None),
            (&message(0), None),
        ] {
            assert_eq!(refused(request(), bytes), code, "{bytes:?}");
            assert_eq!(refused(reply(), bytes), code, "{bytes:?}");
        }
        assert_eq!(refused(request(), &[]), Some(tonic::Code::Unimplemented));
        assert_eq!(refused(reply(), &[]), None, "a reply of trailers alone");
        assert_eq!(refused(Gathered::new(100), &two), None, "a stream of replies");
    }

    #[test]
    fn of_a_message_that_ends_early_no_length_is_passed_on() {
        let mut gathered = Gathered::new(100);
        let bytes = message(50);
        assert_eq!(passed(&mut gathered, &[&bytes[..30]]).concat(), Vec::<Bytes>::new());
        assert_eq!(gathered.unfinished(), 30);
        gathered.finish(None);
        assert_eq!(gathered.next(), Some(Bytes::copy_from_slice(&bytes[..4])));
        assert_eq!(gathered.next(), None);
        assert!(matches!(gathered.end, Some(None)));
    }

    proptest! {
        #[test]
        fn all_bytes_of_whole_messages_pass_in_order(
            lengths in prop::collection::vec(0..60_usize, 0..6),
            cuts in prop::collection::vec(1..40_usize, 1..40),
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut gathered = Gathered::new(60);
            let mut passed = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                gathered.push(Bytes::copy_from_slice(chunk));
                passed.extend(std::iter::from_fn(|| gathered.next()));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(passed.concat(), bytes);
            prop_assert_eq!((gathered.bytes, gathered.unfinished()), (0, 0));
        }
    }
}
